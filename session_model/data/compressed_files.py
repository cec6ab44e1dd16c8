"""Files as they lie there, plain or compressed; what tells them apart is their first bytes, never their name."""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path
from typing import Final

from schemas.errors import InsessionError, UsageError

_DAMAGED: tuple[type[Exception], ...] = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)
try:
    from backports.zstd import ZstdError, ZstdFile
except ModuleNotFoundError:  # a bare worker: it reads no data files
    _HAS_ZSTD = False
else:
    _HAS_ZSTD = True
    _DAMAGED += (ZstdError,)

SUFFIXES: Final = ("", ".gz", ".zst", ".bz2", ".xz")
"""What a published file's name may end with, the plain file first."""
HEAD_BYTES: Final = 512


def first_bytes(path: Path) -> bytes:
    """Return up to `HEAD_BYTES` of the file as it lies there; raises OSError."""
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)


def compression_of(head: bytes) -> str | None:
    """Return the compression that a file with these first bytes has; None: it is plain, or has one that is not read."""
    if head.startswith(b"\x1f\x8b"):
        return "gzip"
    if head.startswith(b"BZh") and head[4:10] == b"1AY&SY":
        return "bzip2"
    if head.startswith(b"\xfd7zXZ\x00"):
        return "xz"
    return "zstd" if head.startswith(b"\x28\xb5\x2f\xfd") else None


@contextmanager
def opened(path: Path) -> Iterator[BufferedIOBase]:
    """Open a file for reading what was compressed.

    Raises UsageError where the path is no readable file, and InsessionError where its compressed data is damaged.
    """
    compression = None
    try:
        compression = compression_of(first_bytes(path))
        with path.open("rb") if compression is None else _OPENERS[compression](path) as stream:
            yield stream
    except _DAMAGED as error:
        raise InsessionError(f"{path}: the {compression} data is damaged ({error}); copy the file again") from error
    except OSError as error:
        if error.errno is None:  # bzip2 says so that the data is damaged
            raise InsessionError(f"{path}: the {compression} data is damaged ({error}); copy the file again") from error
        raise UsageError(f"{path} cannot be read: {error.strerror}; name a readable file") from error


def _open_zstd(path: Path) -> BufferedIOBase:
    if not _HAS_ZSTD:
        raise UsageError(f"{path} is zstd: install insession[model], or unpack it with `unzstd`")
    return ZstdFile(path)


_OPENERS: dict[str, Callable[[Path], BufferedIOBase]] = {
    "gzip": gzip.GzipFile,
    "bzip2": bz2.BZ2File,
    "xz": lzma.LZMAFile,
    "zstd": _open_zstd,
}
