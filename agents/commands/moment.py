"""The option type for a moment in the past: a span back from now, or a date and time."""

import time
from datetime import UTC, datetime, timedelta

import click

from agents.durations import read_duration


class Moment(click.ParamType):
    """`90s`, `1h30m`, `7d` back from now, or RFC 3339 (UTC where no offset is given); gives Unix milliseconds."""

    name = "moment"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read the moment; Kafka has other uses for negative timestamps, so what is before 1970 is 1970."""
        text = str(value)
        span = read_duration(text)
        if span is not None:
            return max(0, int(time.time() * 1000) - span // timedelta(milliseconds=1))
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            self.fail(f"{text!r} is neither a span like 30m, 2h or 7d nor a time like 2026-01-31T12:00Z", param, ctx)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
        return max(0, int(moment.timestamp() * 1000))
