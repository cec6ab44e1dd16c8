"""The option type for a moment in the past: a span back from now, or a date and time."""

import re
import time
from datetime import UTC, datetime
from typing import Final

import click

_SPAN: Final = re.compile(r"(\d{1,6})([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Moment(click.ParamType):
    """`90s`, `30m`, `2h`, `7d` back from now, or RFC 3339 (UTC where no offset is given); gives Unix milliseconds."""

    name = "moment"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read the moment."""
        text = str(value)
        if span := _SPAN.fullmatch(text):
            return int((time.time() - int(span[1]) * _SECONDS[span[2]]) * 1000)
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            self.fail(f"{text!r} is neither a span like 30m, 2h or 7d nor a time like 2026-01-31T12:00Z", param, ctx)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
        return int(moment.timestamp() * 1000)
