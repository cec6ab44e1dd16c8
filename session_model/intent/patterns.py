"""Shopping patterns by rule: a word for what a prefix looks like, so that a shop can act on it without a model."""

from collections.abc import Sequence

from schemas.records import Pattern, SessionEvent
from session_model.intent.cart import items_in_cart

RECENT_EVENTS = 10
EXPLORING_ITEMS = 4
FOCUSED_RETURNS = 2


def pattern_of(events: Sequence[SessionEvent]) -> Pattern:
    """Return the shopping pattern of a session so far, its events oldest first.

    The first rule that holds decides:
    - deciding: something lies in the cart (put in, and since then neither removed nor bought).
    - focused: within the latest 10 events the shopper came back to one item at least twice, or marked it as favorite.
    - exploring: within the latest 10 events there are 4 or more different items, or a search.
    - browsing: anything else; the session has not shown a direction yet.
    """
    if items_in_cart(events):
        return "deciding"
    recent = events[-RECENT_EVENTS:]
    types = {event.event_type for event in recent}
    items = [event.item_id for event in recent if event.item_id is not None]
    different = set(items)
    returns = len(items) - len(different)  # so many to all of them: seldom enough for one
    if "favorite" in types or (returns >= FOCUSED_RETURNS and max(map(items.count, different)) > FOCUSED_RETURNS):
        return "focused"
    if len(different) >= EXPLORING_ITEMS or "search" in types:
        return "exploring"
    return "browsing"
