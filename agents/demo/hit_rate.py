"""Was the next click among the answered items? The same question to the model and to plain popularity."""

from collections import Counter, OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from schemas.events import ClickEvent
from schemas.ids import ItemId, SessionId, VisitorId
from schemas.records import RecommendationSet

CUTOFF: Final = 20
MAX_VISITORS: Final = 20_000
"""Visitors whose last answers are remembered; the longest inactive is forgotten, and then counts for neither side."""
_MAX_ANSWERS_A_CLICK: Final = 16


class PopularItems:
    """The most viewed items so far, ties to whoever was there first."""

    def __init__(self, counts: Mapping[ItemId, int]) -> None:
        """Start from `counts`, the views of the training data."""
        self._counts = Counter(counts)
        self._top = frozenset(item for item, _ in self._counts.most_common(CUTOFF))

    @property
    def top(self) -> frozenset[ItemId]:
        """The `CUTOFF` most viewed."""
        return self._top

    def viewed(self, item: ItemId) -> None:
        """Count a view."""
        self._counts[item] += 1
        if item in self._top:
            return
        if len(self._top) < CUTOFF:
            self._top |= {item}
            return
        least = min(self._top, key=self._counts.__getitem__)
        if self._counts[item] > self._counts[least]:
            self._top = self._top - {least} | {item}


@dataclass(frozen=True, slots=True)
class HitRates:
    """Share of targets that were in the answer; None without a target."""

    model: float | None
    popular: float | None
    targets: int


@dataclass(slots=True)
class _Open:
    """What one visitor was shown since the last view: (answered items, most popular items) of each answer."""

    session_id: SessionId | None
    shown: deque[tuple[frozenset[ItemId], frozenset[ItemId]]] = field(
        default_factory=lambda: deque(maxlen=_MAX_ANSWERS_A_CLICK)
    )


class NextClickScore:
    """Scores every answer by the visitor's next view in the same session.

    Both sides get the same targets, at the same moment, and both know the click that was just made. An answer counts
    whichever tier gave it. Views at an event time before `scored_from_ms` are no targets: a model may have seen them.
    """

    def __init__(self, popular: PopularItems, scored_from_ms: int = 0) -> None:
        self._popular = popular
        self._scored_from_ms = scored_from_ms
        self._open: OrderedDict[VisitorId, _Open] = OrderedDict()
        self._targets = 0
        self._model_hits = 0
        self._popular_hits = 0

    def saw(self, click: ClickEvent, answer: RecommendationSet) -> bool | None:
        """Take in a click and its answer, in stream order.

        Returns whether the click was in the answer before it; None where it is no target.
        """
        if answer.status != "answered":
            return None
        visitor = self._open.pop(click.visitor_id, None)
        if visitor is None or visitor.session_id != answer.session_id:
            visitor = _Open(answer.session_id)
        was_hit = None
        if click.event_type == "view" and click.item_id is not None:
            was_hit = self._score(visitor, click.item_id, click.event_time_ms)
            visitor.shown.clear()
            self._popular.viewed(click.item_id)
        visitor.shown.append((frozenset(item.item_id for item in answer.items[:CUTOFF]), self._popular.top))
        self._open[click.visitor_id] = visitor
        if len(self._open) > MAX_VISITORS:
            self._open.popitem(last=False)
        return was_hit

    def rates(self) -> HitRates:
        """Return the hit rates so far."""
        if not self._targets:
            return HitRates(None, None, 0)
        return HitRates(self._model_hits / self._targets, self._popular_hits / self._targets, self._targets)

    def _score(self, visitor: _Open, item: ItemId, time_ms: int) -> bool | None:
        if time_ms < self._scored_from_ms or not visitor.shown:
            return None
        self._targets += len(visitor.shown)
        self._model_hits += sum(item in answered for answered, _ in visitor.shown)
        self._popular_hits += sum(item in popular for _, popular in visitor.shown)
        return item in visitor.shown[-1][0]
