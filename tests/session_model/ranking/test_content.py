"""Which items are alike by what the shop says of them."""

import time
from pathlib import Path

import numpy as np
import pytest

from schemas.ids import ItemId, ItemIndex
from schemas.records import CatalogItem
from session_model.ranking.content import WELL_KNOWN_CLICKS, ContentIndex

COUNTS = np.array([0, 9, 8, 7, 6, 4])


def item(number: int, category: str | None = None, title: str | None = None, price: float | None = None) -> CatalogItem:
    """Describe an item."""
    return CatalogItem(item_id=ItemId(str(number)), category=category, title=title, price=price)


RECORDS = [
    item(1, "shoes.men", "Red leather boot", 90.0),
    item(2, "shoes.women", "Blue suede boot", 95.0),
    item(3, "hats", "Red felt hat", 30.0),
    item(4, "hats", "Straw hat", 10.0),
    item(5, "hats", "Red felt hat", 30.0),
]


def index_of(item_id: ItemId) -> ItemIndex | None:
    """Know the items 1 to 5."""
    return ItemIndex(int(item_id)) if int(item_id) < len(COUNTS) else None


@pytest.fixture(scope="module")
def content() -> ContentIndex:
    """Index four well-known items and one that is not."""
    return ContentIndex.fit(RECORDS, index_of, COUNTS)


def nearest(content: ContentIndex, record: CatalogItem, k: int = 10) -> list[int]:
    """List the indices."""
    return content.nearest(record, k).item_indices.tolist()


def test_category_title_and_price_decide(content: ContentIndex) -> None:
    """The more is alike, the nearer; what shares nothing is not there."""
    assert nearest(content, item(9, "hats", "Felt hat", 28.0)) == [3, 4]
    assert nearest(content, item(9, "hats", "Hat", 11.0))[0] == 4
    assert nearest(content, item(9, None, "red boot")) == [1, 2, 3]
    assert nearest(content, item(9, "hats", "Felt hat", 28.0), k=1) == [3]


def test_of_equals_the_more_clicked_is_first(content: ContentIndex) -> None:
    """A bare category finds its items in the order of the vocabulary."""
    found = content.nearest(item(9, "hats"), 10)
    assert found.item_indices.tolist() == [3, 4]
    assert found.scores[0] == found.scores[1]


def test_a_category_is_like_its_siblings(content: ContentIndex) -> None:
    """Parents of a category count, less than itself."""
    assert nearest(content, item(9, "shoes.men")) == [1, 2]
    assert nearest(content, item(9, "Shoes / Kids")) == [1, 2]


def test_a_rarer_word_says_more() -> None:
    """Three items are `red` and one is `felt`."""
    records = [item(1, title="red"), item(2, title="red"), item(3, title="red"), item(4, title="felt")]
    content = ContentIndex.fit(records, index_of, COUNTS)
    assert nearest(content, item(9, title="red felt"))[0] == 4


def test_similarities_are_what_the_formula_says(content: ContentIndex) -> None:
    """An item is like its twin by all of category and title, and by the price bonus."""
    (similarity,) = content.nearest(item(9, "hats", "Red felt hat", 30.0), 1).scores.tolist()
    assert similarity == pytest.approx(0.4 + 0.4 + 0.2)
    (dearer,) = content.nearest(item(9, "hats", "Red felt hat", 30.0 * np.e), 1).scores.tolist()
    assert dearer == pytest.approx(0.4 + 0.4 + 0.2 * np.exp(-1 / 0.5))


def test_little_known_items_are_not_found(content: ContentIndex) -> None:
    """The twin with too few clicks answers for nobody."""
    assert COUNTS[5] < WELL_KNOWN_CLICKS
    assert 5 not in nearest(content, RECORDS[4])


@pytest.mark.parametrize("record", [item(9), item(9, price=30.0), item(9, "cars", "unheard"), item(9, title="?!")])
def test_without_anything_in_common_there_is_nothing(content: ContentIndex, record: CatalogItem) -> None:
    """A price alone is no content, nor are words and categories that no item has."""
    assert nearest(content, record) == []


def test_variants_are_alike() -> None:
    """A variant group joins what has neither title nor category."""
    variants = [CatalogItem(item_id=ItemId(str(n)), variant_group=f"g{n % 2}") for n in (1, 2, 3)]
    content = ContentIndex.fit(variants, index_of, COUNTS)
    assert nearest(content, CatalogItem(item_id=ItemId("9"), variant_group="g1")) == [1, 3]


def test_what_is_loaded_is_what_was_saved(content: ContentIndex, tmp_path: Path) -> None:
    """The same neighbours with the same scores; another file is refused."""
    content.save(tmp_path / "content.npz")
    loaded, asked = ContentIndex.load(tmp_path / "content.npz"), item(9, "hats", "Red boot", 40.0)
    assert loaded.nearest(asked, 9).scores.tolist() == content.nearest(asked, 9).scores.tolist()
    np.savez(tmp_path / "other.npz", tokens=np.zeros(1))
    with pytest.raises(KeyError):
        ContentIndex.load(tmp_path / "other.npz")


def test_positions_that_lead_astray_are_refused(content: ContentIndex, tmp_path: Path) -> None:
    """An item beyond the vocabulary would be read from other memory, or not at all."""
    content.save(tmp_path / "content.npz")
    with np.load(tmp_path / "content.npz") as file:
        arrays = {name: file[name] for name in file.files}
    np.savez(tmp_path / "content.npz", **{**arrays, "items": arrays["items"] + 99})
    with pytest.raises(ValueError, match="do not fit together"):
        ContentIndex.load(tmp_path / "content.npz")


def test_a_look_up_among_many_items_is_quick() -> None:
    """Five thousand items of one category, five words each of three hundred: well under ten milliseconds a look-up."""
    rng, n_items = np.random.default_rng(1), 5_000
    words = rng.integers(0, 300, (n_items, 5))
    titles = [" ".join(f"w{word}" for word in row) for row in words.tolist()]
    records = [item(number, "one", title, 5.0) for number, title in enumerate(titles, 1)]
    content = ContentIndex.fit(records, lambda item_id: ItemIndex(int(item_id)), np.full(n_items + 1, 9))
    started = time.process_time()
    for record in records[:100]:
        assert len(content.nearest(record, 10)) == 10
    assert (time.process_time() - started) / 100 < 0.01
