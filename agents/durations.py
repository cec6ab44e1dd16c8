"""Durations as people write them: 500ms, 90s, 30m, 1h30m, 7d."""

import re
from datetime import timedelta
from typing import Any, Final

import click

_UNITS: Final = {
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}
_AMOUNT: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|[dhms])")
_DURATION: Final = re.compile(rf"(?:{_AMOUNT.pattern})+")


def read_duration(text: str) -> timedelta | None:
    """Read amounts with units; None where `text` is none of that, or beyond all bounds."""
    if not _DURATION.fullmatch(text):
        return None
    try:
        return sum((float(amount) * _UNITS[unit] for amount, unit in _AMOUNT.findall(text)), timedelta(0))
    except OverflowError:
        return None


def duration_text(duration: timedelta) -> str:
    """Write a duration in the largest unit that needs no fraction: 90s, 30m, 12h."""
    for unit, length in _UNITS.items():
        if duration and duration % length == timedelta(0):
            return f"{duration // length}{unit}"
    return f"{duration / _UNITS['ms']:g}ms" if duration else "0s"


class DurationType(click.ParamType):
    """An option's duration, above 0: with units, or a number of seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Read it; a wrong one is wrong usage."""
        if isinstance(value, timedelta):
            return value
        duration = read_duration(f"{value}s" if re.fullmatch(r"\d+(\.\d+)?", value) else value)
        if not duration:
            self.fail(f"{value!r} is no duration above 0, like 90s, 40m or 1h30m.", param, ctx)
        return duration
