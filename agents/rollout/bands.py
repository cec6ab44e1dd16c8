"""When a release does worse than the one before by more than a band, and more than chance explains."""

import math
from dataclasses import dataclass
from datetime import timedelta

from agents.objectives import OBJECTIVES
from agents.rollout.figures import Figures


@dataclass(frozen=True, slots=True, kw_only=True)
class Bands:
    """What is borne of a release that is new to its visitors.

    window: of the time looked at. settle: after a change, until all workers follow it; nothing counts meanwhile.
    watched: after a promotion the champion is held against the one before for so long.
    fallbacks: more of the answers by lower tiers, of all. hits: fewer of the clicks on an item of the answer, as a
    share of the other's. delay: p99 from event to answer, times the other's; only where it is `delay_more` longer, too.
    An objective bears as much more of the answers that miss it as it allows of all.
    sigmas: how sure it must be that a share differs by more than its band (difference of two proportions).
    least: answers, or clicks, without which nothing is said.
    """

    window: timedelta = timedelta(minutes=5)
    settle: timedelta = timedelta(seconds=15)
    watched: timedelta = timedelta(hours=1)
    fallbacks: float = 0.05
    hits: float = 0.2
    delay: float = 2.0
    delay_more: timedelta = timedelta(milliseconds=100)
    sigmas: float = 3.0
    least: int = 50

    def breach(self, new: Figures, other: Figures) -> str | None:
        """Return in words what of `new` is out of its band against `other`; None where nothing is known to be."""
        if min(new.answers, other.answers) >= self.least:
            more = _difference(new.fallbacks, new.answers, other.fallbacks, other.answers)
            if more.surely(self.sigmas) > self.fallbacks:
                return (
                    f"{new.fallbacks} of {new.answers} answers are by a lower tier, the other's {other.fallbacks} of "
                    f"{other.answers}: more than the {self.fallbacks:.0%} that are borne"
                )
        late = self._missed(new, other) or self._delay(new, other)
        if late is not None:
            return late
        if min(new.clicks, other.clicks) >= self.least:
            fewer = _difference(other.hits, other.clicks, new.hits, new.clicks)
            borne = self.hits * other.hits / other.clicks
            if fewer.surely(self.sigmas) > borne:
                return (
                    f"{new.hits} of {new.clicks} clicks are on an item of the answer, the other's {other.hits} of "
                    f"{other.clicks}: a loss of more than the {self.hits:.0%} that are borne"
                )
        return None

    def _missed(self, new: Figures, other: Figures) -> str | None:
        """Hold both against the objectives; what both miss is not the release's."""
        for objective in OBJECTIVES:
            ours, theirs = new.missed(objective), other.missed(objective)
            if min(ours.of, theirs.of) < self.least:
                continue
            if _difference(*ours, *theirs).surely(self.sigmas) > objective.budget:
                return (
                    f"{ours.missed} of {ours.of} answers miss the objective {objective.name}, the other's "
                    f"{theirs.missed} of {theirs.of}: more than the {objective.budget:.1%} that it allows"
                )
        return None

    def _delay(self, new: Figures, other: Figures) -> str | None:
        ours, theirs = new.delay_ms(0.99), other.delay_ms(0.99)
        if ours is None or theirs is None or min(new.delays.total(), other.delays.total()) < 2 * self.least:
            return None
        if ours > self.delay * theirs and ours - theirs > self.delay_more / timedelta(milliseconds=1):
            return f"99 % of the answers come within {ours:.0f} ms, the other's within {theirs:.0f} ms"
        return None


@dataclass(frozen=True, slots=True)
class _Difference:
    """Of two proportions, with its standard error."""

    mean: float
    error: float

    def surely(self, sigmas: float) -> float:
        return self.mean - sigmas * self.error


def _difference(count: int, of: int, other_count: int, other_of: int) -> _Difference:
    """As Agresti and Caffo (2000): one success and one failure are added to each, so that none is sure of itself."""
    one, two = (count + 1) / (of + 2), (other_count + 1) / (other_of + 2)
    return _Difference(one - two, math.sqrt(one * (1 - one) / (of + 2) + two * (1 - two) / (other_of + 2)))
