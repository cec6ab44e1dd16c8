"""Which copies of data stay for a job that was interrupted, and that no two jobs work with the same one."""

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import IO, Final

from schemas.errors import InsessionError

KEPT_FOR: Final = timedelta(hours=12)
"""How long a copy waits for the same command, from when it was made: what runs daily reads a day's new data."""


@contextmanager
def alone_with(folder: Path) -> Iterator[None]:
    """Be the only one at work with this copy; raises InsessionError where another is, and OSError."""
    lock = _locked(folder)
    if lock is None:
        raise InsessionError(f"another command works with the same data in {folder.parent}; let one of them run")
    with lock:
        try:
            yield
        finally:
            _lock_file(folder).unlink(missing_ok=True)


def remove_old(directory: Path) -> None:
    """Remove the copies that nobody came back for; raises OSError."""
    for folder in [path for path in directory.iterdir() if path.is_dir()]:
        if time.time() - folder.stat().st_mtime > KEPT_FOR.total_seconds() and (lock := _locked(folder)):
            with lock:
                shutil.rmtree(folder, ignore_errors=True)
                _lock_file(folder).unlink(missing_ok=True)


def _lock_file(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def _locked(folder: Path) -> IO[str] | None:
    """Lock the file of this name, and not one that its owner has just removed; None where it has an owner."""
    path = _lock_file(folder)
    while True:
        lock = path.open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return None
        if path.exists() and os.path.samestat(path.stat(), os.fstat(lock.fileno())):
            return lock
        lock.close()
