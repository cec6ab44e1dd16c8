"""Which names enough different visitors use, where nobody vouches for them; bounded, deterministic."""

from dataclasses import dataclass
from typing import Final

from serving.decayed_counts import DecayedCounts

FOUNDING_VISITORS: Final = 100
"""What these, the first of a worker, use is taken as it is: a list has to begin somewhere."""
MIN_VISITORS: Final = 5
MIN_SPAN_MS: Final = 10 * 60_000
"""From the first of a name's visitors to one of now: a crowd that comes at once is one stranger with many ids."""


@dataclass(slots=True)
class _Candidate:
    first_ms: int
    visitors: int = 0


class Support:
    """Counts different visitors by name; at most twice `max_names` are kept, those with the most.

    Whoever calls counts a visitor once a name and half-life.
    """

    def __init__(self, half_life_ms: float, max_names: int) -> None:
        self._max_names = max_names
        self._visitors = 0
        self._weights = DecayedCounts(half_life_ms, max_names)
        self._admitted = set[str]()
        self._candidates: dict[str, _Candidate] = {}

    def visited(self) -> None:
        """Count a visitor."""
        self._visitors += 1

    def add(self, name: str, arrived_ms: int, *, is_vouched: bool) -> int:
        """Count a visitor of a name; gives how many of its visitors count from now on, 0 while it is not admitted."""
        if is_vouched or name in self._admitted or self._visitors <= FOUNDING_VISITORS:
            return self._admit(name, arrived_ms, 1 + self._taken(name))
        candidate = self._candidates.setdefault(name, _Candidate(arrived_ms))
        candidate.visitors += 1
        if candidate.visitors >= MIN_VISITORS and arrived_ms - candidate.first_ms >= MIN_SPAN_MS:
            return self._admit(name, arrived_ms, self._taken(name))
        if len(self._candidates) > 2 * self._max_names:
            self._drop_candidates()
        return 0

    def admits(self, name: str) -> bool:
        """Tell whether the name may be listed."""
        return name in self._admitted

    def weight(self, name: str) -> float:
        """Give the decayed count of an admitted name's visitors; only to be compared with others of the same moment."""
        return self._weights.weight(name)

    def _admit(self, name: str, arrived_ms: int, visitors: int) -> int:
        self._admitted.add(name)
        self._weights.add(name, arrived_ms, visitors)
        if len(self._admitted) > 2 * self._max_names:
            self._admitted = {kept for kept in self._admitted if self._weights.weight(kept) > 0}
        return visitors

    def _taken(self, name: str) -> int:
        candidate = self._candidates.pop(name, None)
        return 0 if candidate is None else candidate.visitors

    def _drop_candidates(self) -> None:
        """Keep those with the most visitors, of equal ones those that came first."""
        by_visitors = sorted(self._candidates.items(), key=lambda item: (-item[1].visitors, item[1].first_ms, item[0]))
        self._candidates = dict(by_visitors[: self._max_names])
