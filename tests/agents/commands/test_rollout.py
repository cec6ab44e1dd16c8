"""`insession release promote` and what goes with it, on a directory of models."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from agents.artifact_bus import open_bus
from agents.commands.release import command
from agents.reports.check_files import CheckReports
from schemas.ids import ModelVersion
from schemas.rollout import read_rollout
from tests.builders.check_reports import report_on
from tests.builders.releases import write_release


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Have three releases."""
    for version in (7, 8, 9):
        write_release(tmp_path / "models", version)
    return tmp_path / "models"


def run(models: Path, *arguments: str) -> Result:
    """Run a command on the directory, whatever checks say."""
    unchecked = ["--unchecked"] if arguments[0] in {"promote", "canary"} else []
    return run_checked(models, *arguments, *unchecked)


def run_checked(models: Path, *arguments: str) -> Result:
    """Run a command on the directory."""
    return CliRunner().invoke(command, [*arguments, "--models", str(models)])


def test_the_way_of_a_release(models: Path) -> None:
    """Promoted, tried out, promoted, taken back: each is told, and is in force for workers at once."""
    assert "revision 1: champion 7" in run(models, "promote", "7").output
    assert "shadow 8 for 1 of the visitors" in run(models, "shadow", "8").output
    assert "canary 8 for 0.05 of the visitors" in run(models, "canary", "8").output
    assert "canary 8 for 0.25 of the visitors" in run(models, "canary", "8", "--share", "25%").output
    assert "champion 8, previous 7" in run(models, "promote", "8", "--reason", "it passed").output
    assert run(models, "rollback", "--reason", "carts fell").exit_code == 0
    record = read_rollout(models / "session_gru")
    assert record is not None
    assert (record.revision, record.champion, record.rejected, record.reason) == (6, 7, (8,), "carts fell")


def test_the_audit_says_who_served_when(models: Path) -> None:
    """For machines a line each."""
    run(models, "promote", "7", "--by", "ana", "--reason", "first")
    run(models, "promote", "8", "--by", "bo")
    lines = run(models, "show", "--audit", "--json").output.splitlines()
    records = [json.loads(line) for line in lines]
    assert [(record["champion"], record["by"], record["reason"]) for record in records] == [
        (7, "ana", "first"),
        (8, "bo", ""),
    ]
    assert records[0]["changed_at"] <= records[1]["changed_at"]
    assert json.loads(run(models, "show", "--json").output) == records[1]


def test_before_a_promotion_the_newest_serves(models: Path) -> None:
    """And nothing is shown."""
    assert "workers use the newest release" in run(models, "show").output
    assert run(models, "show", "--json").output == ""


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["promote", "6"], "has no release 6 of session_gru; the newest there: 9, 8, 7"),
        (["rollback"], "no release was promoted yet"),
        (["canary", "8", "--share", "0"], "not above 0 and at most 100%"),
        (["canary", "8", "--share", "much"], "is no share, like 5% or 0.05"),
        (["promote", "0"], "is not in the range"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_line(models: Path, arguments: list[str], told: str) -> None:
    """Nothing is written."""
    result = run(models, *arguments)
    assert result.exit_code != 0
    assert told in (result.output + str(result.exception))
    assert read_rollout(models / "session_gru") is None


def test_a_registry_that_is_away_changes_nothing_of_what_serves(models: Path) -> None:
    """Its aliases follow the next change."""
    result = run(models, "promote", "7", "--registry", "http://127.0.0.1:1")
    assert result.exit_code == 0
    assert "the change stands, but the aliases do not follow" in result.output


@pytest.mark.parametrize("move", ["promote", "canary"])
def test_what_was_not_checked_is_shown_to_nobody(models: Path, move: str) -> None:
    """Unless somebody says so; a shadow is shown to nobody anyway."""
    run(models, "promote", "7")
    result = run_checked(models, move, "8")
    assert "version 8 was not checked" in str(result.exception)
    assert "--unchecked" in str(result.exception)
    assert run_checked(models, "shadow", "8").exit_code == 0


def test_a_release_that_passed_is_promoted(models: Path) -> None:
    """By the report that lies beside the releases."""
    reports = CheckReports(open_bus(str(models)), "session_gru")
    reports.write(report_on(ModelVersion(7), None))
    assert run_checked(models, "promote", "7").exit_code == 0
    reports.write(report_on(ModelVersion(8), ModelVersion(7), leak=False))
    assert "version 8 fails its checks: leak" in str(run_checked(models, "promote", "8").exception)


def test_the_list_says_what_becomes_of_each_release(models: Path) -> None:
    """For machines: part, alias, figures, and what each check found."""
    assert [row["state"] for row in json.loads(run(models, "list", "--json").output)] == ["waiting"] * 3
    run(models, "promote", "8")
    run(models, "promote", "7")
    run(models, "canary", "9")
    CheckReports(open_bus(str(models)), "session_gru").write(report_on(ModelVersion(9), ModelVersion(7), leak=False))
    rows = {row["version"]: row for row in json.loads(run(models, "list", "--json").output)}
    assert {version: (row["state"], row["alias"]) for version, row in rows.items()} == {
        9: ("canary", "candidate"),
        8: ("previous", "previous"),
        7: ("champion", "champion"),
    }
    assert rows[9]["checks"]["leak"] == {"passed": False, "reason": "because of leak"}
    assert rows[8]["checks"] == {}
    assert rows[7]["metrics"] == {"recall_at_20": 0.5}
    assert "fails leak" in run(models, "list").output
    run(models, "withdraw")
    assert json.loads(run(models, "list", "--json").output)[0]["state"] == "rejected"
