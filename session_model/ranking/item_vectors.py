"""Vectors of items, as a release keeps them: of a shop's own model of texts or pictures, reduced."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.ids import ItemId, ItemIndex

DIMENSIONS: Final = 64
"""At most: those in which a shop's items differ most."""
_VECTORS_FILE, _ITEMS_FILE = "vectors.npy", "items.json"


class _Items(msgspec.Struct, frozen=True):
    item_ids: list[ItemId]
    share: float


class ItemVectors:
    """One vector an item. Immutable: safe to share between threads.

    vectors: (n_known + len(item_ids), at most `DIMENSIONS`) float16, of unit length, zeros where there is none. First
    those of the vocabulary by `ItemIndex`, from 1, then those of `item_ids`, which nobody clicked in training.
    share: of the likeness of two items that their vectors decide, 0 to 1; the rest is the catalog's.
    """

    def __init__(self, vectors: NDArray[np.float16], item_ids: Sequence[ItemId], share: float) -> None:
        self.item_ids = tuple(item_ids)
        self.share = share
        self._vectors = vectors
        n_known = len(vectors) - len(self.item_ids)
        self._rows = {item_id: row for row, item_id in enumerate(self.item_ids, start=n_known)}

    def with_share(self, share: float) -> "ItemVectors":
        """Return the same vectors with another share."""
        return ItemVectors(self._vectors, self.item_ids, share)

    def of(self, item_id: ItemId, index: ItemIndex | None) -> NDArray[np.float32] | None:
        """Return an item's vector, (n_dimensions,); `index` is its place in the vocabulary, if it has one."""
        row = self._rows.get(item_id) if index is None else index - 1
        if row is None or not self._vectors[row].any():
            return None
        return np.asarray(self._vectors[row], np.float32)

    def of_known(self, indices: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return the vectors of items of the vocabulary, (n, n_dimensions), zeros where there is none."""
        return self._vectors[indices - 1].astype(np.float32)

    def save(self, folder: Path) -> None:
        """Write the array and the names beyond the vocabulary into a new folder."""
        folder.mkdir()
        np.save(folder / _VECTORS_FILE, self._vectors, allow_pickle=False)
        (folder / _ITEMS_FILE).write_bytes(msgspec.json.encode(_Items(list(self.item_ids), self.share)))

    @classmethod
    def load(cls, folder: Path, n_known: int) -> "ItemVectors":
        """Map what `save` wrote for a vocabulary of `n_known` items; raises ValueError on other files."""
        items = msgspec.json.decode((folder / _ITEMS_FILE).read_bytes(), type=_Items)
        vectors = np.load(folder / _VECTORS_FILE, mmap_mode="r", allow_pickle=False)
        is_sound = (
            vectors.dtype == np.float16
            and vectors.ndim == 2
            and len(vectors) == n_known + len(items.item_ids)
            and vectors.shape[1] <= DIMENSIONS
            and len(set(items.item_ids)) == len(items.item_ids)
            and 0 <= items.share <= 1
            and bool(np.isfinite(vectors).all())
        )
        if not is_sound:
            raise ValueError("the item vectors do not fit together, or belong to another vocabulary")
        return cls(vectors, items.item_ids, items.share)
