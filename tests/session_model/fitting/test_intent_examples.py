"""Prefixes and their labels."""

import numpy as np

from session_model.fitting.intent_examples import intent_examples
from tests.session_model.intents import CART, END, PURCHASE, VIEW, columns


def test_labels_are_what_comes_later() -> None:
    """A purchase labels the prefixes before it, the last event leaves; the explicit end is no prefix to answer."""
    examples = intent_examples(columns([[VIEW, PURCHASE, VIEW], [VIEW, END]]))
    assert examples.purchase.tolist() == [True, False, False, False]
    assert examples.leave.tolist() == [False, False, True, True]
    assert examples.before_purchase.tolist() == [True, False, False, True]
    assert examples.is_end.tolist() == [True, False, False, True]
    assert examples.sessions.tolist() == [0, 0, 0, 1]
    assert examples.lengths.tolist() == [1, 2, 3, 1]


def test_a_cart_is_left_behind_where_it_is_not_bought() -> None:
    """Of three carts one is bought (the item of number 0 twice, see `columns`), one is not; one session has none."""
    sessions = columns([[CART, PURCHASE], [CART, VIEW], [VIEW, VIEW]])
    sessions.items[:2] = 0
    examples = intent_examples(sessions)
    assert examples.has_cart.tolist() == [True, False, True, True, False, False]
    assert examples.cart_abandonment[examples.has_cart].tolist() == [False, True, True]


def test_asked_lengths_and_the_end_alone() -> None:
    """What is not asked is not made."""
    examples = intent_examples(columns([[VIEW] * 6, [VIEW, VIEW, VIEW, VIEW, PURCHASE]]), lengths=(1, 3))
    assert examples.lengths.tolist() == [1, 3, 6, 1, 3, 4]
    assert examples.is_end.tolist() == [False, False, True, False, False, True]


def test_the_latest_sessions_come_first_where_there_are_too_many() -> None:
    """The bound is on prefixes; a session is taken whole or not at all."""
    examples = intent_examples(columns([[VIEW] * 3, [VIEW] * 3, [VIEW] * 2]), max_examples=5)
    assert np.unique(examples.sessions).tolist() == [1, 2]
