import gc
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from faust.types import TP

from streams.state import local as local_state
from streams.state.fencing import CLAIM_KEY
from streams.state.local import DAMAGED_MARK, LocalState, StateDamagedError, StateUnusableError, set_aside
from tests.streams.state.local_worker import PARTITION, Worker

KEYS = [b"v%d" % number for number in range(2000)]
CHANGELOG = TP("test-local-state-visitors-changelog", PARTITION)
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

Damage = Callable[[Path], object]


@pytest.fixture
def logged() -> Iterator[Any]:
    """Catch the log lines."""
    with structlog.testing.capture_logs() as entries:
        yield entries


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    """Make a worker whose partition holds states and the offset up to which the changelog is in it."""
    worker = Worker(tmp_path)
    store = worker.store()
    database = store._db_for_partition(PARTITION)
    for key in KEYS:
        database.put(key, os.urandom(200))
    store.set_persisted_offset(CHANGELOG, 1999)
    assert store.persisted_offset(CHANGELOG) == 1999
    database.flush()
    database.compact_range(None, None)  # one table: how many there would be, and what RocksDB does to them, is chance
    close(store)
    return worker


def close(store: LocalState) -> None:
    """Let RocksDB's lock go, as the end of the process does."""
    for database in store._dbs.values():
        database.close()
    store._dbs.clear()
    gc.collect()


def folder_of(worker: Worker) -> Path:
    """Find the partition's folder."""
    (found,) = worker.folder.rglob(f"visitors-{PARTITION}.db")
    return found


def flip(file: Path, at: int, length: int = 500) -> None:
    """Turn bytes over."""
    content = bytearray(file.read_bytes())
    for place in range(at, min(at + length, len(content))):
        content[place] ^= 0xFF
    file.write_bytes(content)


def tables(folder: Path) -> list[Path]:
    """List the SST files."""
    return sorted(folder.glob("*.sst"))


def manifest(folder: Path) -> Path:
    """Find the manifest."""
    return next(folder.glob("MANIFEST*"))


def to_a_file(folder: Path) -> None:
    """Put a file where the folder was."""
    folder.rename(folder.with_name("elsewhere"))
    folder.write_bytes(b"x")


FOUND_AT_OPEN: dict[str, Damage] = {
    "garbage in every table": lambda folder: [file.write_bytes(b"garbage" * 100) for file in tables(folder)],
    "the end of a table": lambda folder: flip(tables(folder)[0], tables(folder)[0].stat().st_size - 50),
    "a table cut short": lambda folder: os.truncate(tables(folder)[0], 1000),
    "a table that is gone": lambda folder: tables(folder)[0].unlink(),
    "an empty CURRENT": lambda folder: (folder / "CURRENT").write_bytes(b""),
    "garbage in CURRENT": lambda folder: (folder / "CURRENT").write_bytes(b"garbage\n"),
    "CURRENT of another manifest": lambda folder: (folder / "CURRENT").write_bytes(b"MANIFEST-999999\n"),
    "no CURRENT": lambda folder: (folder / "CURRENT").unlink(),
    "a flipped manifest": lambda folder: flip(manifest(folder), 10),
    "a manifest cut short": lambda folder: os.truncate(manifest(folder), 20),
    "no manifest": lambda folder: manifest(folder).unlink(),
    "a file in place of the folder": to_a_file,
}


@pytest.mark.parametrize("damage", FOUND_AT_OPEN.values(), ids=FOUND_AT_OPEN)
def test_a_partition_that_cannot_be_opened_is_moved_aside_and_recovered(
    worker: Worker, logged: Any, damage: Damage
) -> None:
    """It is empty and without an offset, so that Faust reads the whole changelog into it; one line, one count."""
    damage(folder_of(worker))
    store = worker.store()
    assert store.persisted_offset(CHANGELOG) is None
    assert list(store._visible_items(store._db_for_partition(PARTITION))) == []
    (line,) = [entry for entry in logged if entry["event"] == "partition_damaged"]
    assert (line["partition"], line["log_level"]) == (PARTITION, "warning")
    assert Path(line["moved_to"]).exists()
    assert (worker.healed, worker.aborted) == (1, [])
    close(store)


READS: dict[str, Callable[[LocalState], object]] = {
    "get": lambda store: [store._db_for_partition(PARTITION).get(key) for key in KEYS],
    "all entries": lambda store: list(store._visible_items(store._db_for_partition(PARTITION))),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_damage_found_by_a_read_ends_the_worker_and_the_next_start_recovers(
    worker: Worker, logged: Any, read: Callable[[LocalState], object]
) -> None:
    """Half a table read in silence would be sessions that never end; the message has the path and what to do."""
    flip(tables(folder_of(worker))[0], 30_000)
    store = worker.store()
    with pytest.raises(SystemExit):
        read(store)
    (error,) = worker.aborted
    assert isinstance(error, StateDamagedError)
    assert str(folder_of(worker)) in str(error)
    assert "start the worker again" in str(error)
    close(store)
    store = worker.store()
    assert store.persisted_offset(CHANGELOG) is None
    assert (worker.healed, len(worker.aborted)) == (1, 1)
    assert "checksum mismatch" in next(e for e in logged if e["event"] == "partition_damaged")["detail"]
    close(store)
    store = worker.store()
    assert (worker.healed, (folder_of(worker) / DAMAGED_MARK).exists()) == (1, False)
    close(store)


class BrokenDatabase:
    """A RocksDB whose every call fails."""

    def __init__(self, message: str) -> None:
        self._message = message

    def put(self, *_: Any) -> None:
        """Fail."""
        raise Exception(self._message)  # noqa: TRY002 - as rocksdict does

    get = delete = write = put


CALLS: dict[str, Callable[[Any], object]] = {
    "get": lambda database: database.get(b"k"),
    "put": lambda database: database.put(b"k", b"v"),
    "delete": lambda database: database.delete(b"k"),
    "write": lambda database: database.write(object()),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_no_failure_of_a_partition_goes_unnoticed(worker: Worker, call: Callable[[Any], object]) -> None:
    """Faust only logs what fails while it recovers, and tries the next record for ever."""
    store = worker.store()
    with pytest.raises(SystemExit):
        call(store._watched(folder_of(worker), BrokenDatabase("Corruption: block checksum mismatch")))
    assert isinstance(worker.aborted[0], StateDamagedError)
    assert (folder_of(worker) / DAMAGED_MARK).read_text() == "Corruption: block checksum mismatch"


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        ("IO error: No space left on device: While appending to file: /d/000012.log", "free some space"),
        ("IO error: Read-only file system: While open a file for appending: /d/LOG", "the right to write there"),
        ("IO error: Permission denied: While opening a file: /d/MANIFEST-000005", "the right to write there"),
        ("IO error: Too many open files: While open a file for random read: /d/000012.sst", "limit of open files"),
    ],
)
def test_a_machine_at_fault_is_no_damage(worker: Worker, words: str, remedy: str) -> None:
    """A full or read-only disk ends the worker with the path, as before, and nothing is moved or marked."""
    store, folder = worker.store(), folder_of(worker)
    with pytest.raises(SystemExit):
        store._watched(folder, BrokenDatabase(words)).put(b"k", b"v")
    (error,) = worker.aborted
    assert isinstance(error, StateUnusableError)
    assert all(part in str(error) for part in [str(folder), words, remedy])
    assert not (folder / DAMAGED_MARK).exists()


def test_a_partition_that_another_process_holds_is_waited_for(worker: Worker) -> None:
    """Faust tries again: it is the worker before this one, on its way out."""
    first, second = worker.store(), worker.store()
    first._db_for_partition(PARTITION)
    with pytest.raises(Exception, match="LOCK"):
        second._db_for_partition(PARTITION)
    assert (worker.aborted, worker.healed) == ([], 0)
    close(first)


def test_only_the_newest_damaged_copies_are_kept(tmp_path: Path) -> None:
    """A disk that breaks again and again does not fill with what it broke."""
    kept = []
    for hour in range(5):
        partition = tmp_path / f"visitors-{hour % 2}.db"
        partition.mkdir()
        kept.append(set_aside(partition, NOW + timedelta(hours=hour)))
    assert set(tmp_path.iterdir()) == set(kept[-local_state.MAX_SET_ASIDE :])


def test_a_damaged_copy_is_not_kept_where_recovery_needs_its_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then the disk would be full before the partition is back."""
    partition = tmp_path / "visitors-0.db"
    partition.mkdir()
    (partition / "000012.sst").write_bytes(b"x" * 1000)
    monkeypatch.setattr(local_state, "_size_bytes", lambda _: 1 << 60)
    assert set_aside(partition, NOW) is None
    assert list(tmp_path.iterdir()) == []


def test_a_partition_is_read_piece_by_piece(tmp_path: Path) -> None:
    """Each piece goes on behind the key that the one before ended with; what is no visitor's is left out."""
    store = Worker(tmp_path).store()
    table: Any = store.table
    database = store._db_for_partition(PARTITION)
    for key in (b"a", b"b", b"c", b"\xffa"):
        database.put(key, b"1")
    database.put(CLAIM_KEY, b"1")
    store.set_persisted_offset(CHANGELOG, 7)
    assert store.persisted_offset(CHANGELOG) == 7
    found, key = [], None
    while piece := table.following(PARTITION, key, 2):
        found.append([one for one, _ in piece])
        key = piece[-1][0]
    assert found == [[b"a", b"b"], [b"c", b"\xffa"]]
    assert (table.get(PARTITION, b"a"), table.get(PARTITION, b"nobody")) == (b"1", None)
