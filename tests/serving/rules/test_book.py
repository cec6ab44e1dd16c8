from datetime import UTC, datetime
from typing import Any

import pytest

from schemas.places import LocationSettings
from serving.rules.book import NO_RULES, Asked, RuleBook
from tests.serving.rules.builders import rule

START, END = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC)
START_MS, END_MS = 1_772_323_200_000, 1_772_409_600_000


def holds(asked: Asked, tier: Any = "model", **fields: Any) -> bool:
    """Return whether a block with these conditions holds."""
    return RuleBook([rule("r", "block", items="a", **fields)]).plan(asked, tier) is not None


@pytest.mark.parametrize(
    ("now_ms", "is_in_force"),
    [(0, False), (START_MS - 1, False), (START_MS, True), (END_MS - 1, True), (END_MS, False), (2**60, False)],
)
def test_a_rule_holds_from_its_start_until_its_end(now_ms: int, is_in_force: bool) -> None:
    """By the time that it is asked for, which in a replay is the event's."""
    window = {"starts_at": START, "ends_at": END}
    assert holds(Asked(now_ms), **window) is is_in_force
    assert holds(Asked(now_ms), starts_at=START) is (now_ms >= START_MS)
    assert holds(Asked(now_ms), ends_at=END) is (now_ms < END_MS)
    book = RuleBook([rule("r", "block", items="a", **window), rule("always", "block", items="b")])
    assert len(book.in_force(now_ms)) == 1 + is_in_force


@pytest.mark.parametrize(
    ("where", "location", "is_in_force"),
    [
        (["nl"], "nl", True),
        (["nl"], "nl/nh/ams", True),
        (["nl/"], "nl/nh", True),
        (["nl/nh"], "nl", False),
        (["nl"], "nlx", False),
        (["be", "nl/nh"], "nl/nh/ams", True),
        (["be"], "nl", False),
        (["nl"], None, False),
        ([], None, True),
        ([], "anywhere", True),
    ],
)
def test_a_rule_holds_in_its_places_and_those_in_them(
    where: list[str], location: str | None, is_in_force: bool
) -> None:
    """Of a shopper of whom no place is known only rules without one."""
    assert holds(Asked(0, location), where=where) is is_in_force


def test_places_lie_in_each_other_as_the_settings_say() -> None:
    """Without a separator none does."""
    rules = [rule("r", "block", items="a", where=["nl"])]
    assert RuleBook(rules, LocationSettings(separator=":")).plan(Asked(0, "nl:ams"), "model") is not None
    assert RuleBook(rules, LocationSettings(separator="")).plan(Asked(0, "nl/ams"), "model") is None


@pytest.mark.parametrize(
    ("fields", "asked", "is_in_force"),
    [
        ({"device": "phone"}, Asked(0, device="phone"), True),
        ({"device": "phone"}, Asked(0, device="tablet"), False),
        ({"device": "phone"}, Asked(0), False),
        ({"arm": "b"}, Asked(0, arm="b"), True),
        ({"arm": "b"}, Asked(0, arm="a"), False),
        ({"pattern": "focused"}, Asked(0, pattern=lambda: "focused"), True),
        ({"pattern": "focused"}, Asked(0, pattern=lambda: "browsing"), False),
        ({"pattern": "focused"}, Asked(0), False),
        ({"tiers": ["model", "knn"]}, Asked(0), True),
        ({"tiers": ["popular"]}, Asked(0), False),
        ({"device": "phone", "arm": "b"}, Asked(0, device="phone"), False),
    ],
)
def test_a_rule_holds_where_all_its_conditions_do(fields: dict[str, Any], asked: Asked, is_in_force: bool) -> None:
    """What is not known fulfils none."""
    assert holds(asked, **fields) is is_in_force


def test_a_pattern_is_asked_for_only_where_a_rule_names_one() -> None:
    """It takes a look at the whole session."""

    def never() -> None:
        raise AssertionError

    assert holds(Asked(0, pattern=never), device=None)


def test_without_rules_nothing_is_looked_at() -> None:
    """An answer costs nothing more where nobody has put a rule."""
    assert NO_RULES.plan(Asked(0, "nl"), "model") is None
    assert len(NO_RULES) == 0


def test_a_plan_is_compiled_once_for_all_that_no_rule_tells_apart() -> None:
    """Strangers choose what stands in a location, a device or an arm: they cannot make plans with it."""
    book = RuleBook(
        [
            rule("r", "block", items="a", where=["nl"], device="phone"),
            rule("s", "block", items="b"),
        ]
    )
    first = book.plan(Asked(0, "nl/1", device="x"), "model")
    for number in range(3_000):
        assert book.plan(Asked(number, f"nl/{number}", device=f"d{number}", arm=f"{number}"), "knn") is first
    assert len(book._plans) == 1
    assert book.plan(Asked(0, "be"), "model") is not first


def test_plans_are_bounded() -> None:
    """Whatever a shop's rules tell apart; those that are asked for again are made again."""
    book = RuleBook([rule(f"r{n}", "block", items="a", where=[f"p{n}"]) for n in range(3_000)])
    for number in range(3_000):
        assert book.plan(Asked(0, f"p{number}"), "model") is not None
    assert len(book._plans) < 3_000


def test_the_order_is_the_deeper_place_then_the_priority_then_the_earlier_id() -> None:
    """Whichever was put first."""
    rules = [
        rule("e", "block", items="a"),
        rule("d", "block", items="a", priority=5),
        rule("c", "block", items="a", where=["nl"], priority=-7),
        rule("b", "block", items="a", where=["nl/nh/ams", "nl"]),
        rule("a", "block", items="a", where=["nl"]),
        rule("f", "block", items="a"),
    ]
    plan = RuleBook(rules).plan(Asked(0, "nl/nh/ams"), "model")
    assert plan is not None
    assert [one.rule_id for one in plan.rules] == ["b", "a", "c", "d", "e", "f"]
