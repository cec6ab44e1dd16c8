import shutil
from pathlib import Path

import grpc
import pytest
from structlog.testing import capture_logs

from serving.embedded.errors import StatusError, invalid_argument
from serving.embedded.policies import AllVersions, LatestVersions, SpecificVersions, VersionPolicy
from serving.embedded.versions import ModelVersions, VersionState

LATEST = LatestVersions(1)


class Shelf:
    """A model's folder, and a loader that reads the word in each version's file; `broken` fails to load."""

    def __init__(self, base_path: Path, policy: VersionPolicy = LATEST) -> None:
        self.base_path = base_path / "rec"
        self.base_path.mkdir()
        self.versions = ModelVersions(self.base_path, policy, self.load)
        self.loaded: list[int] = []
        self.states_while_loading: list[dict[int, VersionState]] = []

    def put(self, *numbers: int, word: str = "good") -> None:
        """Put versions on disk."""
        for number in numbers:
            (self.base_path / str(number)).mkdir()
            (self.base_path / str(number) / "word").write_text(word)

    def remove(self, number: int) -> None:
        """Take a version from disk."""
        shutil.rmtree(self.base_path / str(number))

    def load(self, path: Path) -> str:
        """Load a version, and note the states of all while doing so."""
        self.loaded.append(int(path.name))
        self.states_while_loading.append(self.states())
        word = (path / "word").read_text()
        if word == "broken":
            raise invalid_argument(f"{path.name} is broken")
        return f"{word} {path.name}"

    def states(self) -> dict[int, VersionState]:
        """List the state of each version."""
        return {status.version: status.state for status in self.versions.statuses()}


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """Make a shelf that serves the latest version."""
    return Shelf(tmp_path)


def test_the_latest_version_is_served(shelf: Shelf) -> None:
    """Of the versions on disk the policy's are loaded, and a call without a version gets the highest."""
    shelf.put(1, 2)
    shelf.versions.poll()
    assert shelf.loaded == [2]
    with shelf.versions.lease(None) as leased:
        assert leased == (2, "good 2")


def test_the_highest_is_loaded_first(tmp_path: Path) -> None:
    """The newest model serves soonest."""
    shelf = Shelf(tmp_path, AllVersions())
    shelf.put(1, 2, 10)
    shelf.versions.poll()
    assert shelf.loaded == [10, 2, 1]


def test_a_pinned_version_is_served(tmp_path: Path) -> None:
    """A rollback serves what it names, though a newer version lies there."""
    shelf = Shelf(tmp_path, SpecificVersions(frozenset({1, 9})))
    shelf.put(1, 2)
    shelf.versions.poll()
    assert shelf.versions.available() == [1]


def test_a_version_loads_before_the_old_one_goes(shelf: Shelf) -> None:
    """While the new version loads the old one is AVAILABLE; afterwards it has ENDed."""
    shelf.put(1)
    shelf.versions.poll()
    shelf.put(2)
    shelf.versions.poll()
    assert shelf.states_while_loading[-1] == {1: VersionState.AVAILABLE, 2: VersionState.LOADING}
    assert shelf.states() == {1: VersionState.END, 2: VersionState.AVAILABLE}


def test_a_loading_version_takes_no_call(tmp_path: Path) -> None:
    """A version that is still loading is not found."""
    refused: list[str] = []

    def load(path: Path) -> str:
        with pytest.raises(StatusError) as caught, versions.lease(int(path.name)):
            raise AssertionError
        refused.append(caught.value.message)
        return "loaded"

    versions = ModelVersions(tmp_path, LATEST, load)
    (tmp_path / "3").mkdir()
    versions.poll()
    assert refused == [f"Servable not found for request: Specific({tmp_path.name}, 3)"]
    assert versions.available() == [3]


def test_a_version_goes_after_its_last_call(shelf: Shelf) -> None:
    """A call in flight keeps its version; new calls get the new one."""
    shelf.put(1)
    shelf.versions.poll()
    with shelf.versions.lease(None), shelf.versions.lease(1):
        shelf.put(2)
        shelf.versions.poll()
        assert shelf.states()[1] is VersionState.UNLOADING
        with shelf.versions.lease(None) as (version, _):
            assert version == 2
        with pytest.raises(StatusError, match=r"Specific\(rec, 1\)"), shelf.versions.lease(1):
            pass
    assert shelf.states()[1] is VersionState.END


def test_a_call_that_fails_gives_its_version_back(shelf: Shelf) -> None:
    """An exception in a call does not keep the version for ever."""
    shelf.put(1)
    shelf.versions.poll()
    with pytest.raises(ZeroDivisionError), shelf.versions.lease(1):
        raise ZeroDivisionError
    shelf.put(2)
    shelf.versions.poll()
    assert shelf.states()[1] is VersionState.END


def test_a_broken_version_leaves_the_old_one(shelf: Shelf) -> None:
    """A version that fails to load ENDs with its error, one log line says so, and the old version serves on."""
    shelf.put(1)
    shelf.versions.poll()
    shelf.put(2, word="broken")
    with capture_logs() as logs:
        shelf.versions.poll()
    status = shelf.versions.statuses()[0]
    assert (status.version, status.state, str(status.error)) == (2, VersionState.END, "2 is broken")
    assert shelf.versions.available() == [1]
    assert [(line["event"], line["version"]) for line in logs] == [("version_load_failed", 2)]


def test_a_broken_version_is_tried_again_once_it_has_changed(shelf: Shelf) -> None:
    """A failed load is not repeated while the folder stays as it is; a repair in place is taken up."""
    shelf.put(2, word="broken")
    shelf.versions.poll()
    shelf.versions.poll()
    assert shelf.loaded == [2]
    (shelf.base_path / "2" / "word").write_text("good")
    shelf.versions.poll()
    assert shelf.loaded == [2, 2]
    assert shelf.states() == {2: VersionState.AVAILABLE}
    assert shelf.versions.statuses()[0].error is None


def test_a_broken_version_that_was_away_is_tried_again(shelf: Shelf) -> None:
    """Gone for a poll and back, it is another one."""
    shelf.put(2, word="broken")
    shelf.versions.poll()
    shelf.remove(2)
    shelf.versions.poll()
    shelf.put(2)
    shelf.versions.poll()
    assert shelf.loaded == [2, 2]
    assert shelf.states() == {2: VersionState.AVAILABLE}


def test_two_broken_versions_do_not_push_a_good_one_off(tmp_path: Path) -> None:
    """What failed does not count among the latest: neither where the good one serves already, nor after a start."""
    shelf = Shelf(tmp_path, LatestVersions(2))
    shelf.put(1)
    shelf.versions.poll()
    shelf.put(2, 3, word="broken")
    shelf.versions.poll()
    shelf.versions.poll()
    assert shelf.versions.available() == [1]
    started = ModelVersions(shelf.base_path, LatestVersions(2), shelf.load)
    started.poll()
    assert started.available() == [1]
    shelf.put(4)
    started.poll()
    assert started.available() == [1, 4]


def test_an_unexpected_error_is_internal(shelf: Shelf) -> None:
    """A load that fails in a way nobody thought of counts as INTERNAL and stops nothing else."""
    (shelf.base_path / "5").mkdir()
    shelf.versions.poll()
    error = shelf.versions.statuses()[0].error
    assert error is not None
    assert error.code is grpc.StatusCode.INTERNAL
    assert "FileNotFoundError" in error.message


def test_the_old_version_comes_back(shelf: Shelf) -> None:
    """When the newest is taken away, the one before is loaded again before the newest goes."""
    shelf.put(1)
    shelf.versions.poll()
    shelf.put(2)
    shelf.versions.poll()
    shelf.remove(2)
    shelf.versions.poll()
    assert shelf.states_while_loading[-1] == {1: VersionState.LOADING, 2: VersionState.AVAILABLE}
    assert shelf.versions.available() == [1]


def test_an_emptied_folder_unloads_all(shelf: Shelf) -> None:
    """Without any version on disk none is served."""
    shelf.put(1)
    shelf.versions.poll()
    shelf.remove(1)
    shelf.versions.poll()
    with pytest.raises(StatusError, match=r"Latest\(rec\)"), shelf.versions.lease(None):
        pass


def test_a_missing_folder_unloads_nothing(shelf: Shelf) -> None:
    """A store that is away for a while, as when it is unmounted, leaves what is loaded; one log line says so."""
    shelf.put(1)
    shelf.versions.poll()
    shutil.rmtree(shelf.base_path)
    with capture_logs() as logs:
        shelf.versions.poll()
        shelf.versions.poll()
    assert shelf.versions.available() == [1]
    assert [line["event"] for line in logs] == ["base_path_unreadable"]


def test_a_folder_that_is_missing_again_is_told_again(shelf: Shelf) -> None:
    """The line that tells of the first time may be days old."""
    away = shelf.base_path.with_name("away")
    with capture_logs() as logs:
        for _ in range(2):
            shelf.base_path.rename(away)
            shelf.versions.poll()
            away.rename(shelf.base_path)
            shelf.versions.poll()
    assert [line["event"] for line in logs] == ["base_path_unreadable", "base_path_unreadable"]
