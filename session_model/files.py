"""Files that are there as a whole or not at all, whatever ends the process, and what tells two of them apart."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, hex, in constant memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Let `write` fill a file beside `path`, see it onto the disk, and give it its name."""
    beside = path.with_name(f".tmp-{path.name}")
    with beside.open("wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
