"""Rids the local files of what was deleted: RocksDB keeps a value, and its key, until it compacts their file.

A partition in which a visitor was erased is compacted soon, every open one once a day, one at a time. The copy of a
partition that went elsewhere hears of no erasure any more: it is deleted when it was not open for a day, and what was
moved aside as damaged after a week.
"""

import asyncio
import contextlib
import shutil
import threading
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import structlog
from rocksdict import BottommostLevelCompaction, CompactOptions

from streams.state.fencing import RESERVED

log = structlog.get_logger(__name__)

_Result = TypeVar("_Result")

TIDYING_SECONDS: Final = 5.0
"""From one step to the next."""
QUIET_SECONDS: Final = 10.0
"""After the latest erasure in a partition: many come together, and one compaction is enough for all."""
DAILY_SECONDS: Final = 24 * 3600.0
SETTLED_SECONDS: Final = 3600.0
"""Nothing of the daily work is done sooner after a start, or the opening of a partition: there is enough to do."""
LOOK_SECONDS: Final = 3600.0
"""From one look for unused copies to the next: it reads the times of all files."""
RETRY_SECONDS: Final = 3600.0
"""After a compaction that failed: it may write as much as the partition holds, on a disk that is perhaps full."""
_TIDIED_KEY: Final = RESERVED + b"tidied"
KEPT_DAMAGED_SECONDS: Final = 7 * DAILY_SECONDS


class LocalPartitions(Protocol):
    """The open partitions and where they lie; `streams.state.local.LocalState`."""

    def opened(self) -> Collection[int]:
        """Return their numbers."""

    def held(self, partition: int) -> AbstractContextManager[Any]:
        """Return the database of an open partition; one that goes away meanwhile and comes back is this one again."""

    def folder(self) -> Path:
        """Return the folder of the partitions' folders."""


@dataclass(slots=True)
class TidyingPlan:
    """Which partition is to be compacted next. Times are monotonic seconds."""

    _erased: dict[int, float] = field(default_factory=dict)
    _compacted: dict[int, float] = field(default_factory=dict)
    _retried: dict[int, float] = field(default_factory=dict)

    def erased(self, partition: int, now_seconds: float) -> None:
        """Note that something was erased from a partition."""
        self._erased[partition] = now_seconds

    def next(self, opened: Iterable[int], now_seconds: float) -> int | None:
        """Return the partition that has waited longest."""
        first_seconds = now_seconds - DAILY_SECONDS + SETTLED_SECONDS
        self._compacted = {partition: self._compacted.get(partition, first_seconds) for partition in opened}
        self._erased = {partition: at for partition, at in self._erased.items() if partition in self._compacted}
        self._retried = {partition: at for partition, at in self._retried.items() if now_seconds < at}
        due = [(at, one) for one, at in self._erased.items() if now_seconds >= at + QUIET_SECONDS]
        due += [(at, one) for one, at in self._compacted.items() if now_seconds >= at + DAILY_SECONDS]
        return min((one for one in due if one[1] not in self._retried), default=(0.0, None))[1]

    def failed(self, partition: int, now_seconds: float) -> None:
        """Leave a partition for an hour; the others go on."""
        self._retried[partition] = now_seconds + RETRY_SECONDS

    def compacted(self, partition: int, begun_seconds: float) -> None:
        """Note a compaction that began then; what was erased since is left for another one."""
        self._compacted[partition] = begun_seconds
        if self._erased.get(partition, begun_seconds) <= begun_seconds:
            self._erased.pop(partition, None)


class LocalTidying:
    """Tidies step by step; a timer calls `step`.

    partitions: looked up anew each time; None = they are in memory.
    """

    def __init__(
        self,
        partitions: Callable[[], LocalPartitions | None],
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wall_seconds: Callable[[], float] = time.time,
    ) -> None:
        self._partitions = partitions
        self._monotonic, self._wall_seconds = monotonic, wall_seconds
        self._next_look_seconds = monotonic() + SETTLED_SECONDS
        self._plan = TidyingPlan()

    def erased(self, partition: int) -> None:
        """Note that something was erased from a partition of ours."""
        self._plan.erased(partition, self._monotonic())

    async def step(self) -> None:
        """Compact one partition, if one is due, and delete what is unused; what fails is logged and tried again."""
        if (partitions := self._partitions()) is None:
            return
        now_seconds = self._monotonic()
        partition = self._plan.next(partitions.opened(), now_seconds)
        if partition is not None:
            await self._compact(partitions, partition)
        if now_seconds >= self._next_look_seconds:
            self._next_look_seconds = now_seconds + LOOK_SECONDS
            await self._delete_unused(partitions)

    async def _compact(self, partitions: LocalPartitions, partition: int) -> None:
        begun_seconds = self._monotonic()
        try:
            with partitions.held(partition) as database:
                await _apart(compact, database)
        except Exception as error:  # noqa: BLE001 - rocksdict has no class of its own; no click may end for this
            self._plan.failed(partition, begun_seconds)
            log.warning("partition_not_compacted", partition=partition, error=str(error), remedy="tried in an hour")
            return
        self._plan.compacted(partition, begun_seconds)
        log.info("partition_compacted", partition=partition, seconds=round(self._monotonic() - begun_seconds, 3))

    async def _delete_unused(self, partitions: LocalPartitions) -> None:
        try:
            for path in await _apart(unused, partitions.folder(), partitions.opened(), self._wall_seconds()):
                if not _is_open(path, partitions.opened()):  # it may have come back since
                    moved = path.rename(path.with_name(f"{path.name}.unused"))  # nobody opens half of it meanwhile
                    await _apart(shutil.rmtree, moved)
                    log.info("unused_copy_deleted", path=str(path))
        except OSError as error:
            log.warning("unused_copies_not_deleted", error=str(error), remedy="tried in an hour")


async def _apart(call: Callable[..., _Result], *arguments: Any) -> _Result:
    """Call in a thread for which the end of the process does not wait, unlike asyncio's own."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[_Result] = loop.create_future()

    def settle_with(settle: Callable[[Any], None], result: Any) -> None:
        if not done.done():
            settle(result)

    def run() -> None:
        try:
            outcome: tuple[Callable[[Any], None], Any] = (done.set_result, call(*arguments))
        except Exception as error:  # noqa: BLE001 - it is raised where the call is awaited
            outcome = (done.set_exception, error)
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process ends
            loop.call_soon_threadsafe(settle_with, *outcome)

    threading.Thread(target=run, name="local-tidying", daemon=True).start()
    return await done


def compact(database: Any) -> None:
    """Rewrite a partition's files without what was deleted; other threads go on reading and writing meanwhile.

    The manifest that tells of the rewriting begins with the files before it, and so with their first and last keys;
    the next one does not. One more small file has it written now.
    """
    options = CompactOptions()
    options.set_bottommost_level_compaction(BottommostLevelCompaction.force())
    database.compact_range(None, None, options)
    database.put(_TIDIED_KEY, b"")
    database.flush()


def unused(folder: Path, opened: Collection[int], now_seconds: float) -> list[Path]:
    """Return the copies that are not open and have not changed for long enough; now_seconds: Unix seconds."""
    return [path for path in sorted(folder.glob("*.db*")) if path.is_dir() and _is_unused(path, opened, now_seconds)]


def _is_unused(path: Path, opened: Collection[int], now_seconds: float) -> bool:
    kept_seconds = DAILY_SECONDS if path.suffix == ".db" else KEPT_DAMAGED_SECONDS
    return not _is_open(path, opened) and _changed_seconds(path) < now_seconds - kept_seconds


def _is_open(path: Path, opened: Iterable[int]) -> bool:
    return any(path.name.endswith(f"-{partition}.db") for partition in opened)


def _changed_seconds(path: Path) -> float:
    return max(file.lstat().st_mtime for file in (path, *path.rglob("*")))
