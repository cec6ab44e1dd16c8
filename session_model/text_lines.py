"""Lines of a text file, plain or gzipped, and the account of those that could not be used."""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

import structlog

from schemas.errors import InsessionError, UsageError

MAX_LINE_BYTES = 1 << 20
GZIP_MAGIC = b"\x1f\x8b"
DEFAULT_MALFORMED_SHARE = 0.01
TOLERATED_MALFORMED = 10
SHOWN_MALFORMED = 5

log = structlog.get_logger(__name__)


class MalformedLines:
    """Counts the lines of one file that were left out, and says when there are too many.

    Up to `TOLERATED_MALFORMED` lines pass in any file, beyond that `max_share` of its lines.
    """

    def __init__(self, path: Path, max_share: float = DEFAULT_MALFORMED_SHARE) -> None:
        self.path = path
        self.max_share = max_share
        self.count = 0
        self.last_line = 0
        self._first = ""

    def add(self, line_number: int, reason: str) -> None:
        """Book a line; the first few are logged with file and line."""
        self.count += 1
        self._first = self._first or f"line {line_number}: {reason}"
        if self.count <= SHOWN_MALFORMED:
            log.warning("malformed_line", file=str(self.path), line=line_number, reason=reason)

    def settle(self, usable: int) -> None:
        """Raise InsessionError where too many lines were malformed or none of the file was `usable`."""
        if self.count > TOLERATED_MALFORMED and self.count > self.max_share * self.last_line:
            raise InsessionError(
                f"{self.path}: {self.count} of {self.last_line} lines are malformed (first: {self._first}); "
                "check the file and its --format"
            )
        if usable == 0:
            raise InsessionError(f"{self.path} holds no usable line{f' ({self._first})' if self._first else ''}")
        if self.count:
            log.warning("malformed_lines", file=str(self.path), malformed=self.count, lines=self.last_line)


def read_lines(malformed: MalformedLines) -> Iterator[tuple[int, str]]:
    """Give number (from 1) and text of each line that is not blank; UTF-8, gzip found by its first bytes.

    A line longer than `MAX_LINE_BYTES` or not UTF-8 is booked as malformed. Raises UsageError where the path is no
    readable file and InsessionError where its gzip data is damaged.
    """
    path = malformed.path
    try:
        with _open(path) as stream:
            for number, raw in enumerate(_bounded_lines(stream), start=1):
                malformed.last_line = number
                if len(raw) > MAX_LINE_BYTES:
                    malformed.add(number, f"longer than {MAX_LINE_BYTES} bytes")
                    continue
                try:
                    text = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
                except UnicodeDecodeError:
                    malformed.add(number, "not UTF-8 text")
                    continue
                if text.strip():
                    yield number, text
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InsessionError(f"{path}: the gzip data is damaged ({error}); copy the file again") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}; name a readable file") from error


def _open(path: Path) -> IO[bytes]:
    with path.open("rb") as probe:
        compressed = probe.read(2) == GZIP_MAGIC
    return cast("IO[bytes]", gzip.open(path, "rb")) if compressed else path.open("rb")


def _bounded_lines(stream: IO[bytes]) -> Iterator[bytes]:
    """Split into lines without ever holding more than the bound; the tail of a longer line is skipped."""
    while line := stream.readline(MAX_LINE_BYTES + 1):
        yield line
        while len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
            line = stream.readline(MAX_LINE_BYTES + 1)
            if not line:
                return
