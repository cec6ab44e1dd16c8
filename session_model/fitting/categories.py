"""Learns from sessions how readily those of each category buy."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.ids import ItemId
from schemas.records import CatalogItem
from session_model.csr import row_numbers
from session_model.data.sessions import EVENT_TYPE_CODES, Sessions
from session_model.intent.categories import NO_CATEGORIES, Categories

BLOCKS: Final = 5
"""Of consecutive sessions: each is described by what the others did."""
HIDDEN_SHARE: Final = 0.2
"""Of the items, in each block others: a model must learn what to make of one whose category nobody told."""
PRIOR_BUYERS: Final = 5
"""Sessions that buy, and as many that do not as it takes for the rate of all, are added to those of a category."""
CategoriesOf = Callable[[int], Categories]
"""The categories that the session of this number is described with."""


@dataclass(frozen=True, slots=True)
class CrossFitted:
    """Categories for sessions to come, and for those that they were learned from.

    A session must not be described by its own purchase, or a model would trust the lifts more than it may later: each
    block of consecutive sessions has lifts of all other blocks.
    """

    for_serving: Categories
    by_block: Sequence[Categories]
    n_sessions: int

    def of_session(self, number: int) -> Categories:
        """Return what describes the session of this number."""
        return self.by_block[number * BLOCKS // self.n_sessions]


def learn_categories(records: Iterable[CatalogItem], sessions: Sessions) -> CrossFitted:
    """Learn from at least one session; nothing where no record names a category."""
    category_of = {record.item_id: record.category for record in records if record.category}
    if not category_of:
        return CrossFitted(NO_CATEGORIES, [NO_CATEGORIES] * BLOCKS, len(sessions))
    names = sorted(set(category_of.values()))
    places = {name: place for place, name in enumerate(names)}
    # Sorted, so that which items are hidden does not depend on the order of the catalog.
    of_item = {item_id: places[category_of[item_id]] for item_id in sorted(category_of)}
    session_of = row_numbers(np.diff(sessions.starts))
    block_of = np.arange(len(sessions)) * BLOCKS // len(sessions)
    buys = np.zeros(len(sessions), np.bool_)
    buys[session_of[sessions.event_types == EVENT_TYPE_CODES.index("purchase")]] = True
    pairs = _Pairs.of(sessions, session_of, of_item, len(names))
    by_block = [
        Categories(names, pairs.lifts(buys, block_of != block), _partly_hidden(of_item, block))
        for block in range(BLOCKS)
    ]
    return CrossFitted(Categories(names, pairs.lifts(buys, block_of >= 0), of_item), by_block, len(sessions))


def _partly_hidden(of_item: dict[ItemId, int], seed: int) -> dict[ItemId, int]:
    is_shown = np.random.default_rng(seed).random(len(of_item)) >= HIDDEN_SHARE
    return dict(compress(of_item.items(), is_shown.tolist()))


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Each pair of a session and a category that it has an event of, once, (n_pairs,) each."""

    sessions: NDArray[np.int64]
    categories: NDArray[np.int64]
    n_categories: int

    @classmethod
    def of(
        cls, sessions: Sessions, session_of: NDArray[np.int64], of_item: dict[ItemId, int], n_categories: int
    ) -> "_Pairs":
        """Find them; session_of: (n_events,)."""
        # An event without an item has the place -1, the last one.
        places = np.array([*(of_item.get(item_id, -1) for item_id in sessions.item_ids), -1], np.int64)
        categories = places[sessions.items]
        keys = np.sort((session_of * n_categories + categories)[categories >= 0])
        keys = keys[np.diff(keys, prepend=-1) > 0]
        return cls(keys // n_categories, keys % n_categories, n_categories)

    def lifts(self, buys: NDArray[np.bool_], kept: NDArray[np.bool_]) -> list[float]:
        """Return those of the sessions that are `kept`; buys, kept: (n_sessions,)."""
        rate = float(buys[kept].mean()) if kept.any() else 0.0
        if not 0 < rate < 1:
            return [0.0] * self.n_categories
        mine, prior = kept[self.sessions], PRIOR_BUYERS / rate
        n_sessions = np.bincount(self.categories[mine], minlength=self.n_categories)
        n_buyers = np.bincount(self.categories[mine], buys[self.sessions[mine]], minlength=self.n_categories)
        rates = (n_buyers + PRIOR_BUYERS) / (n_sessions + prior)
        lifts: list[float] = (np.log(rates / (1 - rates)) - np.log(rate / (1 - rate))).tolist()
        return lifts
