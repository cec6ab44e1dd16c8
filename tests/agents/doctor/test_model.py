import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from agents.doctor.findings import Finding, Level
from agents.doctor.model import OLD_AFTER, Served, ask_server, model_findings
from schemas.ids import ModelVersion
from schemas.release import MANIFEST_PATH, RELEASE_FORMAT, ReleaseManifest
from schemas.secret import Secret
from serving.settings import ServingSettings
from session_model.intent.prefix_features import FEATURE_NAMES

NOW = datetime(2026, 3, 1, tzinfo=UTC)
GRAPH = b"graph"


def write_release(models: Path, version: int, created_at: datetime = NOW) -> Path:
    """Write a release of one file with its manifest."""
    folder = models / "session_gru" / str(version)
    (folder / MANIFEST_PATH).parent.mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(GRAPH)
    manifest = ReleaseManifest(
        format=RELEASE_FORMAT,
        model="session_gru",
        version=ModelVersion(version),
        created_at=created_at,
        code_version="0.1.0",
        training_data_sha256="0" * 64,
        max_length=2,
        candidate_count=3,
        feature_names=list(FEATURE_NAMES),
        input_event_types=["view"],
        has_intent=False,
        metrics={},
        files={"saved_model.pb": hashlib.sha256(GRAPH).hexdigest()},
    )
    (folder / MANIFEST_PATH).write_bytes(msgspec.json.encode(manifest))
    return folder


def examined(models: Path, *served: int, failure: str | None = None) -> dict[str, Finding]:
    """Return the findings by their check."""
    answer = Served(frozenset(map(ModelVersion, served)), failure)
    return {one.check: one for one in model_findings(ServingSettings(models_directory=models), answer, NOW)}


def levels(found: dict[str, Finding]) -> list[Level]:
    """Return the levels of release, server, served version and two versions."""
    return [found[check].level for check in ("release", "model server", "served version", "two versions")]


def test_two_whole_versions_that_are_served_are_all_well(tmp_path: Path) -> None:
    """Nothing is left to do."""
    write_release(tmp_path, 9)
    write_release(tmp_path, 10)
    assert levels(examined(tmp_path, 9, 10)) == [Level.OK] * 4


def test_with_one_version_nobody_can_tell_whether_two_stay(tmp_path: Path) -> None:
    """It is said that it cannot be told."""
    write_release(tmp_path, 1)
    found = examined(tmp_path, 1)
    assert levels(found) == [Level.OK, Level.OK, Level.OK, Level.UNCHECKED]


def test_a_server_that_keeps_only_the_newest_is_told_the_policy(tmp_path: Path) -> None:
    """The default of TF Serving: the older version goes while workers still ask for it."""
    write_release(tmp_path, 1)
    write_release(tmp_path, 2)
    found = examined(tmp_path, 2)["two versions"]
    assert found.level is Level.WARNING
    assert "num_versions: 2" in found.remedy


def test_a_newest_version_that_is_not_served_is_an_error(tmp_path: Path) -> None:
    """The server looks at another directory, or refused it."""
    write_release(tmp_path, 3)
    found = examined(tmp_path, 1)["served version"]
    assert found.level is Level.ERROR
    assert "version 3, the newest on disk, is not served (served: 1)" in found.message
    assert str(tmp_path / "session_gru") in found.remedy


def test_a_damaged_release_names_the_file(tmp_path: Path) -> None:
    """One changed byte is enough."""
    (write_release(tmp_path, 4) / "saved_model.pb").write_bytes(b"Graph")
    found = examined(tmp_path, 4)["release"]
    assert found.level is Level.ERROR
    assert "saved_model.pb differs from the manifest" in found.message
    assert "copy version 4 again or delete it" in found.remedy


def test_an_old_release_is_a_warning(tmp_path: Path) -> None:
    """A month is old for what shoppers like."""
    write_release(tmp_path, 1, NOW - OLD_AFTER - timedelta(seconds=1))
    assert examined(tmp_path, 1)["release"].level is Level.WARNING


def test_without_a_release_the_rest_is_still_looked_at(tmp_path: Path) -> None:
    """The remedy is the command that makes one."""
    found = examined(tmp_path, 1)
    assert levels(found) == [Level.ERROR, Level.OK, Level.UNCHECKED, Level.UNCHECKED]
    assert "insession train" in found["release"].remedy


def test_a_server_that_is_away_leaves_its_checks_open(tmp_path: Path) -> None:
    """The release is still verified."""
    write_release(tmp_path, 1)
    found = examined(tmp_path, failure="connection refused")
    assert levels(found) == [Level.OK, Level.ERROR, Level.UNCHECKED, Level.UNCHECKED]
    assert "insession serve" in found["model server"].remedy


@pytest.mark.parametrize("address", ["127.0.0.1:1"])
def test_asking_a_server_that_is_away_ends_soon(address: str) -> None:
    """The failure names model and address."""
    served = ask_server(ServingSettings(address=address, status_timeout=timedelta(seconds=0.5)))
    assert served.failure is not None
    assert address in served.failure


def test_served_releases_that_no_worker_takes_are_an_error(tmp_path: Path) -> None:
    """Two that are rejected may have pushed the good one off: what is wrong with each is told, and what to do."""
    write_release(tmp_path, 1)
    for version in (2, 3):
        (write_release(tmp_path, version) / "saved_model.pb").write_bytes(b"other")
    assert examined(tmp_path, 1, 2)["common version"].level is Level.OK
    found = examined(tmp_path, 2, 3)["common version"]
    assert found.level is Level.ERROR
    assert found.message.count("differs from the manifest") == 2
    assert "release publish" in found.remedy


def test_an_unsigned_release_is_an_error_where_there_is_a_key(tmp_path: Path) -> None:
    """Before the workers refuse it."""
    write_release(tmp_path, 1)
    settings = ServingSettings(models_directory=tmp_path, release_key=Secret("k" * 32))
    found = {one.check: one for one in model_findings(settings, Served(frozenset({ModelVersion(1)})), NOW)}
    assert found["release"].level is Level.ERROR
    assert "is not signed" in found["release"].message
