"""The option type for a day."""

from datetime import date

import click


class DayType(click.ParamType):
    """A day of UTC, as 2026-01-31."""

    name = "day"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> date:
        """Read it; a wrong one is wrong usage."""
        if isinstance(value, date):
            return value
        try:
            return date.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{str(value)!r} is no day, like 2026-01-31", param, ctx)
