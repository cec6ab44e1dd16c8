"""What rules make of a list follows the catalog, the clock and the rules, whatever was made of the items before."""

from typing import Any

import pytest

from agents.settings import Settings
from agents.wiring import described_catalog, described_rules
from schemas import wire
from schemas.ids import ItemId
from schemas.records import CatalogItem, Sale
from serving.filters import FilterRules, may_be_listed
from serving.rules.book import Asked
from serving.rules.facts import CatalogFacts
from serving.rules.placing import Listing, place
from tests.serving.rules.builders import DAY_MS, names, ranking, rule

NOW_MS = 1_772_323_200_000
SALE = Sale(price=5.0, starts_at=NOW_MS + 1000, ends_at=NOW_MS + 2000, locations=["be"])


class Shop:
    """A shop of which each list is asked for after the one before."""

    def __init__(self, *rules: dict[str, Any]) -> None:
        settings = Settings()
        self._catalog = described_catalog(settings, [CatalogItem(item_id=ItemId(name)) for name in "abc"])
        self._rules = described_rules(settings, [rule(f"r{number}", **one) for number, one in enumerate(rules)])

    def describe(self, name: str, **fields: Any) -> None:
        """Let another record of an item come."""
        self._catalog.apply(name.encode(), wire.encode(CatalogItem(item_id=ItemId(name), **fields)))

    def remove(self, name: str) -> None:
        """Let an item's tombstone come."""
        self._catalog.apply(name.encode(), None)

    def put(self, number: int, **fields: Any) -> None:
        """Put a rule in place of that number's."""
        self._rules.apply(f"r{number}".encode(), wire.encode(rule(f"r{number}", **fields)))

    def listed(self, later_ms: int = 0, location: str = "be") -> str:
        """Return the list of a moment and a place."""
        now_ms, ranked = NOW_MS + later_ms, ranking("a b c")
        filters = FilterRules(location, now_ms, frozenset(), frozenset())
        facts = CatalogFacts(self._catalog, location, now_ms)
        plan = self._rules.book.plan(Asked(now_ms, location), "model")
        assert plan is not None
        return names(place(ranked, plan, Listing(may_be_listed(filters, self._catalog), facts, 3)).items)


@pytest.mark.parametrize("action", ["block", "bury"])
def test_a_rule_follows_what_an_item_is_now(action: str) -> None:
    """Each record of an item counts for the next list, a tombstone and the one after it, too."""
    shop = Shop({"action": action, "category": "toys", "factor": 0.1 if action == "bury" else None})
    without_a = "b c a" if action == "bury" else "b c"
    assert shop.listed() == "a b c"
    shop.describe("a", category="toys/cars")
    assert shop.listed() == without_a
    shop.describe("a", category="books")
    assert shop.listed() == "a b c"
    shop.describe("a", category="toys")
    assert shop.listed() == without_a
    shop.remove("a")
    assert shop.listed() == "b c"
    shop.describe("a")
    assert shop.listed() == "a b c"


def test_of_variants_of_now_a_list_has_one() -> None:
    """And a rule of their group is about those that are in it now."""
    shop = Shop({"action": "bury", "variant_group": "red", "factor": 0.1})
    shop.describe("a", variant_group="red")
    assert shop.listed() == "b c a"
    shop.describe("b", variant_group="red")
    assert shop.listed() == "c a"
    shop.describe("a", variant_group="blue")
    assert shop.listed() == "a c b"
    shop.remove("b")
    assert shop.listed() == "a c"


def test_a_rule_of_sales_follows_the_clock_and_the_place() -> None:
    """No record comes when a sale begins or ends."""
    shop = Shop({"action": "block", "on_sale": True})
    shop.describe("b", sale=SALE)
    assert [shop.listed(at) for at in (999, 1000, 1999, 2000, 1500)] == ["a b c", "a c", "a c", "a b c", "a c"]
    assert shop.listed(1500, "nl") == "a b c"
    shop.describe("b")
    assert shop.listed(1500) == "a b c"


def test_a_rule_of_what_is_new_follows_the_clock() -> None:
    """An item is new for so many days; of several rules each has its own."""
    shop = Shop(
        {"action": "bury", "new_days": 2, "factor": 0.1, "priority": 1},
        {"action": "boost", "new_days": 4, "factor": 9.0},
    )
    shop.describe("b", available_from=NOW_MS)
    days = [shop.listed(int(day * DAY_MS)) for day in (1, 2, 3, 4, 5, 1)]
    assert days == ["a c b", "a c b", "b a c", "b a c", "a b c", "a c b"]


def test_a_rule_that_was_put_again_is_the_one_that_holds() -> None:
    """About other items, or of another kind."""
    shop = Shop({"action": "block", "items": "a"})
    assert shop.listed() == "b c"
    shop.put(0, action="block", items="b")
    assert shop.listed() == "a c"
    shop.put(0, action="boost", items="c", factor=9.0)
    assert shop.listed() == "c a b"
