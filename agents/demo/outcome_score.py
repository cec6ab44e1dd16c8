"""The live hit rate and MRR of the next click, from the outcomes topic alone."""

from dataclasses import dataclass

from schemas.records import RecommendationOutcome


@dataclass(frozen=True, slots=True)
class LiveRates:
    """Of the clicks after an answer: share and mean reciprocal rank of those it held; None without a click."""

    hit_rate: float | None
    mrr: float | None
    clicks: int


class OutcomeScore:
    """Sums up outcomes, each id once."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._clicks = 0
        self._hits = 0
        self._reciprocal_ranks = 0.0

    def add(self, outcome: RecommendationOutcome) -> None:
        """Take in an outcome."""
        if outcome.id in self._seen:
            return
        self._seen.add(outcome.id)
        if outcome.action == "click":
            self._clicks += 1
            if outcome.position is not None:
                self._hits += 1
                self._reciprocal_ranks += 1 / outcome.position

    def rates(self) -> LiveRates:
        """Return the rates so far."""
        if not self._clicks:
            return LiveRates(None, None, 0)
        return LiveRates(self._hits / self._clicks, self._reciprocal_ranks / self._clicks, self._clicks)
