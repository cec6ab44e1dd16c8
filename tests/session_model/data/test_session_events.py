"""Columns back to events."""

import numpy as np

from schemas.ids import ItemId, SessionId
from schemas.records import SessionEvent
from session_model.data.session_events import session_events
from session_model.data.sessions import EVENT_TYPE_CODES, Sessions


def test_unknown_items_and_prices_are_none() -> None:
    """-1 and NaN are how columns say none; times come along."""
    sessions = Sessions(
        session_ids=[SessionId("s"), SessionId("t")],
        starts=np.array([0, 1, 3]),
        items=np.array([0, 1, -1], np.int32),
        item_ids=[ItemId("x"), ItemId("y")],
        times_ms=np.array([5, 7, 9]),
        event_types=np.array([EVENT_TYPE_CODES.index(name) for name in ("view", "cart", "search")], np.uint8),
        prices=np.array([np.nan, 2.5, np.nan], np.float32),
    )
    assert session_events(sessions, 1) == [SessionEvent("cart", 7, ItemId("y"), 2.5), SessionEvent("search", 9)]
