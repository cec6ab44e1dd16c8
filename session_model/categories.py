"""What the intent model knows of categories: which one an item is of, and how readily its sessions buy."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.ids import ItemId
from schemas.records import CatalogItem
from session_model.sessions import EVENT_TYPE_CODES, Sessions

BLOCKS: Final = 5
"""Of consecutive sessions: each is described by what the others did."""
PRIOR_SESSIONS: Final = 20
"""With the rate of all sessions, added to those of a category."""


class Categories(msgspec.Struct, frozen=True):
    """Categories by their place in `names`.

    of_item: of each item that the catalog gives one. lifts: (len(names),), log-odds of a purchase in a session that has
    an event with such an item, less those of all sessions, shrunk to 0 by `PRIOR_SESSIONS`.
    """

    names: list[str] = []
    lifts: list[float] = []
    of_item: dict[ItemId, int] = {}

    def __post_init__(self) -> None:
        """Raise ValueError where the parts do not fit together."""
        if len(self.names) != len(self.lifts) or not set(self.of_item.values()) <= set(range(len(self.names))):
            raise ValueError("the categories do not fit together")

    def with_items(self, records: Iterable[CatalogItem]) -> "Categories":
        """Take in those items that are not known yet and are of a category that is."""
        places = {name: place for place, name in enumerate(self.names)}
        new = {
            record.item_id: places[record.category]
            for record in records
            if record.category in places and record.item_id not in self.of_item
        }
        return msgspec.structs.replace(self, of_item=self.of_item | new) if new else self

    def save(self, path: Path) -> None:
        """Write them as JSON."""
        path.write_bytes(msgspec.json.encode(self))

    @classmethod
    def load(cls, path: Path) -> "Categories":
        """Read what `save` wrote; raises ValueError on another file."""
        return msgspec.json.decode(path.read_bytes(), type=cls)


NO_CATEGORIES: Final = Categories()
CategoriesOf = Callable[[int], Categories]
"""The categories that the session of this number is described with."""


@dataclass(frozen=True, slots=True)
class CrossFitted:
    """Categories for sessions to come, and for those that they were learned from.

    A session must not be described by its own purchase, or a model would trust the lifts more than it may later: each
    block of consecutive sessions has lifts of all other blocks (Micci-Barreca, SIGKDD Explorations 2001). It knows the
    items of the others only, so that a model learns what to make of an item whose category nobody told.
    """

    all: Categories
    by_block: Sequence[Categories]
    n_sessions: int

    def of_session(self, number: int) -> Categories:
        """Give what describes the session of this number."""
        return self.by_block[number * BLOCKS // self.n_sessions]


def learn_categories(records: Iterable[CatalogItem], sessions: Sessions) -> CrossFitted:
    """Learn from at least one session."""
    category_of = {record.item_id: record.category for record in records if record.category}
    names = sorted(set(category_of.values()))
    places = {name: place for place, name in enumerate(names)}
    of_item = {item_id: places[category] for item_id, category in category_of.items()}
    session_of = np.repeat(np.arange(len(sessions)), np.diff(sessions.starts))
    block_of = np.arange(len(sessions)) * BLOCKS // len(sessions)
    buys = np.zeros(len(sessions), np.bool_)
    buys[session_of[sessions.event_types == EVENT_TYPE_CODES.index("purchase")]] = True
    pairs = _Pairs.of(sessions, session_of, of_item)

    def fitted(kept: NDArray[np.bool_], known: dict[ItemId, int]) -> Categories:
        return Categories(names, pairs.lifts(buys, kept, len(names)), known)

    by_block = list[Categories]()
    for block in range(BLOCKS):
        others = block_of != block
        clicked = np.unique(sessions.items[others[session_of] & (sessions.items >= 0)]).tolist()
        known = {item_id: of_item[item_id] for item in clicked if (item_id := sessions.item_ids[item]) in of_item}
        by_block.append(fitted(others, known))
    return CrossFitted(fitted(block_of >= 0, of_item), by_block, len(sessions))


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Each pair of a session and a category that it has an event of, once, (n_pairs,) each."""

    sessions: NDArray[np.int64]
    categories: NDArray[np.int64]

    @classmethod
    def of(cls, sessions: Sessions, session_of: NDArray[np.int64], of_item: dict[ItemId, int]) -> "_Pairs":
        """Find them; session_of: (n_events,)."""
        # An event without an item has the place -1, the last one.
        places = np.array([*(of_item.get(item_id, -1) for item_id in sessions.item_ids), -1], np.int64)
        categories = places[sessions.items]
        pairs = np.stack([session_of, categories])[:, categories >= 0]
        return cls(*np.unique(pairs, axis=1))

    def lifts(self, buys: NDArray[np.bool_], kept: NDArray[np.bool_], n_categories: int) -> list[float]:
        """Give those of the sessions that are `kept`; buys, kept: (n_sessions,)."""
        rate = (float(buys[kept].sum()) + 1) / (int(kept.sum()) + 2)
        mine = kept[self.sessions]
        n_sessions = np.bincount(self.categories[mine], minlength=n_categories)
        n_buyers = np.bincount(self.categories[mine], buys[self.sessions[mine]], minlength=n_categories)
        rates = (n_buyers + PRIOR_SESSIONS * rate) / (n_sessions + PRIOR_SESSIONS)
        lifts: list[float] = (np.log(rates / (1 - rates)) - np.log(rate / (1 - rate))).tolist()
        return lifts
