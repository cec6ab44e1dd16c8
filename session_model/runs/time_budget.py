"""How the time of a training is parted: the choice of recipes, the search for kNN settings, the final training."""

from dataclasses import dataclass

CHOICE_SHARE = 0.5
"""Of the time; recipes are tried so long."""
BLEND_SHARE = 0.06
"""Of the time, for the choice of the blend, between search and final training."""
CLOSING_SHARE = 0.08
"""Of the time, for the export and what no measurement foresees."""
MIN_SEARCH_SHARE = 0.08
"""Of the time: a search that would be shorter is given what the final training leaves anyway."""


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
        return self.started + (1 - CLOSING_SHARE) * self.seconds

    def search_deadline(self, now: float, final_seconds: float) -> float:
        """When the search should end; blend and final training come after it.

        Where the final training does not fit behind even a short search, it is left out.
        """
        end = self.started + (1 - CLOSING_SHARE - BLEND_SHARE) * self.seconds
        shortest = now + MIN_SEARCH_SHARE * self.seconds
        return end - final_seconds if end - final_seconds >= shortest else end
