"""Lines of a text file, plain or compressed, and the account of those that could not be used."""

from collections import Counter
from collections.abc import Iterator
from io import BufferedIOBase
from pathlib import Path

import structlog

from schemas.errors import InsessionError
from session_model.data.compressed_files import opened
from session_model.data.forms import Form, seen_form

MAX_LINE_BYTES = 1 << 20
DEFAULT_MALFORMED_SHARE = 0.01
TOLERATED_MALFORMED = 10
SHOWN_MALFORMED = 5
MAX_IGNORED_KINDS = 100
SHOWN_IGNORED_KINDS = 5

log = structlog.get_logger(__name__)


class MalformedLines:
    """Counts the lines of one file that were left out, and says when there are too many.

    Up to `TOLERATED_MALFORMED` lines pass in any file, beyond that `max_share` of its lines. What is no interaction,
    such as a page view, is counted by kind and never too much; so are fields that were `repaired`. Where a file is
    refused, the form that was seen in it is named, unless that is the `data_format` by which it was read.
    """

    def __init__(self, path: Path, max_share: float = DEFAULT_MALFORMED_SHARE, data_format: str | None = None) -> None:
        self.path = path
        self.max_share = max_share
        self.data_format = data_format
        self.count = 0
        self.last_line = 0
        self.ignored: Counter[str] = Counter()
        self.repaired: Counter[str] = Counter()
        self._first = ""

    def add(self, line_number: int, reason: str) -> None:
        """Book a line; the first few are logged with file and line."""
        self.count += 1
        self._first = self._first or f"line {line_number}: {reason}"
        if self.count <= SHOWN_MALFORMED:
            log.warning("malformed_line", file=str(self.path), line=line_number, reason=reason)

    def ignore(self, kind: str) -> None:
        """Book an event that is none of ours; `kind` is what the file calls it."""
        known = kind in self.ignored or len(self.ignored) < MAX_IGNORED_KINDS
        self.ignored[kind if known else "others"] += 1

    def settle(self) -> None:
        """Log what was left out; raises InsessionError where too many lines were malformed."""
        if self.count > TOLERATED_MALFORMED and self.count > self.max_share * self.last_line:
            raise InsessionError(
                f"{self.path}: {self.count} of {self.last_line} lines are malformed (first: {self._first}); "
                f"{self._form() or 'check the file and its --format'}"
            )
        if self.count:
            log.warning("malformed_lines", file=str(self.path), malformed=self.count, lines=self.last_line)
        if self.ignored:
            kinds = dict(self.ignored.most_common())
            log.warning("events_ignored", file=str(self.path), ignored=self.ignored.total(), kinds=kinds)
        if self.repaired:
            kinds = dict(self.repaired.most_common())
            log.info("fields_repaired", file=str(self.path), repaired=self.repaired.total(), kinds=kinds)

    def need(self, usable: int) -> None:
        """Raise InsessionError where none of the file was `usable`."""
        if usable:
            return
        why = [self._first] if self._first else []
        if self.ignored:
            shown = ", ".join(f"{kind} {n:,}" for kind, n in self.ignored.most_common(SHOWN_IGNORED_KINDS))
            why.append(f"no interactions of a shop: {shown}")
        form, reasons = self._form(), f" ({'; '.join(why)})" if why else ""
        raise InsessionError(f"{self.path} holds no usable line{reasons}{f'; {form}' if form else ''}")

    def _form(self) -> Form | None:
        form = None if self.data_format is None else seen_form(self.path)
        return None if form is None or form.data_format == self.data_format else form


def read_lines(malformed: MalformedLines) -> Iterator[tuple[int, str]]:
    """Return number (from 1) and text of each line that is not blank; UTF-8, compression found by the first bytes.

    A line longer than `MAX_LINE_BYTES` or not UTF-8 is booked as malformed. Raises as `compressed_files.opened`.
    """
    with opened(malformed.path) as stream:
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


def _bounded_lines(stream: BufferedIOBase) -> Iterator[bytes]:
    """Split into lines without ever holding more than the bound; the tail of a longer line is skipped."""
    while line := stream.readline(MAX_LINE_BYTES + 1):
        yield line
        while len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
            line = stream.readline(MAX_LINE_BYTES + 1)
            if not line:
                return
