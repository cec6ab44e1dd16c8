"""Times as shops write them, to Unix milliseconds."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from email.utils import parsedate_to_datetime
from typing import Any, Final, Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from schemas.events import unix_ms
from schemas.paths import text_of

NamedTimeFormat = Literal["auto", "rfc3339", "unix_s", "unix_ms", "unix_us", "unix_ns"]
TimeFormat = str
"""One of `NamedTimeFormat`, or a pattern of `datetime.strptime`, such as `%d.%m.%Y %H:%M`."""

EARLIEST_TIME_MS: Final = 788_918_400_000
"""1995-01-01: no shop's clickstream is older; earlier times are unit mistakes (seconds read as milliseconds)."""
LATEST_TIME_MS: Final = 253_402_300_799_999
"""The end of the year 9999, the last moment that RFC 3339 can spell; producers set record timestamps, too."""

_PER_MS: Final = {"unix_s": 0.001, "unix_ms": 1, "unix_us": 1_000, "unix_ns": 1_000_000}
_UNITS: Final = ((10**11, "unix_s"), (10**14, "unix_ms"), (10**17, "unix_us"), (10**20, "unix_ns"))
"""Up to which number a time of 1995 to 5138 is in which unit; the ranges of two units never meet."""
_ZONE_NAME: Final = re.compile(r"\[[\w/+-]+\]$")  # java.time's ZonedDateTime: 2026-11-20T10:00:00+01:00[Europe/Berlin]
_DOTNET: Final = re.compile(r"/Date\((-?\d+)(?:[+-]\d{4})?\)/")
_NUMBER: Final = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")
_LOCAL_PARTS: Final = range(3, 8)


class RecordTime(int):
    """A Kafka record's timestamp in Unix milliseconds, whatever the format of the event's own times is."""


class TimeReader:
    """Reads the times of one mapping.

    time_zone: IANA name; of a time that names no offset. Raises ValueError where there is no such format or zone.
    """

    def __init__(self, time_format: TimeFormat = "auto", time_zone: str = "UTC") -> None:
        self._zone: tzinfo = UTC if time_zone == "UTC" else _zone(time_zone)
        self._format = time_format
        if time_format in _PER_MS:
            self._read: Callable[[Any], int] = lambda value: _in_unit(value, time_format)
        elif time_format == "rfc3339":
            self._read = _rfc3339
        elif time_format == "auto":
            self._read = self._any
        elif "%" in time_format:
            self._read = self._pattern
        else:
            raise ValueError(
                f"{time_format!r} is none of {', '.join(get_args(NamedTimeFormat))}, and no pattern like %d.%m.%Y %H:%M"
            )

    def ms(self, value: Any, name: str = "event_time") -> int:
        """Return Unix milliseconds; raises ValueError that names the field where it is no time of this format."""
        if isinstance(value, RecordTime):
            return int(value)
        try:
            if isinstance(value, bool):
                raise ValueError("a boolean")  # noqa: TRY004, TRY301 - one way out for every value
            return self._read(value)
        except (TypeError, ValueError, OverflowError, LookupError) as error:
            raise ValueError(f"{name} {value!r:.200} is no {self._format} time") from error

    def _any(self, value: Any) -> int:
        """Read what needs no telling: the unit of a number follows from its size."""
        match value:
            case int() | float():
                return _by_size(value)
            case str():
                return self._text(value.strip())
            case {"$date": inner}:  # MongoDB Extended JSON
                return self._any(inner)
            case {"$numberLong": inner}:
                return self._any(inner)
            case {"seconds": seconds}:  # Protobuf's Timestamp
                return round(float(seconds) * 1000) + int(value.get("nanos") or 0) // 1_000_000
            case list() if len(value) in _LOCAL_PARTS:  # Jackson's LocalDateTime: year, month, day, ..., nanoseconds
                year, month, day, hour, minute, second, nanos = map(int, [*value, 0, 0, 0, 0][:7])
                return self._local(datetime(year, month, day, hour, minute, second, nanos // 1000))  # noqa: DTZ001
        raise ValueError("another type")

    def _text(self, text: str) -> int:
        if _NUMBER.fullmatch(text):
            return _by_size(_number(text))
        if dotnet := _DOTNET.fullmatch(text):
            return int(dotnet[1])
        plain = _ZONE_NAME.sub("", text)
        for name in (" UTC", " GMT", " Z"):
            if plain.endswith(name) and plain[0].isdecimal():
                plain = f"{plain.removesuffix(name)}+00:00"
        try:
            return self._local(datetime.fromisoformat(plain))
        except ValueError:
            return self._local(parsedate_to_datetime(text))  # RFC 5322: Fri, 20 Nov 2026 10:00:00 GMT

    def _pattern(self, value: Any) -> int:
        text = text_of(value)
        if text is None:
            raise ValueError("another type")
        return self._local(datetime.strptime(text.strip(), self._format))  # noqa: DTZ007 - `_local` gives it its zone

    def _local(self, moment: datetime) -> int:
        return unix_ms(moment if moment.tzinfo is not None else moment.replace(tzinfo=self._zone))


def _rfc3339(value: Any) -> int:
    """Read what our own records hold: text with an offset, or an integer in Unix milliseconds."""
    if isinstance(value, int):
        return value
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError("no offset")
    return unix_ms(moment)


def _in_unit(value: Any, unit: str) -> int:
    number = value if isinstance(value, int) else _number(value)
    if unit == "unix_s":
        return round(number * 1000)
    return int(number // _PER_MS[unit])


def _number(value: Any) -> float:
    """Read a number, a whole one without a float in between: nanoseconds have more digits than that holds."""
    return int(value) if isinstance(value, str) and value.strip().lstrip("+-").isdecimal() else float(value)


def _by_size(number: float) -> int:
    for least_beyond, unit in _UNITS:
        if abs(number) < least_beyond:
            return _in_unit(number, unit)
    raise ValueError("a number beyond every unit")


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{name!r} is no time zone of the IANA database, like Europe/Amsterdam") from error
