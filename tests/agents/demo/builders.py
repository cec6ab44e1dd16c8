"""Clicks and answers with only what a test cares about."""

from datetime import UTC, datetime

from agents.demo.scoreboard import Place, SentInput
from agents.shop.truth import Truth
from schemas.events import Action, ClickEvent, EventType
from schemas.ids import EventId, ItemId, SessionId, VisitorId
from schemas.records import (
    IntentSignal,
    RecommendationOutcome,
    RecommendationSet,
    RecommendedItem,
    Status,
    Tier,
    Trending,
    TrendingItem,
)
from tests.builders.trending import listing

FIRST = Place(0, 0)
_TIME = datetime(2026, 1, 5, tzinfo=UTC)


def click(
    item: str | None = "a", *, visitor: str = "v", event_type: EventType = "view", time_ms: int = 10_000
) -> ClickEvent:
    """Make a click."""
    return ClickEvent(
        visitor_id=VisitorId(visitor),
        event_type=event_type,
        event_time=time_ms,
        item_id=None if item is None else ItemId(item),
    )


def answer(
    items: str = "",
    *,
    session: str = "s",
    status: Status = "answered",
    place: Place = FIRST,
    tier: Tier = "model",
) -> RecommendationSet:
    """Make an answer; each letter of `items` is an item."""
    return RecommendationSet(
        id=f"clickstream-{place.partition}-{place.offset}",
        status=status,
        visitor_id=VisitorId("v"),
        event_id=EventId("e"),
        event_time=_TIME,
        session_id=SessionId(session),
        items=[RecommendedItem(item_id=ItemId(item), score=1.0) for item in items],
        tier=tier if items else None,
        reason=None if tier == "model" else "deadline",
    )


def signal(probability: float | None, place: Place = FIRST) -> IntentSignal:
    """Make an intent signal."""
    return IntentSignal(
        id=f"clickstream-{place.partition}-{place.offset}",
        visitor_id=VisitorId("v"),
        session_id=SessionId("s"),
        event_id=EventId("e"),
        event_time=_TIME,
        prefix_length=1,
        purchase_status="unavailable" if probability is None else "calibrated",
        purchase_probability=probability,
        pattern="browsing",
    )


def outcome(record_id: str, position: int | None, action: Action = "click") -> RecommendationOutcome:
    """Make an outcome."""
    return RecommendationOutcome(
        id=record_id,
        recommendation_id="clickstream-0-0",
        visitor_id=VisitorId("v"),
        session_id=SessionId("s"),
        event_id=EventId("e"),
        event_time=_TIME,
        action=action,
        item_id=ItemId("a"),
        position=position,
        tier="model",
        delay_ms=1,
    )


def trending(items: str = "", *, rising: str = "", place: str | None = None, support: float = 1.0) -> Trending:
    """Make what is trending; each letter is an item."""
    listed = [
        *(TrendingItem(ItemId(item), 0.1, 3.0, 9, 0.1) for item in rising),
        *(TrendingItem(ItemId(item), 0.1, 0.0, 9) for item in items),
    ]
    return listing(listed, _TIME, location=place, support_short=support)


def sent(
    item: str = "a", *, place: Place = FIRST, time_ms: int = 1_000, purchase_follows: bool | None = None
) -> SentInput:
    """Make an input; with truth if `purchase_follows` is given."""
    truth = None
    if purchase_follows is not None:
        truth = Truth(
            event_id=EventId("e"),
            session_number=1,
            intent="browse",
            purchase_follows=purchase_follows,
            next_item_id=None,
            is_bot=False,
            is_duplicate=False,
            is_late=False,
            flash_sale=None,
        )
    return SentInput(place, time_ms, (click(item),), truth)
