from typing import Any

import pytest

from agents.merchants.examination import Examination, examine
from schemas.ids import ItemId
from schemas.places import LocationSettings
from schemas.records import CatalogItem
from schemas.rules import MerchantRule
from tests.serving.rules.builders import rule

CATALOG = [
    CatalogItem(item_id=ItemId("a"), category="food/fruit", variant_group="red"),
    CatalogItem(item_id=ItemId("b")),
]
DAY = "2026-03-0{}T00:00:00Z"
NOW_MS = 1_772_409_600_000  # 2026-03-02


def found(*rules: MerchantRule, others: list[MerchantRule] | None = None, catalog: Any = ()) -> Examination:
    """Examine rules for lists of ten."""
    return examine(
        rules, others or [], catalog, now_ms=NOW_MS, answer_size=10, locations=LocationSettings(separator="/")
    )


def pin(rule_id: str, position: int, **fields: Any) -> MerchantRule:
    """Return a pin of item `a`."""
    return rule(rule_id, "pin", items="a", position=position, **fields)


def test_good_rules_are_good() -> None:
    """Nothing is made up."""
    assert found(pin("p", 1), rule("b", "boost", category="food"), catalog=CATALOG) == Examination([], [])


def test_an_item_that_the_catalog_does_not_know_is_an_error() -> None:
    """A misspelled id would pin nothing; where nobody knows the items, none is unknown."""
    unknown = rule("r", "block", items=" ".join(f"x{number}" for number in range(7)))
    (error,) = found(unknown, catalog=CATALOG).errors
    assert error == "r: the catalog does not know 'x0', 'x1', 'x2', 'x3', 'x4' and 2 more"
    assert found(unknown).errors == []


def test_a_category_or_group_without_items_is_a_warning() -> None:
    """They may come."""
    warnings = found(
        rule("c", "block", category="fod"),
        rule("d", "block", category="food"),
        rule("g", "block", variant_group="blue"),
        catalog=CATALOG,
    ).warnings
    assert [warning.partition(":")[0] for warning in warnings] == ["c", "g"]


def test_an_end_that_is_past_is_an_error() -> None:
    """It would never hold."""
    assert "is past" in found(rule("r", "block", items="a", ends_at=DAY.format(2))).errors[0]
    assert found(rule("r", "block", items="a", ends_at=DAY.format(3))).errors == []


@pytest.mark.parametrize(
    ("one", "other", "do_contradict"),
    [
        ({}, {}, True),
        ({}, {"position": 2}, False),
        ({}, {"priority": 1}, False),
        ({}, {"where": ["nl"]}, False),
        ({"where": ["nl", "be"]}, {"where": ["nl"]}, True),
        ({"where": ["nl/ams"]}, {"where": ["nl"]}, False),
        ({"ends_at": DAY.format(4)}, {"starts_at": DAY.format(4)}, False),
        ({"ends_at": DAY.format(5)}, {"starts_at": DAY.format(4)}, True),
        ({"device": "phone"}, {"device": "tablet"}, False),
        ({"device": "phone"}, {}, True),
        ({"tiers": ["model"]}, {"tiers": ["popular"]}, False),
        ({"tiers": ["model", "knn"]}, {"tiers": ["knn"]}, True),
    ],
)
def test_two_pins_of_a_position_that_only_their_names_tell_apart_are_an_error(
    one: dict[str, Any], other: dict[str, Any], *, do_contradict: bool
) -> None:
    """Whether both are put now or one is there; a deeper place or a priority says which is meant."""
    first, second = (pin(name, **{"position": 1, **fields}) for name, fields in (("p", one), ("q", other)))
    assert bool(found(first, second).errors) is do_contradict
    assert bool(found(first, others=[second]).errors) is do_contradict
    assert found(first, others=[pin("p", 1)]).errors == []  # it replaces itself


def test_much_that_is_pinned_is_a_warning_by_place() -> None:
    """More than a fifth of a list, with the pins that are there."""
    there = [pin("p1", 1), pin("p2", 2)]
    assert found(pin("p2", 2), others=there).warnings == []
    (warning,) = found(pin("p3", 3), others=there).warnings
    assert warning.startswith("3 of 10 positions are pinned everywhere")
    (warning,) = found(pin("p3", 3, where=["nl/ams"]), others=there).warnings
    assert warning.startswith("3 of 10 positions are pinned at 'nl/ams'")
    assert found(pin("p3", 3, where=["nl"]), others=[pin("p1", 1, where=["be"]), pin("p2", 2)]).warnings == []
    assert (
        found(pin("p3", 3, starts_at=DAY.format(6)), others=[pin("p1", 1, ends_at=DAY.format(5)), there[1]]).warnings
        == []
    )


def test_a_position_beyond_the_list_and_a_place_with_an_end_are_warnings() -> None:
    """They mean nothing."""
    assert "beyond a list of 10" in found(pin("p", 11)).warnings[0]
    assert "means nothing" in found(rule("r", "block", items="a", where=["nl/"])).warnings[0]


def test_more_rules_than_workers_hold_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not left to their order which of them count; those that are over, or are put again, are no others."""
    monkeypatch.setattr("agents.merchants.examination.MAX_RULES", 2)
    over = rule("over", "block", items="a", ends_at=DAY.format(1))
    held = [rule("r", "block", items="a"), over]
    assert found(pin("p", 1), others=held).errors == []
    assert found(pin("r", 1), pin("p", 2), others=held).errors == []
    (error,) = found(pin("p", 1), pin("q", 2), others=held).errors
    assert error.startswith("with these there are 3 rules, and a worker holds 2")
