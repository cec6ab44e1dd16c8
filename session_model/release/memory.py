"""What the parts of a release would take in memory, told from their headers before anything is unpacked.

A file of 3 MB may unpack to 3 GB, and a header may claim terabytes; a checksum says nothing about either.
"""

import math
import struct
from collections.abc import Collection
from pathlib import Path
from typing import IO, Final
from zipfile import BadZipFile, ZipFile

import numpy as np

from schemas.release_folder import ReleaseError

DEFAULT_MAX_MEMORY_BYTES: Final = 512 << 20
JSON_FACTOR: Final = 10
"""Memory of parsed JSON over its size: a short text in a list takes about 60 bytes."""
_MAX_DIRECTORY_BYTES: Final = 1 << 16
_END_OF_DIRECTORY: Final = struct.Struct("<4s4H2LH")
"""End of central directory record: PKWARE APPNOTE.TXT, 4.3.16."""
_ZIP64_LOCATOR_BYTES: Final = 20


def check_memory(folder: Path, max_memory_bytes: int, *, mapped: Collection[str], apart: str) -> None:
    """Raise ReleaseError where an array's header and its size disagree, or the parts in `folder` need too much memory.

    mapped: arrays, and folders of arrays, that take none, since they are mapped. apart: file that is not read with the
    others.
    """
    needed = 0
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        try:
            size = _memory_bytes(path)
        except (BadZipFile, EOFError, ValueError, KeyError, NotImplementedError, struct.error) as error:
            raise ReleaseError(f"release file {path.name} cannot be read ({error}); copy the release again") from error
        is_mapped = path.suffix == ".npy" and (name in mapped or name.partition("/")[0] in mapped)
        if name != apart and not is_mapped:
            needed += size
        if needed > max_memory_bytes:
            raise ReleaseError(
                f"release file {name}: with it the parts would take {needed} bytes of memory, and "
                f"serving.release_max_memory_bytes allows {max_memory_bytes}; raise it if the release is yours"
            )


def _memory_bytes(path: Path) -> int:
    if path.suffix == ".json":
        return path.stat().st_size * JSON_FACTOR
    if path.suffix == ".npy":
        with path.open("rb") as file:
            return _array_bytes(file, path.stat().st_size)
    if path.suffix != ".npz":
        return 0
    with path.open("rb") as file:
        _check_directory_size(file, path.stat().st_size)
        with ZipFile(file) as archive:
            for member in archive.infolist():
                with archive.open(member) as array:
                    _array_bytes(array, member.file_size)
            return sum(member.file_size for member in archive.infolist())


def _array_bytes(file: IO[bytes], size: int) -> int:
    """Return the array's bytes by its header, which must fill the file; raises ValueError."""
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    version = np.lib.format.read_magic(file)
    if version not in readers:
        raise ValueError(f"arrays of the format {version} are not read")
    shape, _, dtype = readers[version](file)
    claimed = math.prod(shape) * dtype.itemsize
    if dtype.hasobject or file.tell() + claimed != size:
        raise ValueError(f"its header claims {shape} of {dtype}, which is not what the file holds")
    return claimed


def _check_directory_size(file: IO[bytes], size: int) -> None:
    """Refuse an archive of which the list of members alone would be large; numpy writes neither Zip64 nor comments."""
    tail_bytes = _ZIP64_LOCATOR_BYTES + _END_OF_DIRECTORY.size
    file.seek(max(0, size - tail_bytes))
    tail = file.read(tail_bytes)
    signature, *_, directory_bytes, _, comment_bytes = _END_OF_DIRECTORY.unpack(tail[-_END_OF_DIRECTORY.size :])
    is_plain = signature == b"PK\x05\x06" and not comment_bytes and not tail.startswith(b"PK\x06\x07")
    if not is_plain or directory_bytes > _MAX_DIRECTORY_BYTES:
        raise BadZipFile("it is no archive as numpy writes it")
