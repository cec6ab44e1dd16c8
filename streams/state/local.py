"""The local copy of the visitor states in RocksDB: what is damaged is moved aside and read again from the changelog.

A copy that cannot be opened is healed where it is found. Damage that shows only when a block is read may come in the
middle of an event; then the folder is marked, the process ends, and its next start heals. A machine at fault (a full or
read-only disk, rights, file handles) is no damage: nothing is moved, and the process ends with the path.
"""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NoReturn

import structlog
from faust.stores import rocksdb

from schemas.errors import InsessionError
from streams.delivery.endings import explained

log = structlog.get_logger(__name__)

DAMAGED_MARK: Final = "DAMAGED"
"""File in a partition's folder that says what was found to be damaged in it."""
MAX_SET_ASIDE: Final = 2
"""Damaged copies that are kept of all partitions together, the newest; for whoever looks for the cause."""
_MACHINE_FAULTS: Final = (
    "/LOCK",  # held by another process
    "No space left",
    "Disk quota exceeded",
    "Read-only file system",
    "Permission denied",
    "Operation not permitted",
    "Too many open files",
    "Cannot allocate memory",
)


class StateDamagedError(InsessionError):
    """A local partition turned out to be damaged while it was in use. The next start moves it aside and recovers it."""


class StateUnusableError(InsessionError):
    """The machine does not let a local partition be read or written; nothing was moved or dropped."""


def is_damage(error: BaseException) -> bool:
    """Return whether files are at fault, rather than the machine; rocksdict raises a bare Exception for both."""
    return type(error) is Exception and not any(fault in str(error) for fault in _MACHINE_FAULTS)


class WatchedDatabase:
    """A partition's RocksDB of which no failure goes unnoticed.

    failed: called with the error of a read or write; never comes back.
    """

    def __init__(self, database: Any, failed: Callable[[Exception], NoReturn]) -> None:
        self._database = database
        self._failed = failed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    def get(self, key: bytes) -> bytes | None:
        """Read a value."""
        try:
            return self._database.get(key)  # type: ignore[no-any-return]
        except Exception as error:  # noqa: BLE001 - rocksdict has no class of its own
            self._failed(error)

    def put(self, key: bytes, value: bytes) -> None:
        """Write a value."""
        try:
            self._database.put(key, value)
        except Exception as error:  # noqa: BLE001 - as above
            self._failed(error)

    def delete(self, key: bytes) -> None:
        """Remove a value."""
        try:
            self._database.delete(key)
        except Exception as error:  # noqa: BLE001 - as above
            self._failed(error)

    def write(self, batch: Any) -> None:
        """Write a batch."""
        try:
            self._database.write(batch)
        except Exception as error:  # noqa: BLE001 - as above
            self._failed(error)

    def items(self, from_key: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Read from a key on, in order; a block that cannot be read is no end, as it is for rocksdict's iterators."""
        reader = self._database.iter()
        reader.seek(from_key)
        while reader.valid():
            yield reader.key(), reader.value()
            reader.next()
        try:
            reader.status()
        except Exception as error:  # noqa: BLE001 - as above
            self._failed(error)


class LocalState(rocksdb.Store):  # type: ignore[misc]
    """Faust's RocksDB store, which heals its partitions, and which can be rid of what was deleted from it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        options = self.rocksdb_options.as_options

        def with_fresh_manifests() -> Any:
            """RocksDB's manifest names the first and last key of every file, and else keeps those of files gone."""
            made = options()
            made.set_max_manifest_file_size(1)
            return made

        self.rocksdb_options.as_options = with_fresh_manifests
        self._held: dict[int, WatchedDatabase] = {}

    def opened(self) -> set[int]:
        """Return the partitions that are open, standby copies included."""
        return set(self._dbs)

    @contextlib.contextmanager
    def held(self, partition: int) -> Iterator[WatchedDatabase]:
        """Return the database of an open partition for long work beside the clicks.

        Faust closes a partition by forgetting it. One that comes back before the work is done would find its files
        locked, by this very process, and end it: it is given this database instead.
        """
        self._held[partition] = self._dbs[partition]
        try:
            yield self._held[partition]
        finally:
            del self._held[partition]

    def folder(self) -> Path:
        """Return where the partitions lie, each in a folder of its own."""
        return Path(self.partition_path(0)).parent

    def _open_for_partition(self, partition: int) -> WatchedDatabase:
        if partition in self._held:
            return self._held[partition]
        path = self.partition_path(partition)
        mark = path / DAMAGED_MARK
        found = mark.read_text(errors="replace") if mark.is_file() else None
        if found is None:
            try:
                return self._watched(path, super()._open_for_partition(partition))
            except Exception as error:  # noqa: BLE001 - rocksdict has no class of its own
                if not is_damage(error):
                    self._refuse(path, error)
                found = str(error)
        kept = set_aside(path, datetime.now(UTC))
        self.app.delivery_metrics.partitions_healed.inc()
        log.warning(
            "partition_damaged",
            partition=partition,
            detail=found,
            moved_to=None if kept is None else str(kept),
            remedy="it is read again from the changelog; look at the disk",
        )
        try:
            return self._watched(path, super()._open_for_partition(partition))
        except Exception as error:  # noqa: BLE001 - rocksdict has no class of its own
            self._refuse(path, error)

    def _watched(self, path: Path, database: Any) -> WatchedDatabase:
        def failed(error: Exception) -> NoReturn:
            if not is_damage(error):
                self._refuse(path, error)
            with contextlib.suppress(OSError):  # then the next start finds it again
                (path / DAMAGED_MARK).write_text(str(error))
            damaged = StateDamagedError(
                f"{path} is damaged ({error}): start the worker again; it moves this copy aside and recovers the "
                "partition from the changelog. If it comes back, look at the disk"
            )
            self.app.abort(damaged)
            raise damaged  # the process has ended

        return WatchedDatabase(database, failed)

    def _refuse(self, path: Path, error: Exception) -> NoReturn:
        if "/LOCK" in str(error):
            raise error  # Faust tries again: a worker that ends may still hold it
        unusable = StateUnusableError(f"the local state in {path}: {explained(error)}")
        self.app.abort(unusable)
        raise unusable  # the process has ended


def set_aside(path: Path, now: datetime) -> Path | None:
    """Move a damaged partition out of the way, so that an empty one can take its place, and drop what is too much.

    Returns its new path; None where the disk has less free than the copy takes, which recovery needs: then it is
    deleted. Raises OSError.
    """
    kept = path.with_name(f"{path.name}.corrupt-{now:%Y%m%dT%H%M%S%f}Z")
    path.rename(kept)
    earlier = sorted(path.parent.glob("*.corrupt-*"), key=lambda one: one.name.rpartition("-")[2])
    for old in earlier[:-MAX_SET_ASIDE]:
        _delete(old)
    if shutil.disk_usage(path.parent).free < _size_bytes(kept):
        _delete(kept)
        return None
    return kept


def _size_bytes(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
