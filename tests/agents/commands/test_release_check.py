"""`insession release check`, with a stand-in for the SavedModel."""

import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from agents.artifact_bus import open_bus
from agents.cli import insession
from bench.s3_server import s3_server
from schemas.check_report import CheckReport
from schemas.errors import InsessionError, UsageError
from schemas.release_signature import read_key
from session_model.networks import exported_model
from session_model.release.on_bus import publish_on_bus
from session_model.release.publishing import sign_release
from session_model.release.release import Release
from streams.local.embedded_broker import EmbeddedBroker
from streams.records import OutputRecord
from streams.tools.sender import Sender
from tests.session_model.checks.shop import ITEM_IDS, Knowing, release, sessions


class Shipped(Knowing):
    """Takes the place of the SavedModel."""

    @classmethod
    def of(cls, _: Release) -> "Shipped":
        """Take what `ExportedModel` takes."""
        return cls()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write two releases, the data of a day, a catalog, and settings by which any speed will do."""
    monkeypatch.setattr(exported_model, "ExportedModel", Shipped)
    for version in (7, 8):
        release(tmp_path / "models" / "session_gru" / str(version), version)
    day = sessions(250, seed=2)
    lines = (
        " ".join(ITEM_IDS[item] for item in day.items[first:end])
        for first, end in zip(day.starts, day.starts[1:], strict=False)
    )
    (tmp_path / "day.txt").write_text("\n".join(lines))
    (tmp_path / "catalog.jsonl").write_text("".join(f'{{"item_id": "{item_id}"}}\n' for item_id in ITEM_IDS))
    (tmp_path / "limits.toml").write_text("[checks]\nmax_p99_ratio = 50.0\n")
    return tmp_path


def run(folder: Path, *arguments: str, version: int = 8) -> Result:
    """Check a release against the day."""
    given = [str(folder / "models" / "session_gru" / str(version)), str(folder / "day.txt"), "--format", "sequences"]
    given += ["--config", str(folder / "limits.toml"), *arguments]
    return CliRunner().invoke(insession, ["release", "check", *given])


def test_a_release_is_checked_and_the_report_kept(folder: Path) -> None:
    """In three forms; the next release is held against it, by what it answered."""
    out = folder / "models"
    first = run(folder, "--out", str(out), version=7)
    assert first.exit_code == 0, first.output
    catalog, champion = str(folder / "catalog.jsonl"), str(folder / "models" / "session_gru" / "7")
    second = run(folder, "--out", str(out), "--catalog", catalog, "--against", champion, "--json")
    assert second.exit_code == 0, second.output
    kept = out / "session_gru" / "checks"
    names = {path.name for path in kept.iterdir()}
    assert names == {f"{version}.{suffix}" for version in (7, 8) for suffix in ("json", "md", "html")}
    written = json.loads((kept / "8.json").read_bytes())
    assert json.loads(second.stdout) == written
    assert (written["version"], written["against"], written["thresholds"]["max_p99_ratio"]) == (8, 7, 50.0)
    passed = {name: result["passed"] for name, result in written["checks"].items()}
    assert passed.pop("metric_drift") is passed.pop("integration") is None
    assert set(passed.values()) == {True}
    assert "What it cannot serve well" in (kept / "8.html").read_text()


def test_with_a_key_both_releases_must_be_signed(folder: Path) -> None:
    """By the option, as in the other commands of releases, or by the worker's settings."""
    key_file, champion = folder / "release.key", str(folder / "models" / "session_gru" / "7")
    key_file.write_text("a key of thirty-two bytes or more")
    (folder / "limits.toml").write_text(f'[checks]\nmax_p99_ratio = 50.0\n[serving]\nrelease_key_file = "{key_file}"\n')
    asked = ("--against", champion, "--key-file", str(key_file))
    for signed in ("8", "7"):
        assert "is not signed" in str(run(folder, *asked).exception)
        assert "is not signed" in str(run(folder, "--against", champion).exception)
        sign_release(folder / "models" / "session_gru" / signed, read_key(key_file))
    assert run(folder, *asked).exit_code == 0


def test_the_champion_may_lie_on_the_bus(folder: Path) -> None:
    """It is brought for the check, and verified as a worker does."""
    with s3_server():
        publish_on_bus(folder / "models" / "session_gru" / "7", open_bus("s3://bus/releases"), "session_gru", None)
        result = run(folder, "--against", "s3://bus/releases/session_gru/7", "--json")
        missing = run(folder, "--against", "s3://bus/releases/session_gru/6")
    assert json.loads(result.stdout)["against"] == 7
    assert "session_gru/6" in str(missing.exception)


def test_a_release_that_fails_ends_with_one(folder: Path) -> None:
    """With the reason in the table, and the names of the checks in the error; the report is written all the same."""
    (folder / "limits.toml").write_text("[checks]\nmin_recall_at_20 = 0.99\nmax_release_bytes = 10\n")
    result = run(folder, "--out", str(folder / "new"))
    assert isinstance(result.exception, InsessionError)
    assert not isinstance(result.exception, UsageError)
    assert "version 8 fails hold_out, size; " in str(result.exception)
    assert "checks.max_release_bytes" in result.output
    report = msgspec.json.decode((folder / "new" / "session_gru" / "checks" / "8.json").read_bytes(), type=CheckReport)
    assert list(report.failed) == ["hold_out", "size"]


def test_a_report_that_cannot_be_read_is_left_out(folder: Path) -> None:
    """One damaged day does not stop the next."""
    kept = folder / "models" / "session_gru" / "checks"
    kept.mkdir()
    (kept / "6.json").write_text("{")
    result = run(folder, "--out", str(folder / "models"))
    assert result.exit_code == 0
    assert "check_report_left_out" in result.output


def test_records_of_topics_are_read_from_lines(folder: Path) -> None:
    """Those that cannot be read are counted; a file of others is refused."""
    (folder / "outcomes.jsonl").write_text('{"id": 1}\n' * 20)
    with pytest.raises(InsessionError, match="20 of 20 lines are malformed"):
        raise run(folder, "--outcomes", str(folder / "outcomes.jsonl")).exception or AssertionError
    (folder / "sent.jsonl").write_bytes(b"")
    result = run(folder, "--recommendations", str(folder / "sent.jsonl"))
    assert "not run" in result.output


def test_a_topic_without_a_record_is_one_without_outcomes(folder: Path) -> None:
    """A new shop's has none yet; the check is not run, and nothing fails."""
    with EmbeddedBroker() as broker:
        sender = Sender({"bootstrap.servers": broker.address}, client_id="test")
        sender.send(OutputRecord("recommendation-outcomes", b"k", b"{}", partition=0))
        sender.flush()
        result = run(folder, "--outcomes", f"kafka://{broker.address}/recommendation-outcomes?from=0:1")
    assert result.exit_code == 0, result.output
    assert "0 clicks followed an answer" in result.output


def test_a_limit_that_nothing_could_keep_is_wrong_usage(folder: Path) -> None:
    """Named with the key."""
    (folder / "limits.toml").write_text("[checks]\nmin_targets = 0\n")
    result = run(folder)
    assert isinstance(result.exception, UsageError)
    assert "checks.min_targets must be above 0, found 0" in str(result.exception)
