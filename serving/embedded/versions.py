"""The life cycle of one model's versions, as TensorFlow Serving's managers run it. Free of TensorFlow and of time.

A version is loaded before the one that it replaces goes, and goes when its last call has ended:

| on disk | policy | before | one poll | after |
|---|---|---|---|---|
| 1, 2 | latest 1 | 1 AVAILABLE | loads 2, unloads 1 | 1 END, 2 AVAILABLE |
| 1, 2 (broken) | latest 1 | 1 AVAILABLE | fails on 2, keeps 1 | 1 AVAILABLE, 2 END with its error |
| nothing | any | 1 AVAILABLE | unloads 1 | 1 END |
| 1, 2, 3 (2, 3 broken) | latest 2 | nothing | fails on 3 and 2, loads 1 | 1 AVAILABLE, 2 and 3 END |

In the last row TensorFlow Serving serves nothing, and with a good 3 that the workers reject it unloads 1: here versions
that failed do not count among the latest. A failed version is tried again once anything in its folder has changed.

Source: core/aspired_versions_manager.cc, core/availability_preserving_policy.cc, core/basic_manager.cc and
sources/storage_path/file_system_storage_path_source.cc.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from threading import Lock
from typing import Generic, TypeVar

import grpc
import structlog

from schemas.release_folder import folder_stamp
from schemas.rollout import Rollout, RolloutError, read_rollout
from schemas.servable import version_directories
from serving.embedded.errors import StatusError, not_found
from serving.embedded.policies import VersionPolicy

log = structlog.get_logger(__name__)

ServableT = TypeVar("ServableT")


class VersionState(IntEnum):
    """States of a version, with the numbers of ModelVersionStatus.State."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """What GetModelStatus says of a version; `error` is set when its load failed."""

    version: int
    state: VersionState
    error: StatusError | None


@dataclass(slots=True)
class _Entry(Generic[ServableT]):
    state: VersionState = VersionState.START
    servable: ServableT | None = None
    calls: int = 0
    error: StatusError | None = None
    failed_stamp: str | None = None
    aspired: bool = True


class ModelVersions(Generic[ServableT]):
    """The versions of the model in `base_path`. `poll` belongs to one thread; all else may be called from any."""

    def __init__(self, base_path: Path, policy: VersionPolicy, load: Callable[[Path], ServableT]) -> None:
        self.name = base_path.name
        self._base_path = base_path
        self._policy = policy
        self._load = load
        self._lock = Lock()
        self._entries: dict[int, _Entry[ServableT]] = {}
        self._rollout: Rollout | None = None
        self._troubles: dict[str, str] = {}

    def poll(self) -> None:
        """Look at the folder once: load what is new, highest first, then unload what is no longer aspired to."""
        try:
            on_disk = {int(version): path for version, path in version_directories(self._base_path).items()}
        except OSError as error:  # an unmounted store must not unload what serves
            self._warn("base_path_unreadable", error)
            return
        self._troubles.pop("base_path_unreadable", None)
        rollout = self._read_rollout()
        aspired = self._policy.aspired(on_disk.keys() - self._still_broken(on_disk), rollout)
        while new := self._aspire(aspired):
            for version in new:
                self._load_version(version, on_disk[version])
            aspired = self._policy.aspired(on_disk.keys() - self._failed(), rollout)
        self._unload_all_but(aspired)

    def _read_rollout(self) -> Rollout | None:
        """Read what is in force; where it cannot be read, the last one that could be stays."""
        try:
            self._rollout = read_rollout(self._base_path)
        except (RolloutError, OSError) as error:
            self._warn("rollout_unreadable", error)
        else:
            self._troubles.pop("rollout_unreadable", None)
        return self._rollout

    def _warn(self, trouble: str, error: Exception) -> None:
        """Tell of a trouble when it comes and when it changes, not at every look."""
        if self._troubles.get(trouble) != str(error):
            self._troubles[trouble] = str(error)
            log.warning(trouble, model=self.name, path=str(self._base_path), error=str(error))

    def statuses(self) -> list[VersionStatus]:
        """List every version ever seen, highest first."""
        with self._lock:
            entries = sorted(self._entries.items(), reverse=True)
            return [VersionStatus(version, entry.state, entry.error) for version, entry in entries]

    def available(self) -> list[int]:
        """List the versions that answer calls, lowest first."""
        return sorted(status.version for status in self.statuses() if status.state is VersionState.AVAILABLE)

    @contextmanager
    def lease(self, version: int | None) -> Iterator[tuple[int, ServableT]]:
        """Hold `version`, or the highest available one, for the length of a call. Raises StatusError NOT_FOUND."""
        number, servable = self._take(version)
        try:
            yield number, servable
        finally:
            self._give_back(number)

    def _take(self, version: int | None) -> tuple[int, ServableT]:
        with self._lock:
            available = [n for n, entry in self._entries.items() if entry.state is VersionState.AVAILABLE]
            number = max(available, default=None) if version is None else version
            if number is None or number not in available:
                request = f"Latest({self.name})" if version is None else f"Specific({self.name}, {version})"
                raise not_found(f"Servable not found for request: {request}")
            entry = self._entries[number]
            assert entry.servable is not None
            entry.calls += 1
            return number, entry.servable

    def _give_back(self, version: int) -> None:
        with self._lock:
            entry = self._entries[version]
            entry.calls -= 1
            self._end_if_idle(version, entry)

    def _still_broken(self, on_disk: Mapping[int, Path]) -> frozenset[int]:
        """Forget failures of folders that are gone or changed since; name the others."""
        with self._lock:
            stamps = {n: entry.failed_stamp for n, entry in self._entries.items() if entry.failed_stamp is not None}
        found = {version: _stamp(on_disk[version]) for version in stamps if version in on_disk}
        with self._lock:
            for version, stamp in stamps.items():
                if found.get(version) != stamp:
                    self._entries[version].failed_stamp = None
                    self._entries[version].aspired = False
        return self._failed()

    def _failed(self) -> frozenset[int]:
        with self._lock:
            return frozenset(n for n, entry in self._entries.items() if entry.failed_stamp is not None)

    def _aspire(self, aspired: frozenset[int]) -> list[int]:
        """Note what is aspired to; return what to load."""
        with self._lock:
            new = []
            for version in sorted(aspired, reverse=True):
                known = self._entries.get(version)
                if known is None or (known.state is VersionState.END and not known.aspired):
                    self._entries[version] = _Entry()
                    new.append(version)
            for version, entry in self._entries.items():
                entry.aspired = version in aspired
            return new

    def _load_version(self, version: int, path: Path) -> None:
        self._move(version, VersionState.LOADING)
        stamp = _stamp(path)
        try:
            servable = self._load(path)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one folder, the other versions serve on
            self._fail(version, error, stamp)
            return
        with self._lock:
            entry = self._entries[version]
            entry.servable = servable
            entry.state = VersionState.AVAILABLE
        log.info("version_available", model=self.name, version=version)

    def _fail(self, version: int, error: Exception, stamp: str) -> None:
        status = error if isinstance(error, StatusError) else StatusError(grpc.StatusCode.INTERNAL, repr(error))
        with self._lock:
            self._entries[version].error = status
            self._entries[version].failed_stamp = stamp
            self._entries[version].state = VersionState.END
        log.error("version_load_failed", model=self.name, version=version, code=status.code.name, error=status.message)

    def _unload_all_but(self, aspired: frozenset[int]) -> None:
        with self._lock:
            ready = [n for n, entry in self._entries.items() if entry.state is VersionState.AVAILABLE]
            if aspired and aspired.isdisjoint(ready):
                return
            for version in set(ready) - aspired:
                entry = self._entries[version]
                entry.state = VersionState.UNLOADING
                self._end_if_idle(version, entry)

    def _end_if_idle(self, version: int, entry: _Entry[ServableT]) -> None:
        if entry.state is VersionState.UNLOADING and not entry.calls:
            entry.servable = None
            entry.state = VersionState.END
            log.info("version_unloaded", model=self.name, version=version)

    def _move(self, version: int, state: VersionState) -> None:
        with self._lock:
            self._entries[version].state = state


def _stamp(path: Path) -> str:
    """Return what a folder holds; what cannot be told differs from everything, so that it is tried again."""
    try:
        return folder_stamp(path)
    except OSError as error:
        return f"{error} at {time.monotonic_ns()}"
