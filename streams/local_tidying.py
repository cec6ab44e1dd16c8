"""Rids the local files of what was deleted: RocksDB keeps a value, and its key, until it compacts their file.

A partition in which a visitor was erased is compacted soon, every open one once a day, one at a time. The copy of a
partition that went elsewhere hears of no erasure any more: it is deleted when it was not open for a day, and what was
moved aside as damaged after a week.
"""

import asyncio
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import structlog
from rocksdict import BottommostLevelCompaction, CompactOptions

log = structlog.get_logger(__name__)

TIDYING_SECONDS: Final = 5.0
"""From one step to the next."""
QUIET_SECONDS: Final = 10.0
"""After the latest erasure in a partition: many come together, and one compaction is enough for all."""
DAILY_SECONDS: Final = 24 * 3600.0
SETTLED_SECONDS: Final = 3600.0
"""Nothing of the daily work is done sooner after a start, or the opening of a partition: there is enough to do."""
LOOK_SECONDS: Final = 3600.0
"""From one look for unused copies to the next: it reads the times of all files."""
KEPT_DAMAGED_SECONDS: Final = 7 * DAILY_SECONDS


class LocalPartitions(Protocol):
    """The open partitions and where they lie; `streams.local_state.LocalState`."""

    def opened(self) -> dict[int, Any]:
        """Give the databases by partition."""

    def folder(self) -> Path:
        """Give the folder of the partitions' folders."""


@dataclass(slots=True)
class TidyingPlan:
    """Which partition is to be compacted next. Times are monotonic seconds."""

    _erased: dict[int, float] = field(default_factory=dict)
    _compacted: dict[int, float] = field(default_factory=dict)

    def erased(self, partition: int, now_seconds: float) -> None:
        """Note that something was erased from a partition."""
        self._erased[partition] = now_seconds

    def next(self, opened: Iterable[int], now_seconds: float) -> int | None:
        """Give the partition that has waited longest."""
        first_seconds = now_seconds - DAILY_SECONDS + SETTLED_SECONDS
        self._compacted = {partition: self._compacted.get(partition, first_seconds) for partition in opened}
        self._erased = {partition: at for partition, at in self._erased.items() if partition in self._compacted}
        due = [(at, one) for one, at in self._erased.items() if now_seconds >= at + QUIET_SECONDS]
        due += [(at, one) for one, at in self._compacted.items() if now_seconds >= at + DAILY_SECONDS]
        return min(due)[1] if due else None

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
        begun_seconds, opened = self._monotonic(), partitions.opened()
        partition = self._plan.next(opened, begun_seconds)
        try:
            if partition is not None:
                await asyncio.to_thread(compact, opened[partition])
                self._plan.compacted(partition, begun_seconds)
                taken_seconds = round(self._monotonic() - begun_seconds, 3)
                log.info("partition_compacted", partition=partition, seconds=taken_seconds)
            if begun_seconds >= self._next_look_seconds:
                self._next_look_seconds = begun_seconds + LOOK_SECONDS
                await asyncio.to_thread(self._delete_unused, partitions.folder(), set(opened))
        except Exception as error:  # noqa: BLE001 - rocksdict has no class of its own; no click may end for this
            log.warning("local_files_not_tidied", partition=partition, error=str(error), remedy="tried again")

    def _delete_unused(self, folder: Path, opened: set[int]) -> None:
        for path in unused(folder, opened, self._wall_seconds()):
            shutil.rmtree(path)
            log.info("unused_copy_deleted", path=str(path))


def compact(database: Any) -> None:
    """Rewrite a partition's files without what was deleted; other threads go on reading and writing meanwhile."""
    options = CompactOptions()
    options.set_bottommost_level_compaction(BottommostLevelCompaction.force())
    database.compact_range(None, None, options)


def unused(folder: Path, opened: Iterable[int], now_seconds: float) -> Iterator[Path]:
    """Name the copies that are not open and have not changed for long enough; now_seconds: Unix seconds."""
    in_use = {f"-{partition}.db" for partition in opened}
    for path in sorted(folder.glob("*.db*")):
        kept_seconds = DAILY_SECONDS if path.suffix == ".db" else KEPT_DAMAGED_SECONDS
        is_in_use = any(path.name.endswith(ending) for ending in in_use)
        if path.is_dir() and not is_in_use and _changed_seconds(path) < now_seconds - kept_seconds:
            yield path


def _changed_seconds(path: Path) -> float:
    return max(file.lstat().st_mtime for file in (path, *path.rglob("*")))
