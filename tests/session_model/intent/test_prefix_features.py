"""The prefix features."""

from math import inf, log1p

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events import MAX_PRICE, EventType
from schemas.ids import ItemId
from schemas.records import SessionEvent
from session_model.intent.categories import NO_CATEGORIES, Categories
from session_model.intent.prefix_features import FEATURE_NAMES, MAX_DWELL_SECONDS, MAX_EVENTS, prefix_features

EVENTS = st.builds(
    SessionEvent,
    event_type=st.sampled_from(["view", "cart", "remove", "purchase", "favorite", "search", "session_end"]),
    time_ms=st.integers(0, 2**45),
    item_id=st.none() | st.sampled_from(["a", "b", "c"]),
    price=st.none() | st.floats(0, MAX_PRICE),
)


def event(
    event_type: EventType, seconds: float = 0, item: str | None = "a", price: float | None = None
) -> SessionEvent:
    """Make an event, `seconds` after the epoch."""
    return SessionEvent(event_type, int(seconds * 1000), None if item is None else ItemId(item), price)


def named(*events: SessionEvent, categories: Categories = NO_CATEGORIES) -> dict[str, float]:
    """Return the features by name."""
    return dict(zip(FEATURE_NAMES, prefix_features(events, categories).tolist(), strict=True))


@given(st.lists(EVENTS, max_size=60), EVENTS)
def test_always_finite_and_bounded(events: list[SessionEvent], later: SessionEvent) -> None:
    """Whatever a session holds, the features are finite float32 of one length, and reading them changes nothing."""
    before = list(events)
    features = prefix_features(events)
    assert features.dtype == np.float32
    assert features.shape == (len(FEATURE_NAMES),)
    assert np.all(np.isfinite(features))
    assert np.all((features >= 0) & (features <= 20))
    events.append(later)
    assert prefix_features(events[:-1]).tolist() == features.tolist()
    assert events[:-1] == before


def test_no_event_is_all_zero() -> None:
    """An empty prefix has no feature."""
    assert not prefix_features([]).any()


def test_counts_and_repeats() -> None:
    """Types, distinct items and returns are counted; a search has no item."""
    features = named(event("view"), event("view", item="b"), event("search", item=None), event("view"))
    assert features["log_length"] == pytest.approx(log1p(4))
    assert features["log_views"] == pytest.approx(log1p(3))
    assert features["log_searches"] == pytest.approx(log1p(1))
    assert features["log_distinct_items"] == pytest.approx(log1p(2))
    assert features["repeat_share"] == pytest.approx(1 / 3)
    assert features["last_item_repeats"] == pytest.approx(log1p(1))
    assert features["last_is_search"] == 0


def test_the_cart_holds_what_was_neither_removed_nor_bought() -> None:
    """Of three items put in, one removed and one bought, one is left with its price."""
    features = named(
        event("cart", item="a", price=10),
        event("cart", item="b", price=20),
        event("cart", item="c", price=40),
        event("remove", item="a"),
        event("purchase", item="b"),
    )
    assert features["cart_present"] == features["cart_after_purchase"] == features["last_is_purchase"] == 1
    assert features["log_items_in_cart"] == pytest.approx(log1p(1))
    assert features["log_cart_value"] == pytest.approx(log1p(40))
    assert features["log_events_since_cart"] == pytest.approx(log1p(2))
    assert named(event("cart"), event("remove"))["cart_present"] == 0


def test_dwell_is_clipped_and_never_negative() -> None:
    """A break counts as the longest dwell at most, and a clock that goes back as none."""
    features = named(event("view", 100), event("view", 160), event("view", 150), event("view", 99_999))
    assert features["log_last_dwell_seconds"] == pytest.approx(log1p(MAX_DWELL_SECONDS))
    assert features["log_mean_dwell_seconds"] == pytest.approx(log1p((60 + 0 + MAX_DWELL_SECONDS) / 3))
    assert features["log_duration_seconds"] == pytest.approx(log1p(60 + MAX_DWELL_SECONDS))


def test_prices_of_unknown_items_do_not_count() -> None:
    """Mean, range and the last price come from the known prices alone."""
    features = named(event("view", price=10), event("view"), event("view", price=30))
    assert features["price_known"] == features["last_price_above_mean"] == 1
    assert features["log_mean_price"] == pytest.approx(log1p(20))
    assert features["log_price_range"] == pytest.approx(log1p(20))
    assert named(event("view"))["price_known"] == 0


def test_an_endless_price_is_bounded() -> None:
    """Even a price that validation would refuse gives a bounded feature."""
    assert named(event("view", price=inf))["log_mean_price"] <= 20


def test_only_the_latest_events_are_read() -> None:
    """What lies further back than the stream keeps changes nothing."""
    latest = [event("view", n, item=f"i{n}") for n in range(MAX_EVENTS)]
    assert prefix_features([event("cart"), *latest]).tolist() == prefix_features(latest).tolist()


def test_recent_events_count_more() -> None:
    """A cart two events back counts half, a return is told from a new item, and dwells are weighed alike."""
    features = named(
        event("view", 0), event("cart", 10), event("view", 40, item="b"), event("view", 100), event("favorite", 100)
    )
    assert features["recent_carts"] == pytest.approx(0.5**1.5)
    assert features["recent_views"] == pytest.approx(0.5**2 + 0.5 + 0.5**0.5)
    assert features["recent_repeats"] == pytest.approx(0.5**0.5)
    assert features["recent_new_items"] == pytest.approx(0.5**2 + 0.5)
    assert features["last_is_favorite"] == features["recent_favorites"] == 1
    weights = np.array([1, 0.5**0.5, 0.5, 0.5**1.5])
    dwells = np.log1p([0, 60, 30, 10])
    assert features["recent_log_dwell_seconds"] == pytest.approx(float(weights @ dwells / weights.sum()))
    assert features["log_previous_dwell_seconds"] == pytest.approx(log1p(60))


def test_a_return_is_known_beyond_the_recent_events() -> None:
    """What was seen before the latest twelve events still makes a view a return; it counts for nothing else."""
    others = [event("view", n, item=f"i{n}") for n in range(12)]
    features = named(event("cart", item="old"), *others, event("view", item="old"))
    assert features["recent_carts"] == 0
    assert features["recent_repeats"] == 1


def test_category_focus() -> None:
    """Of the events whose category is known: how many there are, the most frequent and the latest, and how it buys."""
    categories = Categories(["hats", "boots"], [0.5, -1.5], {ItemId("a"): 0, ItemId("b"): 1, ItemId("c"): 0})
    items = ("a", "c", "b", "who?", "b", None)
    features = named(*(event("view", item=item) for item in items), categories=categories)
    assert features["category_known"] == 1
    assert features["log_distinct_categories"] == pytest.approx(log1p(2))
    assert features["top_category_share"] == features["last_category_share"] == 0.5
    assert features["log_last_category_run"] == pytest.approx(log1p(2))
    assert features["last_category_lift"] == -1.5
    features = named(event("view", item="b"), event("view", item="a"), event("view", item="a"), categories=categories)
    assert features["last_category_share"] == features["top_category_share"] == pytest.approx(2 / 3)
    assert features["last_category_lift"] == 0.5
    features = named(event("view", item="a"), event("view", item="b"), event("view", item="a"), categories=categories)
    assert features["log_last_category_run"] == pytest.approx(log1p(1))


def test_a_category_that_nobody_told_says_nothing() -> None:
    """All of its features are 0 then."""
    categories = Categories(["hats"], [0.5], {ItemId("a"): 0})
    features = named(event("view", item="who?"), event("search", item=None), categories=categories)
    names = [name for name in FEATURE_NAMES if "categor" in name]
    assert len(names) == 6
    assert not any(features[name] for name in names)
