"""How the time of a training is parted: the choice of recipes, the search for kNN settings, the final training."""

from dataclasses import dataclass

CHOICE_SHARE = 0.5
"""Of the time; recipes are tried so long."""
ROUNDING_UP = 0.08
"""Of the time, for the blend, the export and what no measurement foresees."""


@dataclass(frozen=True, slots=True)
class TimeBudget:
    """Seconds from `started` on, which is read off the clock that the deadlines are held against.

    seconds: infinite where there is no bound.
    """

    started: float
    seconds: float

    @property
    def choice_deadline(self) -> float:
        """When the last recipe should be tried."""
        return self.started + CHOICE_SHARE * self.seconds

    @property
    def end(self) -> float:
        """When the final training should be over."""
        return self.started + (1 - ROUNDING_UP) * self.seconds

    def search_deadline(self, now: float, final_seconds: float) -> float:
        """When the search should end; the final training comes after it, unless even a short search rules it out."""
        shortest = now + ROUNDING_UP * self.seconds
        latest = self.end - final_seconds
        return latest if latest >= shortest else self.end
