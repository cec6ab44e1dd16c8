import asyncio
import errno
import fcntl
import os
import sys
from pathlib import Path

import pytest

from streams.state.folder_lock import FolderInUseError, locked_folder

HOLD = """
import asyncio, sys
from pathlib import Path
from streams.state.folder_lock import locked_folder
async def hold():
    async with locked_folder(Path(sys.argv[1])):
        print("held", flush=True)
        await asyncio.Event().wait()
asyncio.run(hold())
"""


async def test_a_folder_is_held_by_one_worker_at_a_time(tmp_path: Path) -> None:
    """The second ends with whom the folder belongs to; after the first it is free."""
    folder = tmp_path / "new" / "data"
    async with locked_folder(folder):
        with pytest.raises(FolderInUseError, match=rf"{folder} is in use .*\(process {os.getpid()}\)"):
            async with locked_folder(folder):
                pass
    async with locked_folder(folder):
        pass


async def test_a_killed_worker_holds_nothing(tmp_path: Path) -> None:
    """The operating system lets go of the lock; the file stays."""
    pipe = asyncio.subprocess.PIPE
    holder = await asyncio.create_subprocess_exec(sys.executable, "-c", HOLD, str(tmp_path), stdout=pipe)
    assert holder.stdout is not None
    assert await holder.stdout.readline() == b"held\n"
    with pytest.raises(FolderInUseError, match=f"process {holder.pid}"):
        async with locked_folder(tmp_path):
            pass
    holder.kill()
    await holder.wait()
    async with locked_folder(tmp_path):
        pass


async def test_a_file_system_without_locks_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody holds it; the message says where the folder should be."""

    def refuse(_descriptor: int, _operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(FolderInUseError, match=r"without locks \(No locks available\).* local disk"):
        async with locked_folder(tmp_path):
            pass


async def test_any_other_fault_of_the_file_system_keeps_its_own_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broken disk is not a second worker."""

    def refuse(_descriptor: int, _operation: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(OSError, match="Input/output error"):
        async with locked_folder(tmp_path):
            pass
