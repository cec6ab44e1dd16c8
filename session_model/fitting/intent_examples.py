"""Prefixes of sessions with what came of them: what intent is learned from, and measured on."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.records import SessionEvent
from session_model.data.session_events import session_events
from session_model.data.sessions import Sessions
from session_model.fitting.categories import CategoriesOf
from session_model.intent.cart import items_in_cart
from session_model.intent.categories import NO_CATEGORIES
from session_model.intent.prefix_features import FEATURE_NAMES, has_cart, prefix_features

MAX_EXAMPLES: Final = 250_000
MAX_PREFIXES_PER_SESSION: Final = 100


@dataclass(frozen=True, slots=True)
class IntentExamples:
    """Prefixes in the order of their sessions' ends.

    features: (n, n_features) float32. sessions, lengths: (n,) int64, the session's number and the events of the prefix.
    All others (n,) bool. purchase: one follows. leave: no event follows. cart_abandonment: the session ends with
    something in the cart. before_purchase: the prefix has no purchase yet; the published figures are on these alone,
    while a stream signals after a purchase too. is_end: the last prefix of the session before its first purchase.
    """

    features: NDArray[np.float32]
    sessions: NDArray[np.int64]
    lengths: NDArray[np.int64]
    purchase: NDArray[np.bool_]
    leave: NDArray[np.bool_]
    cart_abandonment: NDArray[np.bool_]
    before_purchase: NDArray[np.bool_]
    is_end: NDArray[np.bool_]

    @property
    def has_cart(self) -> NDArray[np.bool_]:
        """Where something lies in the cart: there its abandonment is asked."""
        return has_cart(self.features)


def intent_examples(
    sessions: Sessions,
    categories_of: CategoriesOf = lambda _number: NO_CATEGORIES,
    *,
    max_examples: int = MAX_EXAMPLES,
    lengths: Collection[int] | None = None,
) -> IntentExamples:
    """Make one example of each prefix of the latest sessions, about `max_examples` at most.

    A prefix that ends with the session's explicit end asks nothing and is left out. lengths: only these, and the end.
    """
    sizes = np.minimum(np.diff(sessions.starts), MAX_PREFIXES_PER_SESSION)
    if lengths is not None:
        sizes = np.minimum(sizes, len(lengths) + 1)
    latest_first = np.cumsum(sizes[::-1])[::-1]
    features, facts = list[NDArray[np.float32]](), list[tuple[int, ...]]()
    for number in np.flatnonzero(latest_first <= max_examples).tolist():
        events = [event for event in session_events(sessions, number) if event.event_type != "session_end"]
        categories = categories_of(number)
        for length, *outcomes in _outcomes(events):
            if lengths is None or length in lengths or outcomes[-1]:
                features.append(prefix_features(events[:length], categories))
                facts.append((number, length, *outcomes))
    columns = np.array(facts, np.int64).reshape(-1, 7).T
    return IntentExamples(
        np.array(features, np.float32).reshape(-1, len(FEATURE_NAMES)), columns[0], columns[1], *(columns[2:] > 0)
    )


def _outcomes(events: list[SessionEvent]) -> list[tuple[int, ...]]:
    """Return, for each prefix, its length and the labels in the order of `IntentExamples`."""
    purchases = [place for place, event in enumerate(events) if event.event_type == "purchase"]
    first, last = (purchases[0], purchases[-1]) if purchases else (len(events), -1)
    abandons = bool(items_in_cart(events))
    return [
        (length, last >= length, length == len(events), abandons, first >= length, length == first)
        for length in range(1, min(len(events), MAX_PREFIXES_PER_SESSION) + 1)
    ]
