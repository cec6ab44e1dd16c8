"""The option type for a number between bounds."""

import math
from typing import Any

import click


class NumberRange(click.FloatRange):
    """As click's own, which finds `nan` within every range: it is neither below nor above a bound."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it; what is no finite number is wrong usage."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is no number that can be counted with", param, ctx)
        return number
