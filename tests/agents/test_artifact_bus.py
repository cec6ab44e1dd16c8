"""The Bus on disk, in memory, and on an S3 server: one contract."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.artifact_bus import open_bus
from bench.s3_server import s3_server
from schemas.bus import ArtifactBus, BusError
from schemas.errors import UsageError


@pytest.fixture(scope="module")
def server() -> Iterator[None]:
    """Run an S3 server."""
    with s3_server():
        yield


@pytest.fixture(params=["file", "memory", "s3"])
def bus(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactBus:
    """Open an empty Bus of each kind."""
    if request.param == "s3":
        request.getfixturevalue("server")
        return open_bus(f"s3://bus/{tmp_path.name}")
    return open_bus(f"file:{tmp_path}" if request.param == "file" else f"memory:{tmp_path}")


def test_what_was_written_is_found_and_read(bus: ArtifactBus) -> None:
    """By the names that it was written under, whatever prefix the URL has."""
    bus.write("a/one", b"1")
    bus.write("a/b/two", b"22")
    bus.write("c", b"3")
    assert {found.name: found.size_bytes for found in bus.find("a")} == {"a/one": 1, "a/b/two": 2}
    assert {found.name for found in bus.find()} == {"a/one", "a/b/two", "c"}
    assert bus.read("a/b/two", 2) == b"22"
    assert bus.read("a/none", 2) is None
    with pytest.raises(BusError, match="a/b/two has 2 bytes, 1 were expected"):
        bus.read("a/b/two", 1)


def test_what_was_removed_is_not_there(bus: ArtifactBus) -> None:
    """Nothing beside it goes; what is not there can be removed, too."""
    bus.write("a/one", b"1")
    bus.write("a/two", b"2")
    bus.remove("a/one")
    bus.remove("a/none")
    assert {found.name for found in bus.find()} == {"a/two"}
    assert bus.read("a/one", 1) is None


def test_a_name_is_claimed_once(bus: ArtifactBus) -> None:
    """Who comes second, and who asks again, learns who was first."""
    assert bus.claim("champion", b"mine") == b"mine"
    assert bus.claim("champion", b"yours") == b"mine"
    assert bus.read("champion", 10) == b"mine"


def test_a_folder_goes_up_and_comes_down(bus: ArtifactBus, tmp_path: Path) -> None:
    """Byte for byte; an object that is missing, or larger than said, is named."""
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "deep").mkdir(parents=True)
    (source / "one").write_bytes(b"1" * 3_000_000)
    (source / "deep/two").write_bytes(b"")
    bus.upload(source, "up/1", ["one", "deep/two"])
    bus.download("up/1", {"one": 3_000_000, "deep/two": 0}, target)
    assert (target / "one").read_bytes() == b"1" * 3_000_000
    assert (target / "deep/two").read_bytes() == b""
    with pytest.raises(BusError, match="reading up/1/three: nothing is there"):
        bus.download("up/1", {"three": 1}, target)
    with pytest.raises(BusError, match="one has 3000000 bytes, 5 were expected"):
        bus.download("up/1", {"one": 5}, tmp_path / "other")


def test_an_s3_that_does_not_answer_is_named_without_its_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within the time of a few retries."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "known")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    with pytest.raises(BusError, match=r"s3://bus/p: reading x failed \(.*check that it can be reached") as raised:
        open_bus("s3://bus/p").read("x", 1)
    assert "hidden" not in str(raised.value)


def test_s3_without_tls_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address alone does not send keys over plain HTTP."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.delenv("AWS_ALLOW_HTTP", raising=False)
    with pytest.raises(UsageError, match="AWS_ENDPOINT_URL has no TLS"):
        open_bus("s3://bus/p")


def test_a_folder_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    """A typo must not become an empty Bus."""
    with pytest.raises(UsageError, match="is no folder"):
        open_bus(str(tmp_path / "none"))
