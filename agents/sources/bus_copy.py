"""Files of the Bus as files of a folder."""

import errno
import shutil
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Final

from agents.artifact_bus import open_bus
from agents.upkeep.job_progress import JobProgress
from schemas.bus import MemoryUrl, S3Url
from schemas.errors import InsessionError
from schemas.release import TrainingSource

MAX_FILES: Final = 100_000
SPARE_BYTES: Final = 64 << 20


def copy_from_bus(url: S3Url | MemoryUrl, folder: Path, progress: JobProgress) -> TrainingSource:
    """Copy all files below `url` into `folder`, but those that are none of the data (`data_files` says which).

    Raises BusError, InsessionError where nothing is there, and OSError of the disk, before a byte where it is too full.
    """
    read_at = datetime.now(UTC)
    bus = open_bus(str(url))
    sizes_bytes = dict[str, int]()
    for found in bus.find():
        if any(part[0] in "._" for part in PurePosixPath(found.name).parts):
            continue
        sizes_bytes[found.name] = found.size_bytes
        if len(sizes_bytes) > MAX_FILES:
            raise InsessionError(f"{url} holds more than {MAX_FILES} files; name a smaller part of it")
    if not sizes_bytes:
        raise InsessionError(f"{url} holds no file to read; name the folder that holds the data")
    needed, free = sum(sizes_bytes.values()) + SPARE_BYTES, shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(errno.ENOSPC, f"{url} takes {needed} bytes with a reserve, {free} are free")
    progress.begin(str(url), len(sizes_bytes))
    for name, size_bytes in sorted(sizes_bytes.items()):
        bus.download("", {name: size_bytes}, folder)
        progress.advance(1)
    return TrainingSource(url=str(url), read_at=read_at)
