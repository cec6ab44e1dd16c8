"""What answers are worth while they are given, by who gave them: counted in slices of time, without a list.

Pure: times are those of the records.
"""

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Literal, NamedTuple, Self

from agents.objectives import MODEL_SHARE, OBJECTIVES, Objective

Part = Literal["champion", "candidate"]
SLICE_MS: Final = 5_000
_STEPS_A_DOUBLING: Final = 8
"""A delay is known to about 9 %."""


class Missed(NamedTuple):
    """How many answers miss an objective, of those that it is about."""

    missed: int
    of: int


@dataclass(slots=True)
class Figures:
    """What happened in some time.

    answers: given to shoppers whom a model is asked for. fallbacks: of these, by a lower tier. owed: of these, what
    counts for the model's share. misses: answers by the objective that they miss. clicks: that followed an answer.
    hits: of these, on an item in it. delays: answers by the step of their delay, from event to record.
    """

    answers: int = 0
    fallbacks: int = 0
    owed: int = 0
    misses: Counter[str] = field(default_factory=Counter)
    clicks: int = 0
    hits: int = 0
    delays: Counter[int] = field(default_factory=Counter)

    def add(self, other: Self) -> None:
        """Take in what happened at another time."""
        self.answers += other.answers
        self.fallbacks += other.fallbacks
        self.owed += other.owed
        self.misses.update(other.misses)
        self.clicks += other.clicks
        self.hits += other.hits
        self.delays.update(other.delays)

    def missed(self, objective: Objective) -> Missed:
        """Return the answers that miss an objective, as far as records tell what its rules in Prometheus count."""
        return Missed(self.misses[objective.name], self.owed if objective == MODEL_SHARE else self.delays.total())

    def delay_ms(self, share: float) -> float | None:
        """Return the delay within which a share of the answers came; None where no delay is known."""
        wanted, seen = share * self.delays.total(), 0
        for step in sorted(self.delays):
            seen += self.delays[step]
            if seen >= wanted:
                return float(2 ** (step / _STEPS_A_DOUBLING))
        return None


class LiveFigures:
    """Counts by slices of time; those older than `kept_ms` are forgotten."""

    def __init__(self, kept_ms: int) -> None:
        self._kept_ms = kept_ms
        self._slices: defaultdict[int, defaultdict[Part, Figures]] = defaultdict(lambda: defaultdict(Figures))

    def answer(
        self, time_ms: int, part: Part, *, is_fallback: bool, delay_ms: int | None, is_owed: bool = True
    ) -> None:
        """Count an answer; delay_ms: None = it tells nothing. is_owed: the model should have given it."""
        figures = self._at(time_ms, part)
        figures.answers += 1
        figures.fallbacks += is_fallback
        figures.owed += is_owed
        figures.misses[MODEL_SHARE.name] += is_owed and is_fallback
        if delay_ms is not None:
            figures.delays[round(_STEPS_A_DOUBLING * math.log2(max(1, delay_ms)))] += 1
            for objective in OBJECTIVES:
                if objective.within is not None:
                    figures.misses[objective.name] += delay_ms > objective.within / timedelta(milliseconds=1)

    def click(self, time_ms: int, part: Part, *, is_hit: bool) -> None:
        """Count a click after an answer."""
        figures = self._at(time_ms, part)
        figures.clicks += 1
        figures.hits += is_hit

    def between(self, part: Part, begin_ms: int, end_ms: int) -> Figures:
        """Sum up what happened from a moment to another, to the slice."""
        total = Figures()
        for number, parts in self._slices.items():
            if begin_ms <= number * SLICE_MS and (number + 1) * SLICE_MS <= end_ms and part in parts:
                total.add(parts[part])
        return total

    def clear(self) -> None:
        """Forget all."""
        self._slices.clear()

    def _at(self, time_ms: int, part: Part) -> Figures:
        number = time_ms // SLICE_MS
        if number not in self._slices:
            oldest = number - self._kept_ms // SLICE_MS
            for old in [known for known in self._slices if known < oldest]:
                del self._slices[old]
        return self._slices[number][part]
