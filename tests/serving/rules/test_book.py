from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events import from_unix_ms
from schemas.ids import ItemId
from schemas.places import LocationSettings
from schemas.records import CatalogItem
from schemas.rules import MerchantRule
from serving.rules.book import NO_RULES, Asked, RuleBook
from tests.serving.rules.builders import Facts, plan_of, rule

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
    assert book.plan(Asked(0, "nl/1", device="phone"), "model") is not first


def test_what_holds_alike_for_many_is_held_once() -> None:
    """A hundred long lists of what is blocked must not be copied for each place that another rule names."""
    everywhere = [rule(f"b{n}", "block", items=f"i{n}") for n in range(100)]
    named = [f"nl/p{n}" for n in range(50)]
    alike = RuleBook([*everywhere, rule("w", "boost", category="x", where=named)])
    assert len({id(alike.plan(Asked(0, place), "model")) for place in named}) == 1
    apart = RuleBook([*everywhere, *(rule(f"w{place}", "boost", category="x", where=[place]) for place in named)])
    plans = [plan for place in named if (plan := apart.plan(Asked(0, place), "model")) is not None]
    assert len({id(plan) for plan in plans}) == len(named)
    assert len({id(plan._blocked) for plan in plans}) == 1
    assert all(plan.verdict(ItemId("i7"), Facts()).kept_out_by == everywhere[7] for plan in plans)


def test_plans_are_bounded() -> None:
    """Whatever a shop's rules tell apart; those that are asked for again are made again."""
    book = RuleBook([rule(f"r{n}", "block", items="a", where=[f"p{n}"]) for n in range(3_000)])
    for number in range(3_000):
        assert book.plan(Asked(0, f"p{number}"), "model") is not None
    assert len(book._plans) < 3_000


def test_what_plans_hold_is_bounded() -> None:
    """Few plans of many rules take as much as many of few."""
    book = RuleBook([rule(f"r{n}", "block", items="a", device=f"d{n}" if n < 300 else None) for n in range(1_300)])
    for number in range(300):
        assert book.plan(Asked(0, device=f"d{number}"), "model") is not None
        assert sum(len(plan.rules) for plan in book._plans.values() if plan is not None) <= 200_000
    assert len(book._plans) < 300


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


PLACES = ["nl", "nl/nh", "nl/nh/ams", "nl/nh/", "be"]
MOMENTS = [START_MS, START_MS + 10, END_MS]


@st.composite
def conditions(draw: st.DrawFn) -> dict[str, Any]:
    """Draw what a rule may ask for beside its items."""
    found: dict[str, Any] = {
        "where": draw(st.lists(st.sampled_from(PLACES), max_size=3)),
        "device": draw(st.sampled_from([None, "phone", "tablet"])),
        "arm": draw(st.sampled_from([None, "a"])),
        "pattern": draw(st.sampled_from([None, "focused"])),
        "tiers": draw(st.lists(st.sampled_from(["model", "knn"]), max_size=2)),
        "priority": draw(st.integers(-1, 1)),
    }
    starts = draw(st.sampled_from([None, *MOMENTS]))
    ends = draw(st.sampled_from([None, *(one for one in MOMENTS if starts is None or one > starts)]))
    return found | {
        name: from_unix_ms(one) for name, one in (("starts_at", starts), ("ends_at", ends)) if one is not None
    }


def plainly(rules: list[MerchantRule], asked: Asked, tier: Any) -> list[str]:
    """Hold every rule against every condition, and order those that hold."""
    chain = () if asked.location is None else LocationSettings().chain(asked.location)
    ranked = []
    for one in rules:
        depth = max(
            (len(chain) - chain.index(at.rstrip("/")) for at in one.where if at.rstrip("/") in chain), default=0
        )
        if (
            one.starts_ms <= asked.now_ms < one.ends_ms
            and (depth or not one.where)
            and one.device in {None, asked.device}
            and one.arm in {None, asked.arm}
            and one.pattern in {None, asked.pattern()}
            and (not one.tiers or tier in one.tiers)
        ):
            ranked.append((-depth, -one.priority, one.rule_id))
    return [rule_id for _, _, rule_id in sorted(ranked)]


@given(
    puts=st.lists(st.tuples(st.sampled_from("abcdef"), st.none() | conditions()), max_size=12),
    at_once=st.integers(0, 12),
    now_ms=st.sampled_from([0, *MOMENTS, END_MS + 1]),
    location=st.sampled_from([None, "nl/nh/ams/x", "nl/nh", "be", "fr"]),
    device=st.sampled_from([None, "phone", "tv"]),
    arm=st.sampled_from([None, "a", "b"]),
    pattern=st.sampled_from([None, "focused", "browsing"]),
    tier=st.sampled_from(["model", "knn", "popular"]),
)
def test_what_holds_is_what_a_look_at_every_rule_finds(
    puts: list[tuple[str, dict[str, Any] | None]], at_once: int, now_ms: int, tier: str, **of: Any
) -> None:
    """Whatever was put, replaced and removed before, at once or one after the other; an older book stays as it was."""
    asked = Asked(now_ms, of["location"], of["device"], of["arm"], lambda: of["pattern"])
    made = [(rule_id, None if of is None else rule(rule_id, "block", items="a", **of)) for rule_id, of in puts]
    first = dict(made[:at_once])
    book, there = RuleBook([]).with_changes(first), {rule_id: one for rule_id, one in first.items() if one is not None}
    steps = [(book, dict(there))]
    for rule_id, one in made[at_once:]:
        book = book.with_changes({rule_id: one})
        there.pop(rule_id, None)
        there |= {} if one is None else {rule_id: one}
        steps.append((book, dict(there)))
    for then, rules in steps:
        plan = then.plan(asked, tier)  # type: ignore[arg-type]
        held = [] if plan is None else [one.rule_id for one in plan.rules]
        assert held == plainly(list(rules.values()), asked, tier)
        fresh = RuleBook(rules.values())
        assert (fresh.places, fresh.rules) == (then.places, then.rules)
        assert fresh.period(now_ms) == then.period(now_ms)
        assert {*fresh._shelves} == {*then._shelves}


class BecomesAToy(Facts):
    """Item `a` gets another record as soon as the first was looked at."""

    def record(self, item_id: ItemId) -> CatalogItem | None:
        """See `ItemFacts`."""
        found = super().record(item_id)
        self.categories = {**self.categories, "a": "toys"}
        return found


def test_a_record_that_comes_in_between_decides_about_no_other_item() -> None:
    """The catalog has a thread of its own: what an item is may change between two looks."""
    facts = BecomesAToy(categories={"a": "books", "b": "books"})
    verdict = plan_of(rule("no-toys", "block", category="toys")).verdicts(facts)
    a, b = ItemId("a"), ItemId("b")
    verdict(a, facts.record(a))
    assert verdict(b, facts.record(b)).kept_out_by is None
    assert verdict(a, facts.record(a)).kept_out_by is not None
