"""Items with no or few clicks, each standing on the well-known items most like it by content.

An item that training never saw is read as the nearest of them. In a list, a cold item scores a discount times the mean
score that its nearest have in that very list (docs/adr/0006).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.ids import ItemId, ItemIndex
from schemas.ranking import Candidates
from schemas.records import CatalogItem
from session_model.csr import flat_positions, starts_of, sums_by_group
from session_model.ranking.content import WELL_KNOWN_CLICKS
from session_model.ranking.likeness import Likeness, weights_of
from session_model.ranking.top_k import top_k

NEAREST: Final = 10
"""Well-known items that a cold one stands on."""
COLD_PER_ITEM: Final = 10
"""Cold items that may be listed for the one they stand on, the best first: so a list is made in bounded time."""
_ITEMS_FILE, _ARRAYS_FILE = "items.json", "nearest.npz"


class Discounts(msgspec.Struct, frozen=True):
    """What scores of cold items are multiplied with; 0 = not listed.

    new: items that the catalog did not have in training. unclicked: items that it had and nobody clicked.
    few_clicks: items with fewer clicks than make one well known.
    """

    new: float
    unclicked: float
    few_clicks: float


NOT_LISTED: Final = Discounts(0.0, 0.0, 0.0)
_NEW, _UNCLICKED, _FEW_CLICKS = range(3)


class _Items(msgspec.Struct, frozen=True):
    item_ids: list[ItemId]
    discounts: Discounts


@dataclass(frozen=True, slots=True)
class _Rows:
    """One row a cold item.

    indices: (n,) int32 `ItemIndex`. kinds: (n,) uint8, place in `Discounts`. nearest: (n, NEAREST) int32 `ItemIndex`,
    best first, 0 where there are fewer. weights: (n, NEAREST) float32, in each row they sum to 1.
    """

    indices: NDArray[np.int32]
    kinds: NDArray[np.uint8]
    nearest: NDArray[np.int32]
    weights: NDArray[np.float32]


class ColdItems:
    """The cold items of a release. Immutable: safe to share between threads.

    item_ids: those outside the vocabulary, named by the indices `n_known` + 1 and up.
    """

    def __init__(self, rows: _Rows, item_ids: Sequence[ItemId], n_known: int, discounts: Discounts) -> None:
        self.item_ids = tuple(item_ids)
        self.discounts = discounts
        self._rows = rows
        self._n_known = n_known
        self._indices = {item_id: ItemIndex(n_known + place) for place, item_id in enumerate(item_ids, start=1)}
        row_of = dict(zip(rows.indices.tolist(), range(len(rows.indices)), strict=True))
        self._stand_ins = {
            item_id: ItemIndex(int(rows.nearest[row_of[index], 0])) for item_id, index in self._indices.items()
        }
        discount = np.array(msgspec.structs.astuple(discounts))[rows.kinds]
        self._starts, self._cold, self._shares = _postings(rows, discount, n_known)

    @classmethod
    def fit(
        cls,
        likeness: Likeness,
        records: Iterable[CatalogItem],
        index_of: Callable[[ItemId], ItemIndex | None],
        counts: NDArray[np.int64],
    ) -> "ColdItems":
        """Take the `records` of items with too few clicks to be well known and with content that others share.

        counts: (n_items + 1,) int64, clicks in training; below 0 = the item is new since. None is listed before it has
        discounts.
        """
        n_known, item_ids, taken = len(counts) - 1, list[ItemId](), list[tuple[int, int, Candidates]]()
        seen = set[ItemId]()
        for record in records:
            index = index_of(record.item_id)
            if record.item_id in seen or (index is not None and counts[index] >= WELL_KNOWN_CLICKS):
                continue
            seen.add(record.item_id)
            found = likeness.nearest(record, NEAREST)
            if not len(found):
                continue
            if index is None:
                item_ids.append(record.item_id)
                index = ItemIndex(n_known + len(item_ids))
            taken.append((index, _kind(int(counts[index]) if index <= n_known else 0), found))
        return cls(_rows(taken), item_ids, n_known, NOT_LISTED)

    def n_of_kind(self, kind: str, items: NDArray[np.int64]) -> int:
        """Count how many of `items` (n,) `ItemIndex` are cold ones of a kind, a name in `Discounts`."""
        of_kind = self._rows.indices[self._rows.kinds == Discounts.__struct_fields__.index(kind)]
        return int(np.isin(items, of_kind).sum())

    def with_discounts(self, discounts: Discounts) -> "ColdItems":
        """Return the same items, listed by `discounts`."""
        return ColdItems(self._rows, self.item_ids, self._n_known, discounts)

    def joined_by_new(self, others: "ColdItems") -> "ColdItems":
        """Return these items and, as new ones, those of `others`; none of them is among these or in the vocabulary."""
        shifted = others._rows.indices + np.int32(len(self.item_ids))  # noqa: SLF001 - of this very class
        theirs = replace(others._rows, indices=shifted)  # noqa: SLF001
        ours = self._rows
        rows = _Rows(
            np.concatenate([ours.indices, theirs.indices]),
            np.concatenate([ours.kinds, np.full(len(theirs.kinds), _NEW, np.uint8)]),
            np.concatenate([ours.nearest, theirs.nearest]),
            np.concatenate([ours.weights, theirs.weights]),
        )
        return ColdItems(rows, [*self.item_ids, *others.item_ids], self._n_known, self.discounts)

    def index_of(self, item_id: ItemId) -> ItemIndex | None:
        """Return the index of an item outside the vocabulary; None for one without content."""
        return self._indices.get(item_id)

    def stand_in(self, item_id: ItemId) -> ItemIndex | None:
        """Return the well-known item that is most like one outside the vocabulary."""
        return self._stand_ins.get(item_id)

    def listed(self, ranking: Candidates, k: int) -> Candidates:
        """Let cold items into `ranking`; the `k` best. One that is in it keeps the higher of its scores."""
        lengths = self._starts[ranking.item_indices + 1] - self._starts[ranking.item_indices]
        places = flat_positions(self._starts[ranking.item_indices], lengths)
        if not len(places):
            return ranking
        rows, which = np.unique(self._cold[places], return_inverse=True)
        contributions = np.repeat(ranking.scores.astype(np.float64), lengths) * self._shares[places]
        scores = sums_by_group(which, contributions, len(rows))
        items, which = np.unique(np.concatenate([ranking.item_indices, self._rows.indices[rows]]), return_inverse=True)
        best = np.zeros(len(items))
        np.maximum.at(best, which, np.concatenate([ranking.scores, scores]))
        return top_k(items, best, k)

    def save(self, folder: Path) -> None:
        """Write names, discounts and arrays into a new folder."""
        folder.mkdir()
        (folder / _ITEMS_FILE).write_bytes(msgspec.json.encode(_Items(list(self.item_ids), self.discounts)))
        rows = self._rows
        arrays: dict[str, Any] = {"indices": rows.indices, "kinds": rows.kinds, "nearest": rows.nearest}
        with (folder / _ARRAYS_FILE).open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays, weights=rows.weights)

    @classmethod
    def load(cls, folder: Path, n_known: int) -> "ColdItems":
        """Read what `save` wrote for a vocabulary of `n_known` items; raises ValueError or KeyError on other files."""
        items = msgspec.json.decode((folder / _ITEMS_FILE).read_bytes(), type=_Items)
        with np.load(folder / _ARRAYS_FILE, allow_pickle=False) as file:
            rows = _Rows(file["indices"], file["kinds"], file["nearest"], file["weights"])
        n_rows = len(rows.indices)
        expected = set(range(n_known + 1, n_known + len(items.item_ids) + 1))
        is_sound = (
            rows.nearest.shape == rows.weights.shape == (n_rows, NEAREST)
            and rows.kinds.shape == (n_rows,)
            and bool(np.all(rows.kinds <= _FEW_CLICKS))
            and bool(np.isfinite(rows.weights).all())
            and len(set(items.item_ids)) == len(items.item_ids)
            and {index for index in rows.indices.tolist() if index > n_known} == expected
            and (not n_rows or (rows.nearest.min() >= 0 and rows.nearest.max() <= n_known and rows.indices.min() > 0))
        )
        if not is_sound:
            raise ValueError("the cold items do not fit together, or belong to another vocabulary")
        return cls(rows, items.item_ids, n_known, items.discounts)


def _kind(clicks: int) -> int:
    return _NEW if clicks < 0 else _UNCLICKED if clicks == 0 else _FEW_CLICKS


def _rows(taken: Sequence[tuple[int, int, Candidates]]) -> _Rows:
    nearest, weights = np.zeros((len(taken), NEAREST), np.int32), np.zeros((len(taken), NEAREST), np.float32)
    for row, (_, _, found) in enumerate(taken):
        nearest[row, : len(found)] = found.item_indices
        weights[row, : len(found)] = weights_of(found)
    indices = np.array([index for index, _, _ in taken], np.int32)
    return _Rows(indices, np.array([kind for _, kind, _ in taken], np.uint8), nearest, weights)


def _postings(
    rows: _Rows, discount: NDArray[np.float64], n_known: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Turn the rows round: by well-known item, the rows that stand on it and what share of its score they get.

    Of more than `COLD_PER_ITEM` with the same share the latest described stay.
    """
    anchors, shares = rows.nearest.ravel(), (rows.weights * discount[:, np.newaxis]).ravel()
    cold = np.repeat(np.arange(len(rows.indices)), NEAREST)
    anchors, shares, cold = anchors[shares > 0], shares[shares > 0], cold[shares > 0]
    order = np.lexsort((-cold, -shares, anchors))
    lengths = np.bincount(anchors, minlength=n_known + 1).astype(np.int64)
    kept = np.minimum(lengths, COLD_PER_ITEM)
    best = order[flat_positions(starts_of(lengths)[:-1], kept)]
    return starts_of(kept), cold[best], shares[best]
