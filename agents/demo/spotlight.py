"""A few sessions to look at closely, so that a person sees what the figures mean."""

from collections import deque
from dataclasses import dataclass
from typing import Final

from schemas.events import ClickEvent, EventType
from schemas.ids import ItemId, SessionId, VisitorId
from schemas.records import RecommendationSet, Tier

SIZE: Final = 3
STALE_MS: Final = 8_000
MIN_VIEWS: Final = 2
_SHOWN_CLICKS: Final = 4
_SHOWN_ITEMS: Final = 4
_MAX_CANDIDATES: Final = 2_000


@dataclass(frozen=True, slots=True)
class ShownClick:
    """One event of a session. was_hit: whether the answer before it held the item; None where that was not asked."""

    event_type: EventType
    item_id: ItemId | None
    was_hit: bool | None


@dataclass(frozen=True, slots=True)
class ShownSession:
    """A session as of its last event; `next_items` are the first of the answer."""

    visitor_id: VisitorId
    clicks: tuple[ShownClick, ...]
    next_items: tuple[ItemId, ...]
    tier: Tier | None
    purchase_probability: float | None


@dataclass(slots=True)
class _Slot:
    visitor_id: VisitorId
    session_id: SessionId | None
    clicks: deque[ShownClick]
    seen_ms: int
    answer: RecommendationSet
    probability: float | None = None

    def shown(self) -> ShownSession:
        items = tuple(item.item_id for item in self.answer.items[:_SHOWN_ITEMS])
        return ShownSession(self.visitor_id, tuple(self.clicks), items, self.answer.tier, self.probability)


class Spotlight:
    """Follows `SIZE` sessions that have `MIN_VIEWS` views; one silent for `STALE_MS` gives way to another."""

    def __init__(self) -> None:
        self._slots: dict[VisitorId, _Slot] = {}
        self._candidates: dict[VisitorId, _Slot] = {}

    def saw(self, click: ClickEvent, answer: RecommendationSet, received_ms: int, *, was_hit: bool | None) -> None:
        """Take in an answered click, in stream order; `received_ms` is Unix time."""
        if answer.status != "answered":
            return
        slot = self._slots.get(click.visitor_id) or self._candidates.pop(click.visitor_id, None)
        if slot is None or slot.session_id != answer.session_id:
            slot = _Slot(click.visitor_id, answer.session_id, deque(maxlen=_SHOWN_CLICKS), received_ms, answer)
        slot.clicks.append(ShownClick(click.event_type, click.item_id, was_hit))
        slot.answer, slot.seen_ms = answer, received_ms
        if click.visitor_id in self._slots:
            self._slots[click.visitor_id] = slot
        else:
            self._offer(slot, received_ms)

    def signalled(self, visitor_id: VisitorId, probability: float | None) -> None:
        """Note the latest intent signal of a visitor."""
        slot = self._slots.get(visitor_id) or self._candidates.get(visitor_id)
        if slot is not None:
            slot.probability = probability

    def sessions(self) -> tuple[ShownSession, ...]:
        """Return the sessions in the light, each in its place for as long as it stays."""
        return tuple(slot.shown() for slot in self._slots.values())

    def _offer(self, slot: _Slot, now_ms: int) -> None:
        stale = next((old for old in self._slots.values() if now_ms - old.seen_ms > STALE_MS), None)
        has_room = len(self._slots) < SIZE or stale is not None
        if has_room and sum(click.event_type == "view" for click in slot.clicks) >= MIN_VIEWS:
            if len(self._slots) < SIZE:
                self._slots[slot.visitor_id] = slot
            else:  # in the place of the stale one
                self._slots = {new.visitor_id: new for new in (slot if s is stale else s for s in self._slots.values())}
            return
        self._candidates[slot.visitor_id] = slot
        if len(self._candidates) > _MAX_CANDIDATES:
            del self._candidates[next(iter(self._candidates))]
