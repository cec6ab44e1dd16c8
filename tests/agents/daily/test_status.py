"""What is said of the supply of releases, to people and machines."""

import io
import json
import signal
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from agents.cli import insession
from agents.daily.status import SupplyStatus, supply_status
from agents.daily.view import ProgressView
from schemas.errors import InsessionError, UsageError
from schemas.free_ports import free_port
from schemas.release import MANIFEST_PATH
from tests.agents.daily.conftest import DAY, Deployment, metrics_at
from tests.builders.releases import edit_manifest


def look(deployment: Deployment, **options: Any) -> SupplyStatus:
    """Look at it."""
    return supply_status(deployment.settings, **options)


def test_before_the_first_run_there_is_nothing_to_say(deployment: Deployment) -> None:
    """And nothing is written by looking."""
    (deployment.folder / "models").mkdir()
    found = look(deployment)
    assert (found.day, found.state, found.steps, found.champion, found.problems) == (None, None, [], None, [])
    assert not deployment.settings.pipeline.work.exists()


def test_it_says_what_serves_since_when_and_how_old_its_data_are(serving: Deployment) -> None:
    """Also where the last record of the rollout was of something else."""
    release = serving.folder / "models" / "session_gru" / "1"
    edit_manifest(release, lambda manifest: manifest.update(training_data_until="2026-01-29T23:59:00Z"))
    promoted = serving.rollout()
    assert promoted is not None
    serving.run(last="register")
    serving.rolled("shadow", "2")
    found = look(serving)
    assert found.champion is not None
    assert (found.champion.version, found.champion.since) == (1, promoted.changed_at)
    assert found.champion.data_until == datetime(2026, 1, 29, 23, 59, tzinfo=UTC)
    assert found.candidate is not None
    assert (found.candidate.version, found.candidate.stage) == (2, "shadow")


@pytest.mark.parametrize(
    ("last", "stage"),
    [("train", "trained"), ("evaluate", "trained"), ("checks", "checked"), ("register", "registered")],
)
def test_a_candidate_waits_until_something_is_decided(serving: Deployment, last: Any, stage: str) -> None:
    """It says how far it is."""
    serving.run(last=last)
    found = look(serving)
    assert found.candidate is not None
    assert (found.candidate.version, found.candidate.stage) == (2, stage)
    serving.run()
    assert look(serving).candidate is None


def test_a_day_that_failed_says_which_checks_did(serving: Deployment) -> None:
    """The last success is the day before's."""
    before = look(serving).last_success_at
    serving.jobs.checks["leak"] = False
    serving.times.now += timedelta(hours=1)
    serving.run()
    found = look(serving)
    assert (found.state, found.checks_failed, found.candidate) == ("failed", ["leak"], None)
    assert found.last_success_at == before
    assert found.last_run_at == serving.times.now
    assert [step.state for step in found.steps][6:] == ["failed", "waiting", "waiting", "waiting"]


def test_a_run_that_was_killed_is_not_taken_for_one_that_runs(serving: Deployment) -> None:
    """The lock of the work folder tells them apart."""
    store = serving.store()
    serving.run(last="tfrecords")
    record = store.record(DAY)
    assert record is not None
    store.write_record(msgspec.structs.replace(record, state="running", ended_at=None))
    assert (look(serving).state, look(serving).is_running) == ("interrupted", False)
    with store.locked(DAY):
        found = look(serving)
    assert (found.state, found.is_running) == ("running", True)
    assert [step.state for step in found.steps][3:6] == ["done", "running", "waiting"]


def test_a_bus_that_cannot_be_looked_at_is_a_problem_and_no_end(serving: Deployment) -> None:
    """The steps are told all the same."""
    (serving.folder / "models").rename(serving.folder / "elsewhere")
    found = look(serving)
    assert found.champion is None
    assert len(found.problems) == 1
    assert found.steps[0].state == "done"


def test_without_the_bus_nobody_knows_what_a_candidate_is_held_against(serving: Deployment) -> None:
    """So the checks wait for it; they are not stale."""
    serving.run(last="checks")
    (serving.folder / "models").rename(serving.folder / "elsewhere")
    found = look(serving)
    assert (found.steps[6].state, found.steps[6].why) == ("waiting", found.problems[0])


def test_a_champion_whose_manifest_is_gone_is_a_problem(serving: Deployment) -> None:
    """What serves cannot be told then."""
    (serving.folder / "models" / "session_gru" / "1" / MANIFEST_PATH).unlink()
    found = look(serving)
    assert found.champion is None
    assert "session_gru/1" in found.problems[0]


def test_another_day_than_the_last_can_be_asked_for(serving: Deployment) -> None:
    """Also one that was never run."""
    found = look(serving, day=DAY)
    assert (found.day, found.state, found.steps[0].state) == (DAY, None, "missing")


def settings_file(deployment: Deployment, web_port: int = 0) -> str:
    """Write the settings of a deployment for the command line; web_port: of its metrics, 0 = none."""
    pipeline = deployment.settings.pipeline
    path = deployment.folder / "worker.toml"
    path.write_text(
        f'[pipeline]\nsource = "{pipeline.source}"\nsource_format = "jsonl"\nwork = "{pipeline.work}"\n'
        f'models = "{pipeline.models}"\nhistory_days = 3\nmin_sessions = 10\nkeep_days = 3\nkeep_runs = 2\n'
        f"keep_releases = 2\nweb_port = {web_port}\n"
    )
    return str(path)


def invoke(deployment: Deployment, *arguments: str) -> Result:
    """Run `insession pipeline`."""
    return CliRunner().invoke(insession, ["pipeline", *arguments, "--config", settings_file(deployment)])


def test_the_status_for_machines_has_what_is_promised(serving: Deployment) -> None:
    """Names and types are those of the struct."""
    found = json.loads(invoke(serving, "status", "--json").output)
    assert {*found} == {field.name for field in msgspec.structs.fields(SupplyStatus)}
    assert {*found["steps"][0]} >= {"name", "state", "seconds", "inputs", "outputs"}
    assert {*found["champion"]} == {"version", "since", "data_until"}
    assert msgspec.json.decode(json.dumps(found), type=SupplyStatus).day == date(2026, 1, 30)


def test_the_status_for_people_says_the_same(serving: Deployment) -> None:
    """In lines below the steps."""
    text = invoke(serving, "status").output
    for told in ("ingest", "last run: done: version 1 is the champion", "champion: version 1 since", "last success:"):
        assert told in text


@pytest.mark.parametrize("command", [("plan",), ("run", "--dry-run")])
def test_the_plan_is_shown_and_nothing_is_done(serving: Deployment, command: tuple[str, ...]) -> None:
    """For people and for machines."""
    rows = json.loads(invoke(serving, *command, "--day", "2026-01-30", "--json").output)
    assert [row["state"] for row in rows] == ["done"] * 8 + ["skipped", "done"]
    assert "not done yet" in invoke(serving, *command, "--day", "2026-01-31").output
    assert serving.jobs.calls == []


def test_a_run_of_a_day_that_is_done_says_so(serving: Deployment) -> None:
    """With exit code 0."""
    ended = invoke(serving, "run", "--day", "2026-01-30")
    assert ended.exit_code == 0
    assert "2026-01-30: version 1 is the champion" in ended.output


def test_a_run_that_is_not_alone_ends_in_one_line(serving: Deployment) -> None:
    """And with exit code 1, by whoever prints it."""
    with serving.store().locked(DAY):
        ended = invoke(serving, "run", "--day", "2026-01-30")
    assert isinstance(ended.exception, InsessionError)
    assert not isinstance(ended.exception, UsageError)
    assert "is at work there since" in str(ended.exception)


@pytest.mark.parametrize("command", ["plan", "run", "status"])
def test_a_work_folder_that_is_none_is_one_line(deployment: Deployment, command: str) -> None:
    """With what to look at."""
    deployment.settings.pipeline.work.write_text("")
    ended = invoke(deployment, command, "--day", str(DAY))
    assert isinstance(ended.exception, InsessionError)
    assert str(deployment.settings.pipeline.work) in str(ended.exception)
    assert "check" in str(ended.exception)


def test_without_a_source_the_message_says_where_to_write_it(tmp_path: Path) -> None:
    """It is wrong usage."""
    (tmp_path / "worker.toml").write_text("")
    ended = CliRunner().invoke(insession, ["pipeline", "plan", "--config", str(tmp_path / "worker.toml")])
    assert isinstance(ended.exception, UsageError)
    assert "pipeline.source is not set" in str(ended.exception)


@pytest.mark.parametrize("option", [("--day", "2026-01-30"), ("--until", "train"), ("--json",), ("--dry-run",)])
def test_a_schedule_takes_no_day_and_no_step(serving: Deployment, option: tuple[str, ...]) -> None:
    """It runs the newest day, whole."""
    ended = invoke(serving, "run", "--every-day-at", "03:30", *option)
    assert ended.exit_code == 2
    assert "leave the others out" in ended.output
    assert "is no time of day, like 03:30" in invoke(serving, "run", "--every-day-at", "soon").output


def test_a_schedule_ends_by_sigterm_as_by_a_good_end(serving: Deployment) -> None:
    """A day that cannot be done does not end it; meanwhile metrics are served, and the status says when the next is."""
    port = free_port()
    command = [sys.executable, "-m", "agents", "pipeline", "run", "--config", settings_file(serving, port)]
    with subprocess.Popen([*command, "--every-day-at", "03:30"], stderr=subprocess.PIPE, text=True) as schedule:
        assert schedule.stderr is not None
        told = []
        for line in schedule.stderr:
            told.append(line)
            if "the next run is due at" in line:
                break
        due = look(serving).next_run_at
        metrics: dict[str, float] = {}
        while not metrics and schedule.poll() is None:
            metrics = metrics_at(port)
        schedule.send_signal(signal.SIGTERM)
        assert schedule.wait(60) == 0, told
    assert any("holds no click of" in line for line in told)
    assert due is not None
    assert "insession_supply_last_success_timestamp_seconds" in metrics
    assert look(serving).next_run_at is None


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("history_days", "1", "pipeline.history_days must be at least 2"),
        ("keep_days", "5", r"pipeline.keep_days must be at least 30, pipeline.history_days"),
        ("time_budget", '"0s"', "pipeline.time_budget above 0"),
        ("web_host", '""', "pipeline.web_host must not be empty"),
        ("web_port", "65536", "pipeline.web_port must be from 1 to 65535, or 0 for none"),
    ],
)
def test_settings_that_could_not_run_are_refused(tmp_path: Path, name: str, value: str, told: str) -> None:
    """With what is expected."""
    (tmp_path / "worker.toml").write_text(f'[pipeline]\nsource = "{{day}}"\n{name} = {value}\n')
    ended = CliRunner().invoke(insession, ["pipeline", "plan", "--config", str(tmp_path / "worker.toml")])
    assert told in str(ended.exception)


@pytest.mark.parametrize("is_terminal", [False, True])
def test_a_run_shows_its_steps(serving: Deployment, *, is_terminal: bool) -> None:
    """A line as each begins and ends, or a table that changes in place, with the last line of what is at work."""
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=is_terminal, width=160, color_system=None)
    with ProgressView("clicks", console) as view:

        def say() -> None:
            view.said("epoch 3 [8]")
            if is_terminal:
                console.print(view)

        serving.jobs.on_call = say
        serving.loop().run(DAY, view)
    for told in ("ingest", "150 records of 3 days", "skipped", "version 2 is the champion"):
        assert told in shown.getvalue()
    assert ("epoch 3 [8]" in shown.getvalue()) == is_terminal
    assert ("train: begins" in shown.getvalue()) != is_terminal
