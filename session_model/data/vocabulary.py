"""The two-way map between the shop's item ids and the model's indices."""

from collections.abc import Iterable

from schemas.ids import ItemId, ItemIndex


class Vocabulary:
    """Items of one release. Index 0 is padding; the items are 1 to `len(self)`."""

    def __init__(self, item_ids: Iterable[ItemId]) -> None:
        self._item_ids = tuple(item_ids)
        self._indices = {item_id: ItemIndex(i) for i, item_id in enumerate(self._item_ids, start=1)}
        if len(self._indices) != len(self._item_ids):
            raise ValueError("a vocabulary names each item once; the list given has duplicates")

    def __len__(self) -> int:
        """Count the items, padding not included."""
        return len(self._item_ids)

    @property
    def item_ids(self) -> tuple[ItemId, ...]:
        """All items, that of index 1 first."""
        return self._item_ids

    def index_of(self, item_id: ItemId) -> ItemIndex | None:
        """Return the index of `item_id`; None for an item the release has never seen."""
        return self._indices.get(item_id)

    def indices_of(self, item_ids: Iterable[ItemId]) -> list[ItemIndex | None]:
        """Return the index of each, as `index_of` does."""
        return list(map(self._indices.get, item_ids))

    def item_id(self, index: ItemIndex) -> ItemId:
        """Return the item at `index`; raises IndexError outside 1..len(self)."""
        if not 1 <= index <= len(self._item_ids):
            raise IndexError(f"item index {index} is outside 1..{len(self._item_ids)}")
        return self._item_ids[index - 1]
