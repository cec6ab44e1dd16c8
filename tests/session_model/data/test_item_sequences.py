"""Sessions as item indices."""

import numpy as np

from schemas.ids import ItemId, SessionId
from session_model.data.item_sequences import ItemSequences, item_sequences
from session_model.data.sessions import EVENT_TYPE_CODES, Sessions
from session_model.data.vocabulary import Vocabulary

VIEW, CART, SEARCH = (EVENT_TYPE_CODES.index(name) for name in ("view", "cart", "search"))


def test_only_item_events_of_the_input_types_count_and_unseen_items_are_zero() -> None:
    """Other event types vanish, an item outside the vocabulary becomes 0, an emptied session stays as a row."""
    sessions = Sessions(
        session_ids=[SessionId("a"), SessionId("b"), SessionId("c")],
        starts=np.array([0, 3, 4, 6]),
        items=np.array([0, -1, 1, 0, 2, 1], np.int32),
        item_ids=[ItemId("x"), ItemId("y"), ItemId("new")],
        times_ms=None,
        event_types=np.array([VIEW, SEARCH, VIEW, CART, VIEW, VIEW], np.uint8),
        prices=np.full(6, np.nan, np.float32),
    )
    sequences = item_sequences(sessions, Vocabulary([ItemId("y"), ItemId("x")]), {"view"})
    assert sequences.starts.tolist() == [0, 2, 2, 4]
    assert sequences.items.tolist() == [2, 1, 0, 1]


def test_a_slice_of_the_starts_is_a_range_of_sessions() -> None:
    """Items outside the rows are not taken along."""
    sequences = ItemSequences(np.array([2, 4, 5]), np.array([9, 9, 1, 0, 3, 9], np.int32))
    known = sequences.known()
    assert known.starts.tolist() == [0, 1, 2]
    assert known.items.tolist() == [1, 3]
    assert sequences.session_numbers().tolist() == [0, 0, 1]
