"""Intent by prefix."""

import numpy as np

from schemas.ids import ItemId, SessionId
from session_model.intent import IntentModel
from session_model.intent_evaluation import evaluate_intent
from session_model.prefix_features import FEATURE_NAMES
from session_model.sessions import EVENT_TYPE_CODES, Sessions

VIEW, PURCHASE = (EVENT_TYPE_CODES.index(name) for name in ("view", "purchase"))


def test_groups_follow_the_prefix() -> None:
    """Of two sessions, one buys at once and views on: its later prefixes count in `every prefix` alone."""
    rows = [[VIEW, PURCHASE, VIEW, VIEW], [VIEW, VIEW, VIEW, VIEW, VIEW]]
    n = sum(map(len, rows))
    sessions = Sessions(
        session_ids=[SessionId("a"), SessionId("b")],
        starts=np.array([0, 4, 9]),
        items=np.zeros(n, np.int32),
        item_ids=[ItemId("x")],
        times_ms=np.arange(n, dtype=np.int64),
        event_types=np.array([code for row in rows for code in row], np.uint8),
        prices=np.full(n, np.nan, np.float32),
    )
    zeros, ones = (0.0,) * len(FEATURE_NAMES), (1.0,) * len(FEATURE_NAMES)
    qualities = evaluate_intent(IntentModel(FEATURE_NAMES, zeros, ones, zeros, 0.0), sessions)
    assert {name: quality.examples for name, quality in qualities.items()} == {
        "every prefix": 9,
        "before a purchase": 6,
        "after 1": 2,
    }
    assert qualities["after 1"].base_rate == 0.5
