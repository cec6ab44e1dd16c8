from schemas.ids import ItemId
from serving.fakes import FakeCatalog
from serving.rules.facts import CatalogFacts

CATALOG = FakeCatalog(
    categories={"a": "food"}, groups={"a": "red"}, on_sale={"a": "nl", "b": None}, since_ms={"a": 1_000, "b": 3_000}
)


def test_facts_are_those_of_the_catalog_there_and_then() -> None:
    """A sale is one of a place, an age one of a moment; of what nobody described nothing is known."""
    here, elsewhere = CatalogFacts(CATALOG, "nl", 2_000), CatalogFacts(CATALOG, "be", 2_000)
    known = [(one.category(ItemId("a")), one.variant_group(ItemId("a"))) for one in (here, elsewhere)]
    assert known == [("food", "red")] * 2
    assert [here.is_on_sale(ItemId(item)) for item in "abc"] == [True, True, False]
    assert [elsewhere.is_on_sale(ItemId(item)) for item in "abc"] == [False, True, False]
    assert [here.age_ms(ItemId(item)) for item in "abc"] == [1_000, -1_000, None]
