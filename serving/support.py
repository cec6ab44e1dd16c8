"""Which names enough different visitors use, where nobody vouches for them; bounded, deterministic."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from serving.decayed_counts import DecayedCounts

FOUNDING_VISITORS: Final = 100
"""What these, the first of a shop that has no list yet, use is taken as it is: a list has to begin somewhere."""
MIN_VISITORS: Final = 20
MIN_SHARE: Final = 0.01
"""Of the visitors of this period and the one before: a few ids never get there by patience alone."""
MIN_SPAN_MS: Final = 10 * 60_000
"""From the first of a name's visitors to one of now: a crowd that comes at once is one stranger with many ids."""


def period_ms(half_life_ms: float) -> float:
    """Return how long a visitor counts once for a name: a half-life, but long enough for `MIN_SPAN_MS`."""
    return max(half_life_ms, 2 * MIN_SPAN_MS)


@dataclass(slots=True)
class _Candidate:
    period: int
    first_ms: int
    visitors: int = 0


class Support:
    """Counts different visitors by name; at most twice `max_names` are kept, those with the most.

    Whoever calls counts a visitor once a name and `period_ms`.
    """

    def __init__(self, half_life_ms: float, max_names: int) -> None:
        self._max_names = max_names
        self._period_ms = period_ms(half_life_ms)
        self._seen_visitors = 0
        self._is_founded = False
        self._period = 0
        self._visitors_now = 0
        self._visitors_before = 0
        self._weights = DecayedCounts(half_life_ms, max_names)
        self._admitted = set[str]()
        self._founding = set[str]()
        self._candidates: dict[str, _Candidate] = {}

    @property
    def is_settled(self) -> bool:
        """Return whether so many visitors came since the start that what none of them used may go."""
        return self._seen_visitors >= FOUNDING_VISITORS

    def visited(self, arrived_ms: int) -> None:
        """Count a visitor."""
        self._seen_visitors += 1
        self._is_founded = self._is_founded or self._seen_visitors > FOUNDING_VISITORS
        period = int(arrived_ms // self._period_ms)
        if period > self._period:
            self._visitors_before = self._visitors_now if period == self._period + 1 else 0
            self._period, self._visitors_now = period, 0
        self._visitors_now += 1

    def found(self, names: Collection[str]) -> set[str]:
        """Begin with names that were listed before, so that no visitor is believed for being early.

        Returns the names that early visitors have brought up, which do not count until they have support.
        """
        self._is_founded = True
        for name in self._founding & set(names):
            del self._candidates[name]  # its visitors are counted
        self._admitted.update(names)
        lost = self._founding - self._admitted
        for name in lost:
            self._weights.discard(name)
        self._founding.clear()
        return lost

    def add(self, name: str, arrived_ms: int, *, is_vouched: bool) -> int:
        """Count a visitor of a name; returns how many of its visitors count from now on, 0 while it is not admitted."""
        if is_vouched or name in self._admitted:
            return self._admit(name, arrived_ms, 1 + self._uncounted(name))
        period = int(arrived_ms // self._period_ms)
        candidate = self._candidates.get(name)
        if candidate is None or period > candidate.period:  # or the same few ids would count again and again
            candidate = self._candidates[name] = _Candidate(period, arrived_ms)
        if self._has_support(candidate, arrived_ms):
            return self._admit(name, arrived_ms, 1 + self._uncounted(name))
        candidate.visitors += 1
        if not self._is_founded:
            self._founding.add(name)
        is_founding = name in self._founding
        if is_founding:
            self._weights.add(name, arrived_ms)
        if len(self._candidates) > 2 * self._max_names:
            self._drop_candidates()
        return int(is_founding)

    def admits(self, name: str) -> bool:
        """Return whether the name may be listed."""
        return name in self._admitted or name in self._founding

    def weight(self, name: str) -> float:
        """Return the decayed count of an admitted name's visitors; compare it with others of the same moment only."""
        return self._weights.weight(name)

    def _has_support(self, candidate: _Candidate, arrived_ms: int) -> bool:
        needed = max(MIN_VISITORS, MIN_SHARE * (self._visitors_now + self._visitors_before))
        return candidate.visitors + 1 >= needed and arrived_ms - candidate.first_ms >= MIN_SPAN_MS

    def _admit(self, name: str, arrived_ms: int, visitors: int) -> int:
        self._founding.discard(name)
        self._admitted.add(name)
        self._weights.add(name, arrived_ms, visitors)
        if len(self._admitted) > 2 * self._max_names:
            self._admitted = {kept for kept in self._admitted if self._weights.weight(kept) > 0}
        return visitors

    def _uncounted(self, name: str) -> int:
        candidate = self._candidates.pop(name, None)
        return 0 if candidate is None or name in self._founding else candidate.visitors

    def _drop_candidates(self) -> None:
        """Keep those with the most visitors, of equal ones those that came first."""
        by_visitors = sorted(self._candidates.items(), key=lambda item: (-item[1].visitors, item[1].first_ms, item[0]))
        self._candidates = dict(by_visitors[: self._max_names])
        self._founding &= self._candidates.keys()
