"""Releases over the Bus: published whole, fetched whole, and nothing that is served is touched by a failure."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agents.artifact_bus import open_bus
from bench.s3_server import s3_server
from schemas.bus import ArtifactBus, BusError
from schemas.errors import InsessionError, UsageError
from schemas.ids import ModelVersion
from schemas.release import MANIFEST_PATH
from schemas.release_folder import ReleaseError
from schemas.rollout import Rollout, read_rollout
from schemas.secret import Secret
from session_model.release.copies import load_release
from session_model.release.fetching import ReleaseFetcher
from session_model.release.on_bus import publish_on_bus, released_versions
from session_model.release.publishing import sign_release
from session_model.release.rollout import Moves
from session_model.release.rollout_log import RolloutLog
from tests.builders.releases import edit_manifest, write_release

MODEL = "session_gru"
KEY = Secret("k" * 32)
OBJECTS = 17
"""More than a small release has, its claim and manifest among them."""


class FailingBus:
    """A Bus that refuses after some writes or downloads, as S3 may at any moment."""

    def __init__(self, bus: ArtifactBus, calls: int) -> None:
        self._bus = bus
        self._left = calls
        self.read = bus.read
        self.find = bus.find
        self.write = bus.write

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise BusError("refused half-way")

    def claim(self, name: str, content: bytes) -> bytes:
        """Refuse, or claim."""
        self._count()
        return self._bus.claim(name, content)

    def upload(self, folder: Path, prefix: str, names: list[str]) -> None:
        """Refuse at some file."""
        for name in names:
            self._count()
            self._bus.upload(folder, prefix, [name])

    def download(self, prefix: str, sizes_bytes: dict[str, int], folder: Path) -> None:
        """Refuse at some file."""
        for name, size in sizes_bytes.items():
            self._count()
            self._bus.download(prefix, {name: size}, folder)


@pytest.fixture(scope="module", autouse=True)
def _server() -> Iterator[None]:
    with s3_server():
        yield


@pytest.fixture(params=["memory", "s3"])
def bus(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactBus:
    """Open an empty Bus."""
    return open_bus(f"memory:{tmp_path}" if request.param == "memory" else f"s3://bus/{tmp_path.name}")


def fetcher(bus: ArtifactBus, tmp_path: Path, key: Secret | None = None, kept: int = 3) -> ReleaseFetcher:
    """Fetch to the models folder."""
    return ReleaseFetcher(bus, MODEL, tmp_path / "models" / MODEL, key=key, kept=kept)


def served(tmp_path: Path) -> list[str]:
    """Name what TF Serving sees, and what is left of a fetch."""
    found = (path.name for path in (tmp_path / "models" / MODEL).iterdir())
    return sorted(name for name in found if name != ".fetch.lock")


def test_what_is_published_is_fetched_byte_for_byte(bus: ArtifactBus, tmp_path: Path) -> None:
    """Signature included; a second look has nothing to do."""
    source = write_release(tmp_path)
    sign_release(source, KEY)
    assert publish_on_bus(source, bus, MODEL, KEY) == f"{MODEL}/3"
    assert fetcher(bus, tmp_path, KEY).fetch().fetched == [3]
    copy = tmp_path / "models" / MODEL / "3"
    assert load_release(copy, KEY).version == 3
    for path in source.rglob("*"):
        assert path.is_dir() or (copy / path.relative_to(source)).read_bytes() == path.read_bytes()
    assert fetcher(bus, tmp_path, KEY).fetch().fetched == []


def test_an_upload_that_fails_anywhere_publishes_nothing_and_the_next_one_completes_it(tmp_path: Path) -> None:
    """The manifest is last."""
    source = write_release(tmp_path)
    bus = open_bus(f"memory:{tmp_path}")
    refusals = 0
    for calls in range(OBJECTS * 2):
        try:
            publish_on_bus(source, FailingBus(bus, calls), MODEL, None)
        except BusError:
            refusals += 1
            assert released_versions(bus, MODEL) == []
            assert fetcher(bus, tmp_path).fetch().fetched == []
    assert refusals > 10
    assert fetcher(bus, tmp_path).fetch().fetched == [3]


def test_a_number_is_one_releases_only(bus: ArtifactBus, tmp_path: Path) -> None:
    """Also while it is not whole; to publish the same one again changes nothing."""
    source, other = write_release(tmp_path / "a"), write_release(tmp_path / "b")
    edit_manifest(other, lambda manifest: manifest.update(code_version="0.2.0"))
    with pytest.raises(BusError):
        publish_on_bus(source, FailingBus(bus, 3), MODEL, None)
    with pytest.raises(UsageError, match="number 3 of session_gru on the Bus is another release's"):
        publish_on_bus(other, bus, MODEL, None)
    publish_on_bus(source, bus, MODEL, None)
    publish_on_bus(source, bus, MODEL, None)
    with pytest.raises(UsageError, match="another release's"):
        publish_on_bus(other, bus, MODEL, None)


def test_a_damaged_release_is_not_published(tmp_path: Path) -> None:
    """So that it does not push a good one off the servers."""
    source, bus = write_release(tmp_path), open_bus(f"memory:{tmp_path}")
    (source / "saved_model.pb").write_bytes(b"xxxxx")
    with pytest.raises(ReleaseError):
        publish_on_bus(source, bus, MODEL, None)
    assert list(bus.find()) == []


def test_a_download_that_fails_anywhere_leaves_what_is_served(tmp_path: Path) -> None:
    """The next look brings it."""
    bus = open_bus(f"memory:{tmp_path}")
    publish_on_bus(write_release(tmp_path, 3), bus, MODEL, None)
    fetcher(bus, tmp_path).fetch()
    publish_on_bus(write_release(tmp_path, 4), bus, MODEL, None)
    for calls in range(10):
        with pytest.raises(BusError, match="half-way"):
            fetcher(FailingBus(bus, calls), tmp_path).fetch()
        assert served(tmp_path) == ["3"]
    assert fetcher(bus, tmp_path).fetch().fetched == [4]


@pytest.mark.parametrize("content", [b"xxxxx", b"x" * 100, b""], ids=["changed", "longer", "cut"])
def test_a_release_that_was_changed_is_refused_and_an_older_one_fetched(
    bus: ArtifactBus, tmp_path: Path, content: bytes
) -> None:
    """It is told once more at each look, but not downloaded again."""
    for version in (3, 4):
        publish_on_bus(write_release(tmp_path, version), bus, MODEL, None)
    bus.write(f"{MODEL}/4/saved_model.pb", content)
    subject = fetcher(bus, tmp_path)
    result = subject.fetch()
    assert result.fetched == [3]
    assert "saved_model.pb" in result.refused[4]
    assert served(tmp_path) == ["3"]
    assert subject.fetch().refused == result.refused


def test_what_names_files_outside_or_is_no_manifest_is_refused(tmp_path: Path) -> None:
    """Nothing is written for it."""
    bus = open_bus(f"memory:{tmp_path}")
    source = write_release(tmp_path)
    edit_manifest(source, lambda manifest: manifest["files"].update({"../../out": "0" * 64}))
    bus.write(f"{MODEL}/3/{MANIFEST_PATH}", (source / MANIFEST_PATH).read_bytes())
    bus.write(f"{MODEL}/4/{MANIFEST_PATH}", b"{")
    bus.write(f"{MODEL}/.tmp-5/{MANIFEST_PATH}", b"{")
    result = fetcher(bus, tmp_path).fetch()
    assert sorted(result.refused) == [3, 4]
    assert "outside the release" in result.refused[3]
    assert served(tmp_path) == []


def test_an_unsigned_release_is_refused_where_there_is_a_key(tmp_path: Path) -> None:
    """Who can write to the Bus does not decide what is served."""
    bus = open_bus(f"memory:{tmp_path}")
    publish_on_bus(write_release(tmp_path), bus, MODEL, None)
    assert "not signed with this key" in fetcher(bus, tmp_path, KEY).fetch().refused[3]


def test_a_full_disk_is_told_before_anything_is_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to do; there is room for the reserve, too."""
    bus = open_bus(f"memory:{tmp_path}")
    publish_on_bus(write_release(tmp_path), bus, MODEL, None)
    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as disk:
        disk.setattr("shutil.disk_usage", lambda _: usage._replace(free=1000))
        with pytest.raises(InsessionError, match=r"No space left|1000 are free.*what is served was not touched"):
            fetcher(bus, tmp_path).fetch()
    assert served(tmp_path) == []
    assert fetcher(bus, tmp_path).fetch().fetched == [3]


def test_the_newest_are_kept_and_what_the_bus_does_not_have_is_never_removed(tmp_path: Path) -> None:
    """Nor is anything for a newer one that is broken; what a killed fetch left goes."""
    bus = open_bus(f"memory:{tmp_path}")
    folder = tmp_path / "models" / MODEL
    write_release(tmp_path / "models", 1)
    (folder / ".tmp-fetch-9").mkdir()
    for version in (3, 4):
        publish_on_bus(write_release(tmp_path, version), bus, MODEL, None)
    fetcher(bus, tmp_path, kept=2).fetch()
    publish_on_bus(write_release(tmp_path, 5), bus, MODEL, None)
    bus.write(f"{MODEL}/5/saved_model.pb", b"xxxxx")
    fetcher(bus, tmp_path, kept=2).fetch()
    assert served(tmp_path) == ["1", "3", "4"]
    publish_on_bus(write_release(tmp_path, 6), bus, MODEL, None)
    assert fetcher(bus, tmp_path, kept=2).fetch().removed == [3]
    assert served(tmp_path) == ["1", "4", "6"]


@pytest.mark.slow
def test_a_fetch_that_is_killed_anywhere_leaves_whole_releases_and_the_next_one_mends_it(tmp_path: Path) -> None:
    """By SIGKILL, before each thing that it does to the folder: what was served before it is served behind it."""
    program = [sys.executable, "-m", "tests.session_model.release.killed_fetches", str(tmp_path)]
    result = subprocess.run(program, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout.splitlines()[-1]) > 20


def roll_out(bus: ArtifactBus, move: Callable[[Moves], Rollout]) -> Rollout:
    """Change the rollout on the Bus."""
    rollouts = RolloutLog(bus, MODEL)
    return rollouts.append(move(Moves(rollouts.in_force(), datetime(2026, 1, 1, tzinfo=UTC), "ana")))


def test_a_rollout_says_what_is_here(bus: ArtifactBus, tmp_path: Path) -> None:
    """Champion, previous and candidate, however old; the rest goes, and the record comes after what it needs."""
    for version in range(1, 8):
        publish_on_bus(write_release(tmp_path / "made", version), bus, MODEL, None)
    assert fetcher(bus, tmp_path).fetch().fetched == [7, 6, 5]
    roll_out(bus, lambda moves: moves.promote(ModelVersion(1), ""))
    roll_out(bus, lambda moves: moves.promote(ModelVersion(3), ""))
    record = roll_out(bus, lambda moves: moves.trial(ModelVersion(6), "canary", 0.5, ""))
    result = fetcher(bus, tmp_path).fetch()
    assert (sorted(result.fetched), sorted(result.removed)) == ([1, 3], [5, 7])
    assert served(tmp_path) == ["1", "3", "6", "rollout"]
    assert read_rollout(tmp_path / "models" / MODEL) == record
    back = roll_out(bus, lambda moves: moves.rollback("carts fell"))
    assert sorted(fetcher(bus, tmp_path).fetch().removed) == [3, 6]
    assert read_rollout(tmp_path / "models" / MODEL) == back


def test_a_champion_that_was_changed_on_the_bus_never_serves(tmp_path: Path) -> None:
    """The rollout here stays as it was, with what it needs."""
    bus = open_bus(f"memory:{tmp_path}")
    for version in (1, 2):
        publish_on_bus(write_release(tmp_path / "made", version), bus, MODEL, None)
    before = roll_out(bus, lambda moves: moves.promote(ModelVersion(1), ""))
    assert fetcher(bus, tmp_path).fetch().fetched == [1]
    bus.write(f"{MODEL}/2/saved_model.pb", b"other")
    roll_out(bus, lambda moves: moves.promote(ModelVersion(2), ""))
    result = fetcher(bus, tmp_path).fetch()
    assert list(result.refused) == [2]
    assert served(tmp_path) == ["1", "rollout"]
    assert read_rollout(tmp_path / "models" / MODEL) == before


def test_a_command_that_wants_the_newest_gets_it_whatever_serves(tmp_path: Path) -> None:
    """As an evaluation of what was just trained."""
    bus = open_bus(f"memory:{tmp_path}")
    for version in (1, 2):
        publish_on_bus(write_release(tmp_path / "made", version), bus, MODEL, None)
    roll_out(bus, lambda moves: moves.promote(ModelVersion(1), ""))
    newest = ReleaseFetcher(bus, MODEL, tmp_path / "models" / MODEL, kept=1, follows_rollout=False)
    assert newest.fetch().fetched == [2]
