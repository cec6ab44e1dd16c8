"""What Prometheus is told of the supply of releases."""

import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from structlog.testing import capture_logs

from agents.cli import insession
from agents.daily.exporter import SupplyExporter, exported, known
from agents.daily.status import CandidateStatus, ChampionStatus, SupplyStatus, supply_status
from agents.web.port import WebPortError
from schemas.errors import InsessionError, UsageError
from schemas.free_ports import free_port
from schemas.ids import ModelVersion
from tests.agents.daily.conftest import DAY, Deployment, metrics_at
from tests.agents.daily.test_status import settings_file
from tests.builders.releases import edit_manifest

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
STATUS = SupplyStatus(
    day=DAY,
    state="failed",
    reason="",
    is_running=False,
    steps=[],
    champion=ChampionStatus(version=ModelVersion(3), since=NOON, data_until=NOON - timedelta(days=1)),
    candidate=CandidateStatus(version=ModelVersion(4), stage="shadow", since=NOON + timedelta(hours=1)),
    checks_failed=["leak", "size"],
    last_run_at=NOON + timedelta(hours=2),
    last_success_at=NOON - timedelta(hours=2),
    next_run_at=NOON + timedelta(hours=3),
    problems=[],
)


def told(found: SupplyStatus) -> dict[str, float]:
    """Return the values by name and label, without what all names share."""
    exporter = SupplyExporter(lambda: found)
    exporter.look()
    return {
        " ".join([sample.name.removeprefix("insession_supply_"), *sample.labels.values()]): sample.value
        for family in exporter.collect()
        for sample in family.samples
    }


def test_each_moment_is_in_unix_seconds() -> None:
    """So that an age is the time less the moment."""
    noon, hour = NOON.timestamp(), 3600
    values = told(STATUS)
    assert {name: value for name, value in values.items() if "timestamp" in name} == {
        "champion_since_timestamp_seconds": noon,
        "champion_data_until_timestamp_seconds": noon - 24 * hour,
        "last_run_timestamp_seconds": noon + 2 * hour,
        "last_success_timestamp_seconds": noon - 2 * hour,
        "next_run_timestamp_seconds": noon + 3 * hour,
        "candidate_since_timestamp_seconds shadow": noon + hour,
    }
    assert (values["checks_failed"], values["problems"]) == (2, 0)


def test_one_state_of_the_last_run_is_set() -> None:
    """All are there, so that a rule finds each before it comes."""
    states = {name: value for name, value in told(STATUS).items() if name.startswith("last_run_state")}
    assert len(states) == 6
    assert [name for name, value in states.items() if value] == ["last_run_state failed"]


def test_what_is_not_known_has_no_series(deployment: Deployment) -> None:
    """Before the first run there is no age of anything."""
    (deployment.folder / "models").mkdir()
    assert told(supply_status(deployment.settings)) == {"problems": 0}


def test_a_release_that_does_not_say_how_old_its_data_are_has_no_age_of_them(serving: Deployment) -> None:
    """The champion's own age is there."""
    release = serving.folder / "models" / "session_gru" / "1"
    edit_manifest(release, lambda manifest: manifest.update(training_data_until=None))
    values = told(supply_status(serving.settings))
    assert "champion_since_timestamp_seconds" in values
    assert "champion_data_until_timestamp_seconds" not in values


def test_a_day_that_failed_is_told(serving: Deployment) -> None:
    """With how many checks, and since when nothing succeeded."""
    before = told(supply_status(serving.settings))
    assert before["last_run_state done"] == 1
    serving.jobs.checks |= {"leak": False}
    serving.times.now += timedelta(hours=1)
    serving.run()
    values = told(supply_status(serving.settings))
    assert (values["last_run_state failed"], values["checks_failed"]) == (1, 1)
    assert values["last_success_timestamp_seconds"] == before["last_success_timestamp_seconds"]
    assert values["last_run_timestamp_seconds"] == serving.times.now.timestamp()


def test_what_cannot_be_looked_at_is_as_before() -> None:
    """What can is as it is now."""
    now = msgspec.structs.replace(STATUS, champion=None, candidate=None, state="done", problems=["no answer"])
    kept = known(STATUS, now)
    assert (kept.champion, kept.candidate) == (STATUS.champion, STATUS.candidate)
    assert (kept.state, kept.problems) == ("done", ["no answer"])


def test_a_candidate_that_is_decided_goes() -> None:
    """Only a problem keeps what was."""
    assert known(STATUS, msgspec.structs.replace(STATUS, candidate=None)).candidate is None


def seen(looks: Sequence[SupplyStatus | Exception]) -> list[dict[str, float]]:
    """Return what is told after each look."""
    left = list(looks)

    def look() -> SupplyStatus:
        found = left.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    exporter, told_then = SupplyExporter(look), []
    assert list(exporter.collect()) == []
    while left:
        exporter.look()
        told_then.append({sample.name: sample.value for family in exporter.collect() for sample in family.samples})
    return told_then


@pytest.mark.parametrize("error", [OSError("no such disk"), InsessionError("no answer"), ZeroDivisionError()])
def test_a_look_that_fails_leaves_what_was_and_counts(error: Exception) -> None:
    """Also where it is a fault of ours, and until it can be looked at again."""
    first, failed, again = seen([STATUS, error, STATUS])
    assert failed == first | {"insession_supply_problems": 1}
    assert again == first


def test_a_first_look_that_fails_tells_nothing_but_that() -> None:
    """There is nothing before it."""
    assert seen([OSError("no such disk")]) == [{"insession_supply_problems": 1}]


def test_a_problem_is_logged_when_it_begins() -> None:
    """And not each minute."""
    with capture_logs() as lines:
        seen([OSError("no answer in 7 ms"), OSError("no answer in 8 ms"), STATUS, OSError("no such disk")])
    assert [line["problems"] for line in lines] == [["no answer in 7 ms"], ["no such disk"]]


def test_watch_serves_the_page_and_sigterm_ends_it(serving: Deployment) -> None:
    """What is on it is what `status` says; the end is a good one."""
    port = free_port()
    command = [sys.executable, "-m", "agents", "pipeline", "watch", "--config", settings_file(serving, port)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as watch:
        assert watch.stderr is not None
        assert watch.stderr.readline() == f"insession: metrics of the supply are at http://127.0.0.1:{port}/metrics\n"
        values: dict[str, float] = {}
        while not values and watch.poll() is None:
            values = metrics_at(port)
        watch.send_signal(signal.SIGTERM)
        rest = watch.stderr.read()
        assert watch.wait(60) == 0
    assert rest == ""
    found = supply_status(serving.settings)
    assert found.last_success_at is not None
    assert values["insession_supply_last_success_timestamp_seconds"] == found.last_success_at.timestamp()


def test_a_port_that_is_taken_is_named(serving: Deployment) -> None:
    """With the setting to change."""
    port = free_port()
    settings = replace(serving.settings, pipeline=replace(serving.settings.pipeline, web_port=port))
    with (
        exported(settings),
        pytest.raises(WebPortError, match=r"set pipeline\.web_port to a free one"),
        exported(settings),
    ):
        pytest.fail("it was taken twice")


def test_without_a_port_there_is_nothing_to_watch(tmp_path: Path) -> None:
    """It is wrong usage."""
    (tmp_path / "worker.toml").write_text("[pipeline]\nweb_port = 0\n")
    ended = CliRunner().invoke(insession, ["pipeline", "watch", "--config", str(tmp_path / "worker.toml")])
    assert isinstance(ended.exception, UsageError)
    assert "pipeline.web_port is 0" in str(ended.exception)
