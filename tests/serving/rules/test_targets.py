import pytest

from schemas.ids import ItemId
from serving.rules.targets import Targets, categories_above
from tests.serving.rules.builders import Facts, rule


@pytest.mark.parametrize(
    ("category", "above"),
    [
        ("food", ["food"]),
        ("food/fruit/apple", ["food/fruit/apple", "food/fruit", "food"]),
        ("Home > Tables > Oak", ["Home > Tables > Oak", "Home > Tables", "Home"]),
        (" Home >Tables ", ["Home >Tables", "Home"]),
        ("/food", ["/food"]),
        ("", [""]),
    ],
)
def test_a_category_lies_in_those_above_it(category: str, above: list[str]) -> None:
    """Levels are told apart by a slash, or by the angle that joins a shop's list of levels."""
    assert list(categories_above(category)) == above


def test_the_first_rule_that_is_about_an_item_decides_however_it_says_so() -> None:
    """By item, variant group, category, sale or age, in the order of the rules alone."""
    facts = Facts({"i": "food/fruit"}, {"i": "red"}, frozenset({"i"}), {"i": 3})
    rules = [
        rule("sale", "block", on_sale=True),
        rule("new", "block", new_days=3),
        rule("item", "block", items="i"),
        rule("category", "block", category="food"),
        rule("group", "block", variant_group="red"),
    ]
    for number in range(len(rules)):
        order = rules[number:] + rules[:number]
        assert Targets(order).first(ItemId("i"), facts) is order[0]
        assert Targets(order[1:]).first(ItemId("i"), facts) is order[1]
        assert Targets(order).first(ItemId("other"), facts) is None


def test_of_categories_in_each_other_the_rule_order_decides_not_the_depth() -> None:
    """Depth counts for places; of categories a merchant says by priority which one holds."""
    facts = Facts({"i": "food/fruit"})
    wide, deep = rule("wide", "boost", category="food"), rule("deep", "bury", category="food/fruit")
    assert Targets([wide, deep]).first(ItemId("i"), facts) is wide
    assert Targets([deep, wide]).first(ItemId("i"), facts) is deep


@pytest.mark.parametrize(("days", "is_new"), [(0, True), (30, True), (31, False), (-1, False), (None, False)])
def test_an_item_is_new_for_as_many_days_as_the_rule_says(days: int | None, is_new: bool) -> None:
    """One that comes only later is not new yet, and of one without a date nobody knows."""
    facts = Facts(days={} if days is None else {"i": days})
    found = Targets([rule("a", "block", new_days=2), rule("b", "block", new_days=30)]).first(ItemId("i"), facts)
    assert (found is not None) is is_new
