"""The times of a file's events: numbers in the unit that their size tells, texts in ISO 8601, inside the live bounds.

From 1995 to 2100 the numbers of seconds, milliseconds, microseconds and nanoseconds have no size in common.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import structlog

from schemas.events import unix_ms
from schemas.times import EARLIEST_TIME_MS, TimeReader

TimeUnit = Literal["s", "ms", "us", "ns"]
LATEST_TIME_MS: Final = 4_102_444_800_000
"""2100-01-01: a log holds what has happened, so the live bound, from the record's timestamp on, cannot be asked."""

_PER_MS: Final[dict[TimeUnit, float]] = {"s": 0.001, "ms": 1, "us": 1_000, "ns": 1_000_000}
_DATE_LENGTH: Final = len("20991231")

_READER: Final = TimeReader()

log = structlog.get_logger(__name__)


class EventClock:
    """Reads the times of one file.

    Numbers in another unit than the format's `expected` are read, and that is said once a file. None: the format leaves
    the unit open.
    """

    def __init__(self, file: Path, expected: TimeUnit | None) -> None:
        self._file = file
        self._expected = expected
        self._reported: set[TimeUnit] = set()

    def ms(self, value: str | float | datetime) -> int:
        """Return Unix milliseconds; raises ValueError where it is no time between 1995 and 2100.

        value: a number, its text, or a date or time as text, UTC where it names no zone (schemas.times).
        """
        if isinstance(value, datetime):
            return in_bounds(unix_ms(value if value.tzinfo else value.replace(tzinfo=UTC)), value)
        text = value.strip() if isinstance(value, str) else ""
        number = _number(text) if isinstance(value, str) else value
        if number is None or len(text) == _DATE_LENGTH:
            return in_bounds(_of_text(text), value)
        unit = unit_of(number)
        if unit is None:
            raise ValueError(f"{value!r} is no time between 1995 and 2100 in s, ms, us or ns since 1970")
        if unit != self._expected and self._expected is not None and unit not in self._reported:
            self._reported.add(unit)
            log.warning("times_in_another_unit", file=str(self._file), found=unit, documented=self._expected)
        return _READER.ms(number)


def unit_of(number: float) -> TimeUnit | None:
    """Return the unit in which `number` is a moment between 1995 and 2100; None where there is none."""
    for unit, per_ms in _PER_MS.items():
        if EARLIEST_TIME_MS * per_ms <= number < LATEST_TIME_MS * per_ms:
            return unit
    return None


def in_bounds(time_ms: int, value: object) -> int:
    """Return `time_ms` back; raises ValueError, naming `value`, where it is not between 1995 and 2100."""
    if not EARLIEST_TIME_MS <= time_ms < LATEST_TIME_MS:
        raise ValueError(f"{value!r} is no time between 1995 and 2100")
    return time_ms


def _of_text(text: str) -> int:
    try:
        if len(text) == _DATE_LENGTH and text.isdecimal():
            return unix_ms(datetime.fromisoformat(text).replace(tzinfo=UTC))
        return _READER.ms(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no time in ISO 8601 or since 1970") from error


def _number(text: str) -> float | None:
    try:
        return int(text) if text.isdecimal() else float(text)
    except ValueError:
        return None
