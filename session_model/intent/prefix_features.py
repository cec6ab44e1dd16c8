"""What is known of a session so far, as numbers: the input of the intent model, in training and live alike."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from math import log1p

import numpy as np
from numpy.typing import NDArray

from schemas.events import EventType
from schemas.records import SessionEvent
from session_model.intent.cart import items_in_cart
from session_model.intent.categories import NO_CATEGORIES, Categories

MAX_EVENTS = 50
"""Only the latest events are read: as many as the stream keeps of a session by default, so training reads no more."""
MAX_DWELL_SECONDS = 1800.0
RECENT_EVENTS = 12
HALF_LIFE_EVENTS = 2.0
"""Of the `recent_` features, over the latest `RECENT_EVENTS`: what lies that many events back counts half."""
_MAX_LOG = 20.0
FEATURE_NAMES: tuple[str, ...] = (
    "log_length",
    "log_views",
    "log_carts",
    "log_removes",
    "log_purchases",
    "log_favorites",
    "log_searches",
    "log_distinct_items",
    "repeat_share",
    "last_item_repeats",
    "last_is_cart",
    "last_is_search",
    "last_is_purchase",
    "last_is_favorite",
    "last_is_remove",
    "cart_present",
    "cart_after_purchase",
    "log_items_in_cart",
    "log_cart_value",
    "log_events_since_cart",
    "log_mean_dwell_seconds",
    "log_last_dwell_seconds",
    "log_previous_dwell_seconds",
    "log_duration_seconds",
    "recent_log_dwell_seconds",
    "price_known",
    "log_mean_price",
    "log_price_range",
    "last_price_above_mean",
    "log_last_price",
    "recent_views",
    "recent_carts",
    "recent_purchases",
    "recent_favorites",
    "recent_searches",
    "recent_repeats",
    "recent_new_items",
    "category_known",
    "log_distinct_categories",
    "top_category_share",
    "last_category_share",
    "log_last_category_run",
    "last_category_lift",
)
CART_PRESENT = FEATURE_NAMES.index("cart_present")
COUNTED_TYPES: tuple[EventType, ...] = ("view", "cart", "remove", "purchase", "favorite", "search")
_RECENT_TYPES = ("view", "cart", "purchase", "favorite", "search")
_LAST_TYPES = ("cart", "search", "purchase", "favorite", "remove")
_WEIGHTS = tuple(0.5 ** (age / HALF_LIFE_EVENTS) for age in range(RECENT_EVENTS))


def prefix_features(events: Sequence[SessionEvent], categories: Categories = NO_CATEGORIES) -> NDArray[np.float32]:
    """Describe a session by its events so far, oldest first; (len(FEATURE_NAMES),) float32, finite and bounded.

    Pure and causal: later events never change an earlier prefix's features. Counts, seconds and money go through
    log1p; a dwell is clipped to `MAX_DWELL_SECONDS`. Without events all is 0, and so is what is not known.
    """
    events = events[-MAX_EVENTS:]
    if not events:
        return np.zeros(len(FEATURE_NAMES), np.float32)
    features = [*_counts(events), *_cart(events), *_times(events), *_prices(events), *_recent(events)]
    features += _category_focus(events, categories)
    return np.minimum(np.array(features, np.float32), np.float32(_MAX_LOG))


def has_cart(features: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return of (n, n_features) rows where something lies in the cart."""
    return features[:, CART_PRESENT] > 0


def _counts(events: Sequence[SessionEvent]) -> list[float]:
    types = [event.event_type for event in events]
    items = [event.item_id for event in events if event.item_id is not None]
    distinct = len(set(items))
    return [
        log1p(len(events)),
        *[log1p(types.count(name)) for name in COUNTED_TYPES],
        log1p(distinct),
        1 - distinct / len(items) if items else 0.0,
        log1p(items.count(items[-1]) - 1) if items else 0.0,
        *[float(types[-1] == name) for name in _LAST_TYPES],
    ]


def _cart(events: Sequence[SessionEvent]) -> list[float]:
    cart = items_in_cart(events)
    if not cart:
        return [0.0, 0.0, 0.0, 0.0, 0.0]
    since_cart = next(n for n, event in enumerate(reversed(events)) if event.event_type == "cart")
    has_bought = any(event.event_type == "purchase" for event in events)
    value = sum(price or 0.0 for price in cart.values())
    return [1.0, float(has_bought), log1p(len(cart)), log1p(value), log1p(since_cart)]


def _times(events: Sequence[SessionEvent]) -> list[float]:
    times = [event.time_ms / 1000 for event in events]
    dwells = [min(max(later - earlier, 0.0), MAX_DWELL_SECONDS) for earlier, later in pairwise(times)]
    if not dwells:
        return [0.0, 0.0, 0.0, 0.0, 0.0]
    previous = log1p(dwells[-2]) if len(dwells) > 1 else 0.0
    weighed = list(zip(_WEIGHTS, reversed(dwells), strict=False))
    recent = sum(weight * log1p(dwell) for weight, dwell in weighed) / sum(weight for weight, _ in weighed)
    return [log1p(sum(dwells) / len(dwells)), log1p(dwells[-1]), previous, log1p(sum(dwells)), recent]


def _prices(events: Sequence[SessionEvent]) -> list[float]:
    prices = [event.price for event in events if event.price is not None]
    if not prices:
        return [0.0, 0.0, 0.0, 0.0, 0.0]
    mean = sum(prices) / len(prices)
    return [1.0, log1p(mean), log1p(max(prices) - min(prices)), float(prices[-1] > mean), log1p(prices[-1])]


def _recent(events: Sequence[SessionEvent]) -> list[float]:
    """Count by type, and views of what was seen before and of what is new, recent ones more."""
    counts = dict.fromkeys(_RECENT_TYPES, 0.0)
    repeats = new_items = 0.0
    recent = events[-RECENT_EVENTS:]
    seen = {event.item_id for event in events[: -len(recent)]}
    for weight, event in zip(reversed(_WEIGHTS[: len(recent)]), recent, strict=True):
        if event.event_type in counts:
            counts[event.event_type] += weight
        if event.event_type == "view" and event.item_id in seen:
            repeats += weight
        elif event.event_type == "view":
            new_items += weight
        seen.add(event.item_id)
    return [*counts.values(), repeats, new_items]


def _category_focus(events: Sequence[SessionEvent], categories: Categories) -> list[float]:
    places = [categories.place_of(event.item_id) for event in events if event.item_id is not None]
    known = [place for place in places if place is not None]
    if not known:
        return [0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    counts, last = Counter(known), known[-1]
    run = next((n for n, place in enumerate(reversed(known)) if place != last), len(known))
    top_share, last_share = max(counts.values()) / len(known), counts[last] / len(known)
    return [1.0, log1p(len(counts)), top_share, last_share, log1p(run), categories.lifts[last]]
