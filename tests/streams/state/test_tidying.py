import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from rocksdict import Options, Rdict

from streams.state.local import LocalState
from streams.state.tidying import (
    DAILY_SECONDS,
    KEPT_DAMAGED_SECONDS,
    LOOK_SECONDS,
    QUIET_SECONDS,
    RETRY_SECONDS,
    SETTLED_SECONDS,
    LocalTidying,
    TidyingPlan,
    compact,
    unused,
)
from tests.streams.state.local_worker import PARTITION, Worker

VISITOR = b"erase-me-please"


class Machine:
    """Open partitions in a folder, and clocks that the test sets."""

    def __init__(self, folder: Path, opened: dict[int, Any]) -> None:
        self._folder, self._opened = folder, opened
        self.seconds = 0.0

    def opened(self) -> set[int]:
        """Return the partitions."""
        return set(self._opened)

    @contextlib.contextmanager
    def held(self, partition: int) -> Iterator[Any]:
        """Yield a database."""
        yield self._opened[partition]

    def folder(self) -> Path:
        """Return the folder."""
        return self._folder

    def tidying(self) -> LocalTidying:
        """Begin to tidy now."""
        return LocalTidying(lambda: self, monotonic=lambda: self.seconds, wall_seconds=lambda: self.seconds)


class Failing:
    """A database that cannot be compacted."""

    def compact_range(self, *_arguments: object) -> None:
        """Fail."""
        raise RuntimeError("no space")


class Counting:
    """A database that counts its compactions, and tells whether their threads hold up the end of the process."""

    def __init__(self, *, fails: bool = False) -> None:
        self.fails = fails
        self.compactions = 0
        self.ran_in: list[bool] = []

    def compact_range(self, *_arguments: object) -> None:
        """Count, and fail where it should."""
        self.compactions += 1
        self.ran_in.append(threading.current_thread().daemon)
        if self.fails:
            raise RuntimeError("no space")

    def put(self, _key: bytes, _value: bytes) -> None:
        """Take a value."""

    def flush(self) -> None:
        """Write it."""


class Returning(Machine):
    """A machine to which partition 2 comes back while somebody looks at its files."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, {})
        self._looks = 0

    def opened(self) -> set[int]:
        """Return partition 2 from the third look on: the plan's and the search's are over then."""
        self._looks += 1
        return {2} if self._looks > 2 else set()


def files_with(folder: Path, content: bytes) -> list[str]:
    """Return the files that hold some bytes."""
    return [path.name for path in folder.rglob("*") if path.is_file() and content in path.read_bytes()]


def test_a_partition_is_compacted_when_no_more_is_erased_from_it() -> None:
    """Once for many erasures; what is erased while it runs is left for another one."""
    plan = TidyingPlan()
    plan.erased(1, 0.0)
    plan.erased(1, 5.0)
    assert plan.next([1, 2], QUIET_SECONDS) is None
    assert plan.next([1, 2], 5.0 + QUIET_SECONDS) == 1
    plan.erased(1, 21.0)
    plan.compacted(1, 20.0)
    assert plan.next([1, 2], 22.0) is None
    assert plan.next([1, 2], 21.0 + QUIET_SECONDS) == 1
    plan.compacted(1, 21.0 + QUIET_SECONDS)
    assert plan.next([1, 2], 21.0 + 2 * QUIET_SECONDS) is None


def test_every_open_partition_is_compacted_once_a_day() -> None:
    """First an hour after it was opened; one that has gone is left alone."""
    plan = TidyingPlan()
    assert plan.next([1, 2], 0.0) is None
    assert plan.next([1, 2], SETTLED_SECONDS) in {1, 2}
    for partition in (1, 2):
        plan.compacted(partition, SETTLED_SECONDS)
    assert plan.next([1, 2], SETTLED_SECONDS + DAILY_SECONDS - 1) is None
    assert plan.next([2], SETTLED_SECONDS + DAILY_SECONDS) == 2
    plan.erased(9, 0.0)
    assert plan.next([], DAILY_SECONDS * 3) is None


@pytest.mark.parametrize("others", [0, 500])
@pytest.mark.parametrize("was_in_files", [True, False])
def test_a_compaction_leaves_nothing_of_what_was_deleted(tmp_path: Path, others: int, *, was_in_files: bool) -> None:
    """No file of the partition names it, the manifest with the bounds of the files included."""
    worker = Worker(tmp_path)
    store = worker.store()
    database = store._db_for_partition(PARTITION)
    for number in range(others):
        database.put(b"v%d" % number, os.urandom(100))
    database.put(VISITOR, b"state of " + VISITOR)
    if was_in_files:
        database.flush()
    assert files_with(tmp_path, VISITOR)
    database.delete(VISITOR)
    with store.held(PARTITION) as held:
        compact(held)
    assert files_with(tmp_path, VISITOR) == []
    assert database.get(b"v7") == (None if others == 0 else database.get(b"v7"))


def test_copies_that_nobody_uses_are_deleted(tmp_path: Path) -> None:
    """Of partitions that went elsewhere after a day, damaged ones after a week; what is open stays, however quiet."""
    damaged = "visitors-1.db.corrupt-20260101T000000000000Z"
    for name in ("visitors-1.db", "visitors-2.db", "visitors-3.db", damaged):
        (tmp_path / name).mkdir()
        (tmp_path / name / "CURRENT").write_text("")
        os.utime(tmp_path / name / "CURRENT", (0, 0))
        os.utime(tmp_path / name, (0, 0))
    (tmp_path / "visitors-3.db" / "LOG").write_text("written now")
    (tmp_path / "visitors-backups").mkdir()
    after_a_day = [path.name for path in unused(tmp_path, [1], DAILY_SECONDS + 1)]
    after_a_week = [path.name for path in unused(tmp_path, [1], KEPT_DAMAGED_SECONDS + 1)]
    assert (after_a_day, after_a_week) == (["visitors-2.db"], [damaged, "visitors-2.db"])


async def test_a_step_tells_what_it_did_and_fails_nothing(tmp_path: Path) -> None:
    """A database that cannot be compacted is tried again; unused copies go once the worker has settled."""
    database = Rdict(str(tmp_path / "visitors-1.db"), Options(raw_mode=True))
    opened: dict[int, Any] = {1: Failing()}
    machine = Machine(tmp_path, opened)
    tidying = machine.tidying()
    (tmp_path / "visitors-2.db").mkdir()
    os.utime(tmp_path / "visitors-2.db", (0, 0))
    with structlog.testing.capture_logs() as logged:
        await tidying.step()
        tidying.erased(1)
        machine.seconds = QUIET_SECONDS
        await tidying.step()
        opened[1] = database
        machine.seconds += RETRY_SECONDS
        await tidying.step()
        machine.seconds = DAILY_SECONDS + QUIET_SECONDS + RETRY_SECONDS
        await tidying.step()
    told = [entry["event"] for entry in logged]
    assert told == ["partition_not_compacted", "partition_compacted", "partition_compacted", "unused_copy_deleted"]
    assert not (tmp_path / "visitors-2.db").exists()


async def test_a_table_in_memory_has_nothing_to_tidy() -> None:
    """As on the embedded broker."""
    await LocalTidying(lambda: None).step()


def test_the_open_partitions_and_their_folder_are_known(tmp_path: Path) -> None:
    """So that what is not among them can be told."""
    store: LocalState = Worker(tmp_path).store()
    store._db_for_partition(PARTITION)
    assert store.opened() == {PARTITION}
    assert (store.folder() / f"visitors-{PARTITION}.db").is_dir()


async def test_unused_copies_are_looked_for_once_an_hour(tmp_path: Path) -> None:
    """A look reads the times of all files, and a copy is a day old before it goes."""
    machine = Machine(tmp_path, {})
    tidying = machine.tidying()
    machine.seconds = DAILY_SECONDS * 2
    await tidying.step()
    unused_copy = tmp_path / "visitors-2.db"
    unused_copy.mkdir()
    os.utime(unused_copy, (0, 0))
    machine.seconds += LOOK_SECONDS - 1
    await tidying.step()
    assert unused_copy.exists()
    machine.seconds += 1
    await tidying.step()
    assert not unused_copy.exists()


async def test_a_partition_that_cannot_be_compacted_keeps_nothing_else_from_it(tmp_path: Path) -> None:
    """The others are compacted and unused copies deleted; it is tried again in an hour, since a try may fill a disk."""
    databases = {number: Counting(fails=number == 1) for number in (1, 2)}
    machine = Machine(tmp_path, databases)
    tidying = machine.tidying()
    for partition in databases:
        tidying.erased(partition)
    (tmp_path / "visitors-7.db").mkdir()
    os.utime(tmp_path / "visitors-7.db", (0, 0))
    machine.seconds = DAILY_SECONDS + 1
    for _ in range(10):
        await tidying.step()
    assert [databases[number].compactions for number in (1, 2)] == [1, 1]
    assert not (tmp_path / "visitors-7.db").exists()
    machine.seconds += RETRY_SECONDS
    await tidying.step()
    assert databases[1].compactions == 2


async def test_the_end_of_the_process_waits_for_no_compaction(tmp_path: Path) -> None:
    """A large partition takes minutes; whoever runs the worker gives it seconds."""
    database = Counting()
    machine = Machine(tmp_path, {1: database})
    tidying = machine.tidying()
    tidying.erased(1)
    machine.seconds = QUIET_SECONDS
    await tidying.step()
    assert database.ran_in == [True]


async def test_a_copy_that_came_back_is_not_deleted(tmp_path: Path) -> None:
    """Its partition may be assigned to us while the times of all files are read."""
    path = tmp_path / "visitors-2.db"
    path.mkdir()
    os.utime(path, (0, 0))
    machine = Returning(tmp_path)
    tidying = machine.tidying()
    machine.seconds = DAILY_SECONDS + 1
    await tidying.step()
    assert path.exists()


def test_a_partition_that_comes_back_during_long_work_is_the_open_one(tmp_path: Path) -> None:
    """Faust closes a partition by forgetting it, and would find the files locked by this very process."""
    store = Worker(tmp_path).store()
    database = store._db_for_partition(PARTITION)
    with store.held(PARTITION):
        store._dbs.pop(PARTITION)
        assert store._db_for_partition(PARTITION) is database
