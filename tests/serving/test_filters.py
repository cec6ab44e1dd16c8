import numpy as np

from schemas.ids import ItemId
from schemas.ranking import Candidates
from schemas.records import RecommendedItem
from serving.fakes import FakeCatalog
from serving.filters import FilterRules, allowed_items, at_most_of_category, may_be_listed, named, top_k

RANKED = [RecommendedItem(ItemId(name), 1.0 - place / 10) for place, name in enumerate("abcdef")]


NOW_MS = 1_700_000_000_000


def allowed(catalog: FakeCatalog, *, location: str | None = None, bought: str = "", excluded: str = "") -> str:
    """Filter a, b, c, d, e, f and join what is left."""
    rules = FilterRules(location, NOW_MS, frozenset(map(ItemId, bought)), frozenset(map(ItemId, excluded)))
    return "".join(item.item_id for item in allowed_items(RANKED, rules, catalog))


def test_nothing_to_filter_keeps_order_and_scores() -> None:
    """Without rules every item passes unchanged."""
    rules = FilterRules(None, NOW_MS, frozenset(), frozenset())
    assert list(allowed_items(RANKED, rules, FakeCatalog())) == RANKED


def test_unavailable_items_go() -> None:
    """What the catalog does not allow is left out."""
    assert allowed(FakeCatalog(unavailable={"a", "d"})) == "bcef"


def test_availability_depends_on_the_location() -> None:
    """An item sold in one place is left out elsewhere."""
    catalog = FakeCatalog(only_at={"b": "berlin"})
    assert allowed(catalog, location="berlin") == "abcdef"
    assert allowed(catalog, location="paris") == "acdef"


def test_availability_depends_on_the_moment() -> None:
    """At its end an item is left out, a millisecond before it is not."""
    assert allowed(FakeCatalog(ends={"b": NOW_MS, "c": NOW_MS + 1})) == "acdef"


def test_bought_and_excluded_items_go() -> None:
    """What was bought or is excluded for everybody is left out."""
    assert allowed(FakeCatalog(), bought="ce", excluded="a") == "bdf"


def test_one_item_of_a_variant_group_stays() -> None:
    """Of two variants the better-ranked one stays."""
    assert allowed(FakeCatalog(groups={"b": "shirt", "d": "shirt", "e": "shoe"})) == "abcef"


def test_variants_of_bought_items_go() -> None:
    """A variant of what was bought is left out, even where the bought item itself is not ranked."""
    assert allowed(FakeCatalog(groups={"z": "shirt", "d": "shirt"}), bought="z") == "abcef"


def test_a_variant_that_was_filtered_does_not_block_its_group() -> None:
    """Where the better-ranked variant is unavailable the next one takes its place."""
    assert allowed(FakeCatalog(groups={"b": "shirt", "d": "shirt"}, unavailable={"b"})) == "acdef"


def test_top_k_looks_at_no_more_than_it_needs() -> None:
    """The candidates after the k-th allowed one are not touched."""
    candidates = iter(RANKED)
    assert [item.item_id for item in top_k(candidates, 2)] == ["a", "b"]
    assert next(candidates).item_id == "c"


def test_named_keeps_the_order_and_stops() -> None:
    """Names are looked up for the first candidates only."""
    candidates = Candidates(np.array([7, 3, 5], np.int32), np.array([3, 2, 1], np.float32))
    looked_up: list[int] = []

    def item_id(index: int) -> ItemId:
        looked_up.append(index)
        return ItemId(f"i{index}")

    items = list(named(candidates, item_id, at_most=2, trained_items=5))
    assert items == [RecommendedItem(ItemId("i7"), 3.0, source="new"), RecommendedItem(ItemId("i3"), 2.0)]
    assert looked_up == [7, 3]
    assert {type(item.score) for item in items} == {float}


def test_a_category_has_so_many_places_while_others_are_left() -> None:
    """Beyond them its items come behind all others, in their order; what has no category is held to nothing."""
    catalog = FakeCatalog(categories={"a": "x", "b": "x", "c": "x", "e": "x", "d": "y"})
    held = at_most_of_category(iter(RANKED), catalog.category, 2)
    assert "".join(item.item_id for item in held) == "abdfce"


def test_what_may_be_listed_is_what_the_filter_lets_through() -> None:
    """For whoever makes a list otherwise than in the order of a ranking: variants are told apart by the list alone."""
    catalog = FakeCatalog(unavailable={"a"}, only_at={"b": "berlin"}, groups={"c": "red", "d": "red", "e": "blue"})
    rules = FilterRules("paris", NOW_MS, frozenset({ItemId("c")}), frozenset({ItemId("f")}))
    tells = may_be_listed(rules, catalog)
    assert [item for item in "abcdefg" if tells(ItemId(item))] == ["e", "g"]
