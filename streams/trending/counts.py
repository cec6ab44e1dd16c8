"""Decayed counts of the items of one place, at every half-life of a ladder; exact whatever the order of the views.

Forward decay (Cormode et al., ICDE 2009): a view at time t weighs 2^((t - landmark) / half_life), so nothing needs to
be decayed as time goes on; only when the weights grow large they are all scaled down and the landmark moves.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Final

import numpy as np
from msgspec import Meta, Struct
from numpy.typing import NDArray

from schemas.ids import ItemId
from schemas.times import LATEST_TIME_MS

HALF_LIVES_MS: Final = tuple(600_000 * 3**rung for rung in range(6))
"""10 min, 30 min, 1.5 h, 4.5 h, 13.5 h, 40.5 h: which of them tells best what comes next differs by shop and place."""
PUBLIC_VISITORS: Final = 3
"""Different visitors of an item at a place before anybody is told of it: one shopper's view is nobody's business."""
_GONE: Final = 2.0**-18
"""What a view counts after 30 days, at the longest half-life."""
_MAX_EXPONENT: Final = 500.0
_ENOUGH: Final = np.uint64(2**64 - 1)
_LONGEST: Final = len(HALF_LIVES_MS) - 1
_HALF_LIVES: Final = np.array(HALF_LIVES_MS, np.float64)

Floats = NDArray[np.float64]


class StoredCounts(Struct, frozen=True, array_like=True):
    """The counts of a place as they are stored; arrays are little-endian, row by row in the order of `items`.

    weights: float64, a column a half-life. visitors: uint64, two columns; see `PlaceCounts`.
    """

    landmark_ms: Annotated[int, Meta(le=LATEST_TIME_MS)]
    items: list[ItemId]
    weights: bytes
    visitors: bytes


class PlaceCounts:
    """Counts at most `max_items` items; the least viewed ones go when there are twice as many.

    Of an item with fewer than `PUBLIC_VISITORS` different visitors these are remembered, by a hash that is not 0.
    """

    def __init__(self, max_items: int) -> None:
        self._max_items = max_items
        self._landmark_ms = 0
        self._items: list[ItemId] = []
        self._rows: dict[ItemId, int] = {}
        self._weights = np.zeros((16, len(HALF_LIVES_MS)))
        self._visitors = np.zeros((16, PUBLIC_VISITORS - 1), np.uint64)
        self._is_public = bytearray()
        self._new_rows: list[int] = []
        self._new_times: list[int] = []

    def __len__(self) -> int:
        """Count the items."""
        return len(self._items)

    @property
    def items(self) -> Sequence[ItemId]:
        """Return the items, in the order of the rows of `at`."""
        return self._items

    def add(self, item_id: ItemId, time_ms: int, visitor: int) -> None:
        """Count a view, by a visitor's hash of 1 to 2^64 - 2; old ones weigh as little as their time says."""
        row = self._rows.get(item_id)
        if row is None:
            row = self._rows[item_id] = len(self._items)
            self._items.append(item_id)
            self._is_public.append(0)
            self._make_room(len(self._items))
        if not self._is_public[row]:
            self._note_visitor(row, visitor)
        self._new_rows.append(row)
        self._new_times.append(time_ms)

    def at(self, now_ms: int) -> Floats:
        """Return what each item's views count at `now_ms`: a row an item, a column a half-life."""
        self._settle()
        decay = np.exp2((self._landmark_ms - now_ms) / _HALF_LIVES)
        counts: Floats = self._weights[: len(self._items)] * decay
        return counts

    def is_public(self) -> NDArray[np.bool_]:
        """Return which items were viewed by `PUBLIC_VISITORS` different visitors."""
        return np.frombuffer(bytes(self._is_public), np.bool_)

    def forget(self, visitor: int) -> bool:
        """Forget that a visitor was one of the first of an item; returns whether it was one."""
        is_theirs = self._visitors == np.uint64(visitor)
        self._visitors[is_theirs] = 0
        return bool(is_theirs.any())

    def forget_old(self, now_ms: int) -> bool:
        """Forget who were the first visitors of items whose views are all as good as gone; returns whether one was."""
        is_old = (self.at(now_ms)[:, _LONGEST] < _GONE) & ~self.is_public()
        rows = np.flatnonzero(is_old & (self._visitors[: len(self._items)] != 0).any(axis=1))
        self._visitors[rows] = 0
        return bool(rows.size)

    def weight(self, now_ms: int) -> float:
        """Return what all views count at `now_ms`, at the longest half-life."""
        return float(self.at(now_ms)[:, _LONGEST].sum())

    def cut(self) -> None:
        """Let the least viewed items go, if there are too many."""
        if len(self._items) > 2 * self._max_items:
            self.keep(self._max_items)

    def keep(self, count: int) -> None:
        """Keep the `count` items that are viewed most, by the longest half-life; ties by item."""
        self._settle()
        weights = self._weights[: len(self._items), _LONGEST].tolist()
        order = sorted(range(len(self._items)), key=lambda row: (-weights[row], self._items[row]))[:count]
        rows = np.array(sorted(order), np.intp)
        self._items = [self._items[row] for row in rows.tolist()]
        self._rows = {item_id: row for row, item_id in enumerate(self._items)}
        self._weights, self._visitors = self._weights[rows], self._visitors[rows]
        self._is_public = bytearray(self._is_public[row] for row in rows.tolist())

    def stored(self) -> StoredCounts:
        """Return the counts as they are stored."""
        self._settle()
        rows = len(self._items)
        return StoredCounts(
            self._landmark_ms,
            list(self._items),
            self._weights[:rows].astype("<f8").tobytes(),
            self._visitors[:rows].astype("<u8").tobytes(),
        )

    @classmethod
    def restored(cls, stored: StoredCounts, max_items: int) -> "PlaceCounts":
        """Go on from what was stored; raises ValueError where its parts do not belong together."""
        counts = cls(max_items)
        rows = len(stored.items)
        weights: NDArray[Any] = np.frombuffer(stored.weights, "<f8").reshape(rows, len(HALF_LIVES_MS))
        visitors: NDArray[Any] = np.frombuffer(stored.visitors, "<u8").reshape(rows, PUBLIC_VISITORS - 1)
        if len(set(stored.items)) != rows or not (np.isfinite(weights).all() and (weights >= 0).all()):
            raise ValueError("the counts of a place are damaged")
        counts._landmark_ms = stored.landmark_ms
        counts._items = list(stored.items)
        counts._rows = {item_id: row for row, item_id in enumerate(stored.items)}
        counts._weights = weights.astype(np.float64)
        counts._visitors = visitors.astype(np.uint64)
        counts._is_public = bytearray((visitors == _ENOUGH).all(axis=1).astype(np.uint8).tobytes())
        return counts

    def _make_room(self, rows: int) -> None:
        if rows > len(self._weights):
            more = max(16, len(self._weights))
            self._weights = np.concatenate([self._weights, np.zeros((more, self._weights.shape[1]))])
            self._visitors = np.concatenate([self._visitors, np.zeros((more, self._visitors.shape[1]), np.uint64)])

    def _note_visitor(self, row: int, visitor: int) -> None:
        known = self._visitors[row].tolist()
        if visitor in known:
            return
        if 0 in known:
            self._visitors[row, known.index(0)] = visitor
        else:
            self._visitors[row] = _ENOUGH
            self._is_public[row] = 1

    def _settle(self) -> None:
        """Add up the views that came since."""
        if not self._new_rows:
            return
        rows, times = np.array(self._new_rows, np.intp), np.array(self._new_times, np.float64)
        self._new_rows, self._new_times = [], []
        newest = int(times.max())
        if not self._landmark_ms:
            self._landmark_ms = newest
        if (newest - self._landmark_ms) / HALF_LIVES_MS[0] > _MAX_EXPONENT:
            self._weights *= np.exp2((self._landmark_ms - newest) / _HALF_LIVES)
            self._landmark_ms = newest
        np.add.at(self._weights, rows, np.exp2((times[:, None] - self._landmark_ms) / _HALF_LIVES))
