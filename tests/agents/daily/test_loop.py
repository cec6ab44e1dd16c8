"""The daily loop, whole: a day that goes well, one that was killed anywhere, and every bad day that is foreseen."""

import errno
import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from agents.artifact_bus import ObstoreBus, open_bus
from agents.daily.records import STEPS, StepName
from agents.daily.store import Store
from bench.s3_server import s3_server
from schemas.bus import BusError
from schemas.errors import InsessionError, UsageError
from schemas.rollout import Rollout
from session_model.release.files import verify_release
from session_model.release.on_bus import released_versions
from session_model.release.rollout_log import RolloutLog
from tests.agents.daily.conftest import DAY, MODEL, Deaths, Deployment, Killed

FIRST = date(2026, 1, 30)


def published(deployment: Deployment) -> set[int]:
    """Verify every release that a worker could see, and return their numbers."""
    folder = deployment.folder / "models" / MODEL
    versions = [path for path in folder.iterdir() if path.name.isdecimal()] if folder.is_dir() else []
    for version in versions:
        verify_release(version)
    return {int(version.name) for version in versions}


def test_a_day_becomes_a_release_that_serves(deployment: Deployment) -> None:
    """Each step once, in order; the first release is checked before anybody could use it."""
    record = deployment.run()
    assert (record.state, record.reason) == ("done", "version 1 is the champion")
    assert deployment.champion() == 1
    assert deployment.jobs.names() == [
        *("ingest", "sessions", "features", "tfrecords", "train", "evaluate"),
        *("release check", "release publish", "release promote"),
    ]
    assert published(deployment) == {1}
    assert [step.state for step in deployment.seen.steps] == ["done"] * 8 + ["skipped", "done"]


def test_a_second_run_does_nothing(deployment: Deployment) -> None:
    """Also after the champion was changed since: the day came to its end."""
    first = deployment.run()
    deployment.jobs.calls.clear()
    assert deployment.run() == first
    deployment.write_day(date(2026, 2, 1))
    deployment.times.now += timedelta(days=1)
    assert deployment.run(date(2026, 2, 1)).state == "done"
    assert deployment.champion() == 2
    deployment.jobs.calls.clear()
    assert deployment.run() == first
    assert deployment.jobs.calls == []


def test_the_next_day_is_held_against_the_champion(serving: Deployment) -> None:
    """And becomes the champion; the one before stays for a step back."""
    assert serving.run().state == "done"
    (check,) = [call for call in serving.jobs.calls if call[:2] == ["release", "check"]]
    assert check[check.index("--against") + 1].endswith("models/session_gru/1")
    rollout = serving.rollout()
    assert rollout is not None
    assert (rollout.champion, rollout.previous, rollout.by) == (2, 1, "insession pipeline")
    assert "2026-01-31" in rollout.reason


def test_checks_get_the_outcomes_of_the_week_and_what_was_sent_on_the_day(deployment: Deployment) -> None:
    """They say whether the offline metric tracks reality, or what the workers send; another topic is another check."""
    deployment.set(outcomes="kafka://kafka:9092/recommendation-outcomes", recommendations="kafka://kafka:9092/sent")
    deployment.run(last="checks")
    (check,) = [call for call in deployment.jobs.calls if call[:2] == ["release", "check"]]
    asked = "kafka://kafka:9092/recommendation-outcomes?from=2026-01-25T00:00Z&to=2026-02-01T00:00Z"
    assert check[check.index("--outcomes") + 1] == asked
    sent = "kafka://kafka:9092/sent?from=2026-01-31T00:00Z&to=2026-02-01T00:00Z"
    assert check[check.index("--recommendations") + 1] == sent
    deployment.set(outcomes=None)
    deployment.run(last="checks")
    again = [call for call in deployment.jobs.calls if call[:2] == ["release", "check"]]
    assert ["--outcomes" in call for call in again] == [True, False]


def test_sessions_are_made_of_all_days_of_the_history(deployment: Deployment) -> None:
    """In the order of the days, so that none is cut at midnight."""
    deployment.run(last="sessions")
    (text,) = [path.read_text() for path in (deployment.folder / "work").glob("sessions/*/out/part-*")]
    assert list(dict.fromkeys(text.split())) == ['{"day":', '"2026-01-29"}', '"2026-01-30"}', '"2026-01-31"}']


def test_killed_anywhere_the_same_command_goes_on(tmp_path: Path) -> None:
    """At every write and before and after every command: nothing is half-published, and the end is the same."""
    at = 0
    while True:
        at += 1
        (tmp_path / str(at)).mkdir()
        deployment = Deployment(tmp_path / str(at))
        assert deployment.run(FIRST).state == "done"
        deployment.deaths.points, deployment.deaths.at = 0, at
        try:
            deployment.run()
        except Killed:
            pass
        else:
            break
        assert deployment.champion() in {1, 2}
        assert published(deployment) <= {1, 2}
        deployment.deaths.at = None
        assert deployment.run().state == "done", f"killed at {at}"
        rollout = deployment.rollout()
        assert rollout is not None
        assert (rollout.revision, rollout.champion, rollout.previous) == (2, 2, 1), f"killed at {at}"
        assert published(deployment) == {1, 2}
    assert at > 40, "no point of the run was reached"


@pytest.mark.parametrize("step", STEPS[:8])
def test_what_cannot_be_done_is_told_and_done_by_the_next_run(serving: Deployment, step: StepName) -> None:
    """A Bus or registry that is away, a full disk, a worker that died too often: whatever the command says is said."""
    command = {"checks": "release check", "register": "release publish"}.get(step, step)
    serving.jobs.wrong[command] = InsessionError("it cannot be done: do something about it")
    record = serving.run()
    assert (record.state, record.reason) == ("broken", f"{step}: it cannot be done: do something about it")
    assert serving.champion() == 1
    assert published(serving) == {1}
    serving.jobs.wrong.clear()
    serving.jobs.calls.clear()
    assert serving.run().state == "done"
    assert serving.jobs.names()[0] == command, "what was done is not done again"
    assert serving.champion() == 2


def test_a_registry_that_is_away_leaves_the_champion(serving: Deployment) -> None:
    """The release is whole on the Bus and serves nobody; the next run registers and promotes it."""
    serving.set(registry="http://127.0.0.1:1")
    record = serving.run()
    assert record.state == "broken"
    assert record.reason.startswith("register: ")
    assert (serving.champion(), published(serving)) == (1, {1, 2})
    serving.set(registry=None)
    assert serving.run().state == "done"
    assert serving.champion() == 2


def test_a_bus_that_is_away_is_asked_where_it_is_needed(serving: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clicks are frozen and sessions made meanwhile; the next run goes on from there."""

    def refuse(_: str) -> None:
        raise BusError("s3://shop: listing failed; check that it can be reached, then run again")

    with monkeypatch.context() as away:
        away.setattr("agents.daily.steps.open_bus", refuse)
        record = serving.run()
    assert (record.state, record.reason) == (
        "broken",
        "train: s3://shop: listing failed; check that it can be reached, then run again",
    )
    serving.jobs.calls.clear()
    assert serving.run().state == "done"
    assert serving.jobs.names()[0] == "train"


def test_s3_that_refuses_half_way_leaves_no_release(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next run completes the upload, under the same number; what is not kept goes from there, too."""
    with s3_server():
        deployment.set(models="s3://bus/releases", keep_runs=1, keep_releases=1)
        bus = open_bus("s3://bus/releases")
        assert deployment.run(FIRST).state == "done"

        def break_off(self: ObstoreBus, folder: Path, prefix: str, names: list[str]) -> None:
            self.write(f"{prefix}/{names[0]}", (folder / names[0]).read_bytes())
            raise BusError("s3://bus/releases: writing failed; check that it can be reached, then run again")

        with monkeypatch.context() as refusing:
            refusing.setattr(ObstoreBus, "upload", break_off)
            record = deployment.run()
        assert (record.state, deployment.champion()) == ("broken", 1)
        assert record.reason.startswith("register: s3://bus/releases: writing failed")
        assert released_versions(bus, MODEL) == [1]
        assert deployment.run().state == "done"
        assert (deployment.champion(), released_versions(bus, MODEL)) == (2, [2, 1])
        for number in (1, 2):
            deployment.write_day(date(2026, 2, number))
            deployment.times.now += timedelta(days=1)
            assert deployment.run(date(2026, 2, number)).state == "done"
        assert released_versions(bus, MODEL) == [4, 3, 2]
        assert [found.name for found in bus.find(f"{MODEL}/1")] == []


def test_a_full_disk_is_told_and_mended(serving: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where the disk has no place for the reason."""

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as full:
        full.setattr(Store, "finish", fail)
        record = serving.run()
    assert record.state == "broken"
    assert "No space left on device" in record.reason
    assert "check space and rights of" in record.reason
    assert serving.champion() == 1
    assert serving.run().state == "done"


def test_of_two_pipelines_the_second_says_who_is_at_work(serving: Deployment) -> None:
    """It does nothing."""
    with (
        serving.store().locked(DAY),
        pytest.raises(InsessionError, match=rf"process {os.getpid()} is at work there since .*; let it end"),
    ):
        serving.run()
    assert serving.jobs.calls == []
    assert serving.run().state == "done"


def test_a_release_whose_files_were_changed_is_trained_again(serving: Deployment) -> None:
    """It is not published, whatever its checks said before."""
    serving.run(last="checks")
    (graph,) = [
        path
        for path in serving.settings.pipeline.work.glob("train/*/models/session_gru/*/saved_model.pb")
        if path.parent.name == "2"
    ]
    graph.write_bytes(b"grape")
    assert serving.states()["train"] == "stale"
    assert serving.run().state == "done"
    assert serving.champion() == 3
    assert published(serving) == {1, 3}


def test_a_release_that_was_changed_while_it_is_published_is_refused(serving: Deployment) -> None:
    """By the command that copies it; the next run trains another one."""
    serving.run(last="checks")
    (graph,) = serving.settings.pipeline.work.glob("train/*/models/session_gru/2/saved_model.pb")
    loop = serving.loop()
    register = next(step for step in loop.plan(DAY) if step.name == "register")
    assert register.state == "missing"
    serving.jobs.wrong["release publish"] = InsessionError("release 2: saved_model.pb is damaged; train it again")
    assert serving.run().reason.startswith("register: release 2: saved_model.pb is damaged")
    graph.unlink()
    serving.jobs.wrong.clear()
    assert serving.run().state == "done"
    assert (serving.champion(), published(serving)) == (3, {1, 3})


def test_a_candidate_that_fails_its_checks_is_not_published(serving: Deployment) -> None:
    """One message says which check, why, and where the page is; the same day says the same without doing it again."""
    serving.jobs.checks["hold_out"] = False
    record = serving.run()
    assert record.state == "failed"
    page = f"{serving.folder}/models/session_gru/checks/2.html"
    assert record.reason == (
        "checks: version 2 fails its checks: hold_out: because of hold_out; champion 1 goes on serving; see " + page
    )
    assert Path(page).exists()
    assert (serving.champion(), published(serving)) == (1, {1})
    serving.jobs.calls.clear()
    again = serving.run()
    assert (again.state, again.reason) == ("failed", record.reason)
    assert serving.jobs.calls == []


def test_after_a_day_that_failed_the_next_one_goes_on(serving: Deployment) -> None:
    """With a number of its own."""
    serving.jobs.checks["hold_out"] = False
    serving.run()
    serving.jobs.checks.clear()
    serving.write_day(date(2026, 2, 1))
    serving.times.now += timedelta(days=1)
    assert serving.run(date(2026, 2, 1)).state == "done"
    assert serving.champion() == 3


def test_a_failed_candidate_is_checked_anew_against_another_champion(serving: Deployment) -> None:
    """Somebody may have gone back to the one before."""
    serving.run()
    serving.write_day(date(2026, 2, 1))
    serving.times.now += timedelta(days=1)
    serving.jobs.checks["hold_out"] = False
    assert serving.run(date(2026, 2, 1)).state == "failed"
    serving.rolled("rollback", "--reason", "carts fell")
    serving.jobs.checks.clear()
    serving.jobs.calls.clear()
    assert serving.run(date(2026, 2, 1)).state == "done"
    assert serving.jobs.names() == ["release check", "release publish", "release promote"]
    assert serving.champion() == 3


def test_a_champion_that_changed_after_the_checks_is_not_overrun(serving: Deployment) -> None:
    """What was held against another one is checked again."""
    serving.write_day(date(2026, 2, 1))
    serving.times.now += timedelta(days=1)
    serving.run()
    serving.run(date(2026, 2, 1), last="register")
    serving.rolled("rollback")
    serving.jobs.calls.clear()
    assert serving.run(date(2026, 2, 1)).state == "done"
    assert serving.jobs.names() == ["release check", "release publish", "release promote"]


@pytest.mark.parametrize("n_lines", [1, 9])
def test_a_tiny_day_leaves_the_champion(serving: Deployment, n_lines: int) -> None:
    """Nothing is trained, the message says how little there was, and the next day goes on."""
    serving.write_day(DAY, n_lines)
    record = serving.run()
    assert record.state == "failed"
    assert f"2026-01-31 has {n_lines} records, fewer than pipeline.min_sessions (10)" in record.reason
    assert serving.jobs.names() == ["ingest"]
    assert serving.champion() == 1
    serving.write_day(date(2026, 2, 1))
    serving.times.now += timedelta(days=1)
    assert serving.run(date(2026, 2, 1)).state == "done"


def test_a_day_of_few_people_leaves_the_champion(serving: Deployment) -> None:
    """Records may be of bots."""
    serving.jobs.test_sessions = 9
    assert "tfrecords: 2026-01-31 has 9 sessions of people, fewer than" in serving.run().reason
    assert serving.champion() == 1
    serving.set(min_sessions=9)
    assert serving.run().state == "done", "another minimum is another question"


def test_an_empty_day_is_asked_for_again(serving: Deployment) -> None:
    """Its file may come late."""
    log = serving.folder / "logs" / f"{DAY}.jsonl"
    content = log.read_text()
    log.unlink()
    record = serving.run()
    assert record.state == "broken"
    assert "holds no click of 2026-01-31; when it does, run this again" in record.reason
    log.write_text(content)
    assert serving.run().state == "done"


def test_the_first_day_of_a_shop_has_nothing_to_learn_from(deployment: Deployment) -> None:
    """It says that tomorrow it will."""
    record = deployment.run(date(2026, 1, 29))
    assert record.state == "failed"
    assert "is the first day with clicks" in record.reason
    assert deployment.run(date(2026, 1, 30)).state == "done"


def test_a_clock_that_goes_back_changes_nothing(serving: Deployment) -> None:
    """A day that is not over by it is refused; what was kept stays, and the next run goes on."""
    serving.run()
    serving.times.now = datetime.fromisoformat("2025-12-31T03:00Z")
    with pytest.raises(UsageError, match=r"2026-01-31 is not over \(UTC\); see the clock of this machine"):
        serving.run()
    assert serving.run(date(2025, 12, 30)).state == "broken"
    assert serving.champion() == 2
    serving.times.now = datetime.fromisoformat("2026-02-01T03:00Z")
    serving.jobs.calls.clear()
    assert serving.run().state == "done"
    assert serving.jobs.calls == []


def test_one_step_at_a_time_is_the_same_day(serving: Deployment) -> None:
    """As a scheduler of somebody else's runs it."""
    for step in STEPS[:-1]:
        assert serving.run(last=step).state == "part"
        assert serving.champion() == 1
    assert serving.run(last="promote").state == "done"
    assert serving.jobs.names() == [
        *("ingest", "sessions", "features", "tfrecords", "train", "evaluate"),
        *("release check", "release publish", "release promote"),
    ]


def test_a_step_is_done_again_where_that_is_asked_for(serving: Deployment) -> None:
    """With all behind it: another release, of another number."""
    serving.run()
    serving.jobs.calls.clear()
    assert serving.run(first="train").state == "done"
    assert serving.jobs.names()[0] == "train"
    assert serving.champion() == 3


def test_ctrl_c_leaves_the_day_to_the_same_command(serving: Deployment) -> None:
    """It is noted as such."""
    serving.jobs.wrong["train"] = KeyboardInterrupt()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        serving.run()
    record = serving.store().record(DAY)
    assert record is not None
    assert record.state == "interrupted"
    serving.jobs.wrong.clear()
    assert serving.run().state == "done"


def test_a_trial_as_a_shadow_comes_before_the_promotion(serving: Deployment) -> None:
    """It is waited for as long as was said, and not from the beginning by a second run."""
    serving.set(shadow=timedelta(minutes=30), shadow_answers=0)
    begin = serving.times.seconds
    stages = set[str]()

    def look() -> None:
        rollout = serving.rollout()
        assert rollout is not None
        assert rollout.candidate is not None
        stages.add(f"{rollout.candidate.version} {rollout.candidate.stage} {rollout.champion}")

    serving.times.on_sleep = look
    assert serving.run().state == "done"
    assert stages == {"2 shadow 1"}
    assert serving.times.seconds - begin == pytest.approx(1800)
    assert serving.champion() == 2


def test_a_release_that_the_guard_takes_back_is_not_promoted(serving: Deployment) -> None:
    """The reason of the guard is the day's."""
    serving.set(shadow=timedelta(minutes=30), shadow_answers=0)
    serving.times.on_sleep = lambda: serving.rolled("withdraw", "--reason", "fewer clicks", "--by", "the guard")
    record = serving.run()
    assert record.state == "failed"
    assert record.reason == ("shadow: version 2 was taken back by the guard (fewer clicks); champion 1 goes on serving")
    assert serving.champion() == 1
    serving.times.on_sleep = lambda: None
    assert serving.run().reason == record.reason


def test_a_trial_goes_on_where_a_killed_run_left_it(serving: Deployment) -> None:
    """Its time counts from the record on the Bus."""
    serving.times.now = datetime.now(UTC)  # the record has the time of the machine
    serving.set(shadow=timedelta(minutes=30), shadow_answers=0)

    def die_in_the_middle() -> None:
        if serving.times.seconds > 900:
            raise Killed

    serving.times.on_sleep = die_in_the_middle
    with pytest.raises(Killed):
        serving.run()
    begin = serving.times.seconds
    serving.times.on_sleep = lambda: None
    assert serving.run().state == "done"
    assert serving.times.seconds - begin == pytest.approx(1800 - 905, abs=10)
    assert serving.jobs.names().count("release shadow") == 1


def test_a_trial_that_gave_way_to_another_is_begun_again(serving: Deployment) -> None:
    """Nothing was learned of the release."""
    serving.run()
    serving.write_day(date(2026, 2, 1))
    serving.times.now += timedelta(days=1)
    serving.set(shadow=timedelta(minutes=30), shadow_answers=0)
    serving.times.on_sleep = lambda: serving.rolled("shadow", "1")
    record = serving.run(date(2026, 2, 1))
    assert (record.state, record.reason) == (
        "broken",
        "shadow: the trial of version 3 gave way to another; run this again",
    )
    serving.times.on_sleep = lambda: None
    assert serving.run(date(2026, 2, 1)).state == "done"
    assert serving.champion() == 3


def test_a_bus_that_is_away_in_a_trial_is_asked_again(serving: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as the trial lasts; at its end it must answer."""
    serving.set(shadow=timedelta(minutes=30), shadow_answers=0)
    serving.run(last="register")
    asked = RolloutLog.in_force
    looks = iter(range(1000))

    def stutter(log: RolloutLog) -> Rollout | None:
        if next(looks) in {20, 21}:
            raise BusError("it does not answer")
        return asked(log)

    monkeypatch.setattr(RolloutLog, "in_force", stutter)
    assert serving.run().state == "done"


def test_a_trial_that_nobody_saw_promotes_nobody(serving: Deployment) -> None:
    """The same command looks again."""
    serving.set(shadow=timedelta(minutes=1), shadow_answers=100)
    serving.n_answers = 99
    record = serving.run()
    assert record.state == "broken"
    assert "version 2 has given 99 answers as a shadow, 100 are asked for" in record.reason
    assert serving.champion() == 1
    serving.n_answers = 100
    assert serving.run().state == "done"


def test_a_canary_of_somebody_is_not_ended(serving: Deployment) -> None:
    """It is the person's to decide."""
    serving.set(shadow=timedelta(minutes=1), shadow_answers=0)
    serving.run(last="register")
    serving.rolled("promote", "2", "--unchecked")
    serving.rolled("canary", "1", "--unchecked", "--share", "10%")
    serving.write_day(date(2026, 2, 1))
    serving.times.now += timedelta(days=1)
    record = serving.run(date(2026, 2, 1))
    assert record.reason == "shadow: version 1 is a canary; promote or withdraw it, then run this again"


def test_other_settings_make_stale_what_hangs_on_them(serving: Deployment) -> None:
    """And nothing before it."""
    serving.run()
    serving.set(epochs=3)
    serving.times.now += timedelta(days=1)
    steps = {step.name: step for step in serving.loop().plan(DAY)}
    assert {name: step.state for name, step in steps.items()} == {
        **dict.fromkeys(("ingest", "sessions", "features", "tfrecords"), "done"),
        "train": "stale",
        **dict.fromkeys(("evaluate", "checks", "register", "shadow", "promote"), "waiting"),
    }
    assert steps["train"].why == "others than before: epochs"


def test_what_is_kept_is_as_the_rule_says(serving: Deployment) -> None:
    """The newest days of clicks, the newest runs, the releases with a part and the newest others."""
    for number in range(1, 7):
        day = date(2026, 1, 31) + timedelta(days=number)
        serving.write_day(day)
        serving.times.now = datetime.fromisoformat(f"{day + timedelta(days=1)}T03:00Z")
        assert serving.run(day).state == "done"
    work = serving.settings.pipeline.work
    (clicks,) = (work / "clicks").iterdir()
    assert sorted(path.name for path in clicks.iterdir()) == ["2026-02-04", "2026-02-05", "2026-02-06"]
    assert sorted(path.stem for path in (work / "days").iterdir()) == ["2026-02-05", "2026-02-06"]
    assert len(list((work / "train").iterdir())) == 2
    assert serving.champion() == 7
    assert published(serving) == {4, 5, 6, 7}


def test_the_counting_of_deaths_is_no_vacuous_one() -> None:
    """The number is of a point that is passed."""
    deaths = Deaths(2)
    deaths.pass_by()
    with pytest.raises(Killed):
        deaths.pass_by()
