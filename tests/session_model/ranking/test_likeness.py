"""Items are alike by what the catalog says, by their vectors, or by both."""

import numpy as np

from schemas.ids import ItemId, ItemIndex
from schemas.records import CatalogItem
from session_model.ranking.content import ContentIndex
from session_model.ranking.item_vectors import ItemVectors
from session_model.ranking.likeness import Likeness

COUNTS = np.array([0, 9, 8, 7, 2])
"""Clicks of the items 1 to 4: the last one is not well known."""
RECORDS = [CatalogItem(item_id=ItemId(str(n)), title=title) for n, title in enumerate(("boot", "hat", "hat"), start=1)]
VECTORS = ItemVectors(
    np.array([[1, 0], [0.8, 0.6], [0, 1], [1, 0], [0.6, 0.8], [-1, 0]], np.float16),
    [ItemId("new"), ItemId("odd")],
    1.0,
)


def index_of(item_id: ItemId) -> ItemIndex | None:
    """Know the items 1 to 4."""
    return ItemIndex(int(item_id)) if item_id.isdecimal() else None


def nearest(item: str, title: str | None, share: float, vectors: ItemVectors | None = VECTORS) -> list[int]:
    """Rank what is like an item."""
    content = ContentIndex.fit(RECORDS, index_of, COUNTS)
    likeness = Likeness(content, vectors, index_of, COUNTS).with_share(share)
    return likeness.nearest(CatalogItem(item_id=ItemId(item), title=title), 3).item_indices.tolist()


def test_vectors_decide_their_share() -> None:
    """By its title the new item is a hat, by its vector it lies between 2 and 3."""
    assert nearest("new", "hat", 0.0) == [2, 3]
    assert nearest("new", "boot", 0.0) == [1]
    assert nearest("new", "boot", 1.0) == [2, 3, 1]
    assert nearest("new", "boot", 0.2) == [1, 2, 3]


def test_what_only_one_of_both_knows_is_compared_by_it_alone() -> None:
    """No word, no vector, neither."""
    assert nearest("new", None, 0.0) == [2, 3, 1]
    assert nearest("other", "hat", 1.0) == [2, 3]
    assert nearest("new", "hat", 1.0, vectors=None) == [2, 3]
    assert nearest("other", None, 0.5) == []


def test_what_is_like_nothing_finds_nothing() -> None:
    """A direction that no well-known item has."""
    assert nearest("odd", None, 1.0) == []


def test_an_item_that_is_not_well_known_is_not_found() -> None:
    """4 has the vector of 1, and too few clicks to answer in its place."""
    assert nearest("4", None, 1.0) == [1, 2]
