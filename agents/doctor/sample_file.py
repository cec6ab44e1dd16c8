"""A sample from a file: a record a line, as JSON or as a console consumer printed it, plain or packed."""

import gzip
import time
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec

from schemas.errors import InsessionError
from schemas.state import InputPosition
from streams.records import InputRecord

_GZIP: Final = b"\x1f\x8b"
_MAX_LINE_BYTES: Final = 1 << 20
_OF_A_RECORD: Final = frozenset(
    {"key", "value", "value_b64", "payload", "topic", "partition", "offset", "tstype", "ts"}
)
_encode = msgspec.json.encode


def sampled(file: Path, at_most: int) -> list[InputRecord]:
    """Read the first records of a file; raises InsessionError where it cannot be read.

    A line of `key` and `value` (or `value_b64`, or `payload` as `kcat -J` writes it) is a record with its key; any
    other is a value, whose key is unknown: None. Each counts as written now.
    """
    now_ms = time.time_ns() // 1_000_000
    try:
        lines = islice((line for line in _lines(file) if line.strip()), at_most)
        return [_record(line, file.name, number, now_ms) for number, line in enumerate(lines)]
    except (OSError, EOFError) as error:
        raise InsessionError(f"{file} cannot be read: {error}") from error


def _lines(file: Path) -> Iterator[bytes]:
    with file.open("rb") as raw:
        is_packed = raw.read(len(_GZIP)) == _GZIP
        raw.seek(0)
        with gzip.open(raw) if is_packed else raw as content:
            while line := content.readline(_MAX_LINE_BYTES):
                yield line.rstrip(b"\r\n")


def _record(line: bytes, name: str, number: int, now_ms: int) -> InputRecord:
    position = InputPosition(name, 0, number)
    try:
        found = msgspec.json.decode(line)
    except (ValueError, RecursionError):
        found = None
    is_record = isinstance(found, dict) and "key" in found and found.keys() <= _OF_A_RECORD
    if not is_record or found.keys().isdisjoint({"value", "value_b64", "payload"}):
        return InputRecord(position, None, line, now_ms)
    try:
        value = b64decode(found["value_b64"]) if "value_b64" in found else found.get("value", found.get("payload"))
    except (Base64Error, ValueError, TypeError):
        return InputRecord(position, None, line, now_ms)
    return InputRecord(position, _bytes(found["key"]), _bytes(value), now_ms)


def _bytes(value: Any) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    return value.encode(errors="replace") if isinstance(value, str) else _encode(value)
