"""One worker a data folder: the operating system holds the lock, and lets go of it however the worker ends."""

import errno
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from schemas.errors import InsessionError

_FILE: Final = "worker.lock"
_NO_LOCKS: Final = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})


class FolderInUseError(InsessionError):
    """The data folder is another worker's, or is on a file system that cannot tell."""


@asynccontextmanager
async def locked_folder(folder: Path) -> AsyncIterator[None]:
    """Hold a folder, which is made where it is missing; raises FolderInUseError, OSError where it cannot be made."""
    descriptor = _opened(folder)
    try:
        _lock(folder, descriptor)
        os.truncate(descriptor, 0)
        os.write(descriptor, b"%d\n" % os.getpid())
        yield
    finally:
        os.close(descriptor)


def _opened(folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    return os.open(folder / _FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)


def _lock(folder: Path, descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
        raise FolderInUseError(
            f"data folder {folder} is in use by another worker (process {holder or 'unknown'}): give every worker a "
            "kafka.datadir of its own, or end that one"
        ) from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        raise FolderInUseError(
            f"data folder {folder} is on a file system without locks ({error.strerror}), as NFS may be: nothing would "
            "keep a second worker off. Put kafka.datadir on a local disk; it is only a copy of the changelog"
        ) from error
