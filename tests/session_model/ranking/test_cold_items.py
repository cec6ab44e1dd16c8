"""Cold items stand on what is like them: in a prefix, and in a list."""

from pathlib import Path

import numpy as np
import pytest

from schemas.ids import ItemId, ItemIndex
from schemas.ranking import Candidates
from schemas.records import CatalogItem
from session_model.ranking.cold_items import COLD_PER_ITEM, ColdItems, Discounts
from session_model.ranking.content import ContentIndex
from session_model.ranking.likeness import Likeness

COUNTS = np.array([0, 9, 8, 7, 3])
"""Clicks of the items 1 to 4: the last one is cold."""
LIST = Candidates(np.array([2, 1, 3], np.int32), np.array([0.6, 0.3, 0.1], np.float32))


def described(item_id: str, title: str) -> CatalogItem:
    """Describe an item by its title."""
    return CatalogItem(item_id=ItemId(item_id), title=title)


RECORDS = [
    described("1", "boot"),
    described("2", "hat"),
    described("3", "scarf"),
    described("4", "boot"),
    described("new hat", "hat"),
    described("nothing like it", "car"),
    described("hat and boot", "hat boot"),
]


def index_of(item_id: ItemId) -> ItemIndex | None:
    """Know the items 1 to 4."""
    return ItemIndex(int(item_id)) if item_id.isdecimal() else None


def like(records: list[CatalogItem], counts: "np.ndarray[tuple[int], np.dtype[np.int64]]" = COUNTS) -> Likeness:
    """Compare by what the records say."""
    return Likeness(ContentIndex.fit(records, index_of, counts), None, index_of, counts)


def cold_items(discounts: Discounts, counts: "np.ndarray[tuple[int], np.dtype[np.int64]]" = COUNTS) -> ColdItems:
    """Fit on the records."""
    return ColdItems.fit(like(RECORDS, counts), RECORDS, index_of, counts).with_discounts(discounts)


def listed(cold: ColdItems, k: int = 10) -> dict[int, float]:
    """Return the scores of `LIST` with the cold items."""
    found = cold.listed(LIST, k)
    return dict(zip(found.item_indices.tolist(), found.scores.tolist(), strict=True))


def test_a_cold_item_is_read_as_the_one_most_like_it() -> None:
    """The indices go on where the vocabulary ends; an item that is like nothing has none."""
    cold = cold_items(Discounts(0, 0, 0))
    assert cold.item_ids == ("new hat", "hat and boot")
    assert cold.stand_in(ItemId("new hat")) == 2
    assert cold.index_of(ItemId("new hat")) == 5
    assert cold.index_of(ItemId("hat and boot")) == 6
    assert cold.stand_in(ItemId("nothing like it")) is cold.index_of(ItemId("nothing like it")) is None


def test_a_cold_item_scores_what_its_nearest_score() -> None:
    """Discount times the mean of its nearest; `hat and boot` stands on both alike."""
    scores = listed(cold_items(Discounts(new=0, unclicked=0.5, few_clicks=0.25)))
    assert scores == pytest.approx(
        {2: 0.6, 1: 0.3, 5: 0.5 * 0.6, 6: 0.5 * (0.6 + 0.3) / 2, 3: 0.1, 4: 0.25 * 0.3}, abs=1e-6
    )


def test_without_a_discount_a_kind_is_not_listed() -> None:
    """Nothing is listed that was not asked for, and the list is the very same where nothing is."""
    assert cold_items(Discounts(1, 0, 0)).listed(LIST, 10) is LIST
    assert set(listed(cold_items(Discounts(0, 0, 1)))) == {1, 2, 3, 4}


def test_a_cold_item_in_the_list_keeps_the_higher_score() -> None:
    """Few clicks taught something: what they say counts where it is more."""
    cold = cold_items(Discounts(0, 0, 1.0))
    found = cold.listed(Candidates(np.array([1, 4], np.int32), np.array([0.6, 0.4], np.float32)), 10)
    assert found.item_indices.tolist() == [1, 4]
    assert found.scores.tolist() == pytest.approx([0.6, 0.6])
    found = cold.listed(Candidates(np.array([4, 1], np.int32), np.array([0.6, 0.4], np.float32)), 10)
    assert found.scores.tolist() == pytest.approx([0.6, 0.4])


def test_the_list_stays_as_long_as_asked_for() -> None:
    """The best `k`, cold or not."""
    assert list(listed(cold_items(Discounts(0, 0.9, 0)), k=2)) == [2, 5]


def test_new_items_join_those_of_the_release() -> None:
    """They get the next indices, and the discount of new items."""
    cold = cold_items(Discounts(new=0.75, unclicked=0.5, few_clicks=0))
    fresh = ColdItems.fit(like(RECORDS), [described("scarf II", "scarf")], index_of, COUNTS)
    both = cold.joined_by_new(fresh)
    assert both.index_of(ItemId("scarf II")) == 7
    assert both.stand_in(ItemId("scarf II")) == 3
    assert both.item_ids[-1] == "scarf II"
    assert listed(both)[7] == pytest.approx(0.075)
    assert listed(both)[5] == pytest.approx(0.3)


def test_items_counted_as_new_are_new() -> None:
    """Clicks below 0 say that training did not have the item: so its place among the new ones can be learned."""
    counts = np.array([0, 9, 8, -1, 3])
    records = [*RECORDS, described("scarf", "hat scarf")]
    cold = ColdItems.fit(like(records, counts), [described("3", "hat")], index_of, counts)
    assert listed(cold.with_discounts(Discounts(0.5, 0, 0))) == pytest.approx({2: 0.6, 1: 0.3, 3: 0.3})


def test_a_list_is_made_in_bounded_time() -> None:
    """Of the many that stand on one item only the best may be listed; unwanted stock keeps no new item out."""
    records = [described("1", "boot"), *(described(f"boot {n}", "boot") for n in range(COLD_PER_ITEM + 30))]
    likeness = like(records)
    cold = ColdItems.fit(likeness, records, index_of, COUNTS).with_discounts(Discounts(0, 1, 0))
    assert len(cold.listed(LIST, 1000)) == len(LIST) + COLD_PER_ITEM
    fresh = ColdItems.fit(likeness, [described("fresh", "boot")], index_of, COUNTS)
    both = cold.joined_by_new(fresh).with_discounts(Discounts(new=1, unclicked=0.9, few_clicks=0))
    assert len(both.listed(LIST, 1000)) == len(LIST) + COLD_PER_ITEM
    assert both.index_of(ItemId("fresh")) in both.listed(LIST, 1000).item_indices


def test_what_is_loaded_is_what_was_saved(tmp_path: Path) -> None:
    """Names, discounts and lists; a vocabulary of another size is refused."""
    cold = cold_items(Discounts(0.1, 0.2, 0.3))
    cold.save(tmp_path / "cold_items")
    loaded = ColdItems.load(tmp_path / "cold_items", 4)
    assert (loaded.item_ids, loaded.discounts, listed(loaded)) == (cold.item_ids, cold.discounts, listed(cold))
    with pytest.raises(ValueError, match="belong to another vocabulary"):
        ColdItems.load(tmp_path / "cold_items", 3)
