import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.ids import ItemId
from schemas.records import RecommendedItem
from schemas.rules import MerchantRule
from serving.rules.book import Asked
from serving.rules.placing import Listing, place
from serving.rules.targets import Targets
from tests.serving.rules.builders import Facts, names, placed, plan_of, ranking, rule

RANKED = "a b c d e f g h"
SHOP = Facts(
    categories={"a": "food/fruit", "b": "food", "c": "Home > Tables", "d": "foodie", "e": "food / bread"},
    groups={"a": "red", "f": "red"},
    on_sale={"c", "g"},
    days={"d": 3, "h": 40, "b": -1},
)
TOP = {"where": ["nl/nh"]}
AMS = Asked(now_ms=0, location="nl/nh/ams")


@pytest.mark.parametrize(
    ("rules", "listed"),
    [
        pytest.param([rule("r", "block", items="b")], "a c d e", id="a block takes an item out"),
        pytest.param([rule("r", "block", category="food")], "c d f g", id="a category is what lies in it"),
        pytest.param([rule("r", "block", category="Home")], "a b d e", id="levels of a category may have blanks"),
        pytest.param([rule("r", "block", variant_group="red")], "b c d e", id="a variant group is all of it"),
        pytest.param([rule("r", "include", on_sale=True)], "c g", id="include lists nothing else"),
        pytest.param([rule("r", "include", new_days=7)], "d", id="new is known to be there and not for long"),
        pytest.param([rule("r", "pin", items="h", position=1)], "h a b c", id="a pin takes its position"),
        pytest.param([rule("r", "pin", items="a", position=3)], "b c a d", id="a pin stands nowhere else"),
        pytest.param([rule("r", "pin", items="new", position=2)], "a new b c", id="a pin need not be ranked"),
        pytest.param([rule("r", "pin", items="x h", position=1)], "h a b c", id="of a pin's items the first there"),
        pytest.param([rule("r", "pin", on_sale=True, position=1)], "c a b d", id="a pin by sale takes the best"),
        pytest.param([rule("r", "pin", items="h", position=5)], "a b c d", id="a pin beyond the list is none"),
        pytest.param([rule("r", "boost", items="d")], "d a b c", id="a boost lifts by its factor"),
        pytest.param([rule("r", "boost", items="h", factor=3.2)], "a h b c", id="and no further"),
        pytest.param([rule("r", "bury", items="a", factor=0.1)], "b c d e", id="a bury lets others pass"),
        pytest.param([rule("r", "bury", category="food")], "c d a b", id="and what is not touched by it"),
    ],
)
def test_what_each_rule_does(rules: list[MerchantRule], listed: str) -> None:
    """Each kind, and each way to say which items."""
    result = placed(RANKED, *rules, gone="x", facts=SHOP)
    assert names(result.items) == listed


@pytest.mark.parametrize(
    ("rules", "listed", "effective"),
    [
        pytest.param(
            [rule("r", "block", items="h"), rule("p", "pin", items="h", position=1)], "a b c d", "r", id="block > pin"
        ),
        pytest.param(
            [rule("r", "block", items="b"), rule("i", "include", items="b c")], "c", "i r", id="block > include"
        ),
        pytest.param(
            [rule("i", "include", items="c d"), rule("p", "pin", items="h", position=1)], "c d", "i", id="include > pin"
        ),
        pytest.param(
            [rule("p", "pin", items="d", position=4), rule("b", "boost", items="d", factor=9.0)],
            "a b c d",
            "p",
            id="pin > boost",
        ),
        pytest.param(
            [rule("b", "boost", items="c"), rule("u", "bury", items="c")], "c a b d", "b", id="of equals the earlier id"
        ),
        pytest.param(
            [rule("b", "boost", items="c"), rule("u", "bury", items="c", priority=1)],
            "a b d e",
            "u",
            id="the higher priority before the earlier id",
        ),
        pytest.param(
            [rule("b", "boost", items="c", **TOP), rule("u", "bury", items="c", priority=9)],
            "c a b d",
            "b",
            id="the deeper place before the higher priority",
        ),
        pytest.param(
            [
                rule("b", "boost", items="c", where=["nl"]),
                rule("u", "bury", items="c", factor=0.9, where=["be", "nl/nh/ams"]),
            ],
            "a b c d",
            "u",
            id="of several places the deepest that the shopper is in",
        ),
        pytest.param(
            [rule("p", "pin", items="h", position=1), rule("q", "pin", items="g", position=1)],
            "h a b c",
            "p",
            id="two pins at one position",
        ),
        pytest.param(
            [rule("p", "pin", items="x", position=1), rule("q", "pin", items="g", position=1)],
            "g a b c",
            "q",
            id="a sold-out pin gives its position to the next one",
        ),
        pytest.param(
            [rule("p", "pin", items="h", position=1), rule("q", "pin", items="h", position=2, priority=1)],
            "a h b c",
            "q",
            id="two pins of one item",
        ),
        pytest.param(
            [rule("i", "include", items="c"), rule("j", "include", items="d")], "c d", "i", id="includes add up"
        ),
        pytest.param(
            [rule("i", "include", items="c"), rule("j", "include", items="d", **TOP)],
            "d",
            "j",
            id="those of a deeper place alone",
        ),
        pytest.param(
            [rule("p", "pin", items="a", position=2), rule("q", "pin", items="f", position=1, priority=-1)],
            "b a c d",
            "p",
            id="of variants that are pinned the first",
        ),
    ],
)
def test_which_rule_gives_way_to_which(rules: list[MerchantRule], listed: str, effective: str) -> None:
    """The whole table of conflicts, whichever rule was put first; only rules that changed something are named."""
    for order in itertools.permutations(rules):
        result = placed(RANKED, *order, gone="x", facts=SHOP, asked=AMS)
        assert names(result.items) == listed
        assert " ".join(sorted(result.by)) == effective


@pytest.mark.parametrize(
    ("rules", "gone", "listed", "effective"),
    [
        pytest.param([rule("r", "block", items="a")], "a", "b d c e", "", id="availability > block"),
        pytest.param([rule("r", "include", items="a b")], "a", "b", "r", id="availability > include"),
        pytest.param([rule("r", "pin", items="a", position=2)], "a", "b d c e", "", id="availability > pin"),
        pytest.param([rule("r", "block", items="a")], "", "b d c e", "r", id="block > caps"),
        pytest.param([rule("r", "include", items="b c d")], "", "b d c", "r", id="include > caps"),
        pytest.param(
            [rule("p", "pin", items="b", position=1), rule("q", "pin", items="a", position=2)],
            "",
            "b a d c",
            "p q",
            id="pin > caps",
        ),
        pytest.param([rule("r", "pin", items="c", position=4)], "", "d a b c", "r", id="caps count pins"),
        pytest.param([rule("r", "boost", items="c", factor=9.0)], "", "c d a b", "r", id="boost > caps"),
        pytest.param([rule("r", "bury", items="a", factor=0.5)], "", "b d c e", "r", id="bury > caps"),
        pytest.param([rule("r", "boost", items="h", factor=1.1)], "", "a d b c", "", id="a boost undoes no caps"),
    ],
)
def test_the_most_of_a_category_is_of_what_rules_have_left(
    rules: list[MerchantRule], gone: str, listed: str, effective: str
) -> None:
    """Of `x` are a, b, c and e; one of them is listed, then the others behind what is of another category."""
    facts = Facts(categories=dict.fromkeys("abce", "x") | {"d": "y"})
    result = placed("a b c d e", *rules, gone=gone, facts=facts, most=1)
    assert names(result.items) == listed
    assert " ".join(sorted(result.by)) == effective


def test_what_fills_a_list_is_held_to_the_most_of_a_category_as_well() -> None:
    """What is in the list already counts."""
    facts = Facts(categories=dict.fromkeys("abyz", "x"))
    listing = Listing(lambda _: True, facts, 4, 1)
    result = place(ranking("a c"), plan_of(rule("r", "block", items="c d")), listing, [ranking("y d v"), ranking("w")])
    assert names(result.items) == "a v"
    result = place(ranking("a c d"), plan_of(rule("r", "block", items="c d")), listing, [ranking("y v w")])
    assert names(result.items) == "a v w"


def test_an_item_names_the_rule_that_placed_it() -> None:
    """Pins, boosts and buries do; what rules leave alone names none."""
    result = placed(
        RANKED, rule("p", "pin", items="h", position=1), rule("b", "boost", items="b"), rule("u", "bury", items="a")
    )
    assert [(item.item_id, item.rule) for item in result.items] == [("h", "p"), ("b", "b"), ("c", None), ("d", None)]
    result = placed("a b", rule("u", "bury", items="a"))
    assert [(item.item_id, item.rule, item.score) for item in result.items] == [("b", None, 0.9), ("a", "u", 0.5)]


def test_scores_fall_through_pins_and_boosts() -> None:
    """A pin has the score of what it stands before: who sorts by score gets the same list."""
    pins = [rule("p", "pin", items="x", position=1), rule("q", "pin", items="y", position=4)]
    result = placed("a b c", *pins, rule("b", "boost", items="b"), size=5)
    assert [(item.item_id, item.score) for item in result.items] == [
        ("x", 1.8),
        ("b", 1.8),
        ("a", 1.0),
        ("y", 0.8),
        ("c", 0.8),
    ]


def test_a_list_without_scores_is_reordered_by_its_places() -> None:
    """The default list has none: the third by 4 passes the first."""
    unscored = [RecommendedItem(ItemId(item), 0.0) for item in "abcd"]
    listing = Listing(lambda _: True, Facts(), 4)
    assert names(place(unscored, plan_of(rule("r", "boost", items="c", factor=4.0)), listing).items) == "c a b d"
    assert names(place(unscored, plan_of(rule("r", "boost", items="c", factor=2.0)), listing).items) == "a c b d"


@pytest.mark.parametrize(("factor", "listed"), [(3.0, "a d"), (1.9, "a b"), (4.1, "d a")])
def test_a_boost_reaches_beyond_the_list_where_there_are_no_scores(factor: float, listed: str) -> None:
    """The fourth of two places weighs a quarter, and passes the second by more than 2."""
    unscored = [RecommendedItem(ItemId(item), 0.0) for item in "abcd"]
    listing = Listing(lambda _: True, Facts(), 2)
    assert names(place(unscored, plan_of(rule("r", "boost", items="d", factor=factor)), listing).items) == listed


def test_without_scores_what_is_blocked_next_to_the_list_is_told_too() -> None:
    """As far as was looked at to see that nothing lifts another item: with scores that is known beforehand."""
    listing, rules = Listing(lambda _: True, Facts(), 2), [rule("r", "block", items="c"), rule("s", "bury", items="d")]
    unscored = [RecommendedItem(ItemId(item), 0.0) for item in "abcd"]
    assert place(unscored, plan_of(*rules), listing).by == {"r"}
    assert place(ranking("a b c d"), plan_of(*rules), listing).by == set()


def test_the_better_of_two_variants_stays_by_the_order_of_the_rules() -> None:
    """A boost of one shows that one."""
    assert names(placed(RANKED, rule("r", "boost", items="f", factor=9.0), facts=SHOP).items) == "f b c d"
    assert names(placed(RANKED, rule("r", "pin", items="f", position=2), facts=SHOP).items) == "b f c d"


def test_what_rules_leave_out_is_filled_from_the_next_rankings() -> None:
    """Without a score, as many as are missing, and nothing twice; an unrelated rule lengthens no list."""
    listing = Listing(lambda item_id: item_id != "x", Facts(), 4)
    further = [ranking("b x y"), ranking("z w v")]
    result = place(ranking("a b c"), plan_of(rule("r", "block", items="b c")), listing, further)
    assert [(item.item_id, item.score) for item in result.items] == [("a", 1.0), ("y", 0.0), ("z", 0.0)]
    result = place(ranking("a b c"), plan_of(rule("r", "pin", items="c", position=1)), listing, further)
    assert names(result.items) == "c a b"


def test_what_fills_a_list_makes_no_ranking_of_it() -> None:
    """All of it is what an include names, one of which a block leaves out: another tier may have more."""
    rules = (rule("i", "include", items="y z"), rule("r", "block", items="z"))
    result = place([], plan_of(*rules), Listing(lambda _: True, Facts(), 4), [ranking("a y")])
    assert (names(result.items), result.has_ranked) == ("y", False)


def test_a_list_without_anything_ranked_leaves_the_next_rankings_alone() -> None:
    """They are asked for a list of their own, from their beginning."""
    rules = (rule("i", "include", items="y z"), rule("c", "include", category="food"), rule("r", "block", items="z"))
    further = iter([ranking("a b")])
    result = place([], plan_of(*rules), Listing(lambda _: True, SHOP, 4), further)
    assert (names(result.items), result.has_ranked, len(list(further))) == ("y", False, 1)


def test_what_an_include_names_is_listed_though_it_is_not_ranked() -> None:
    """Behind what is; a boost may bring it no score."""
    result = placed("a b", rule("i", "include", items="z b y"), rule("r", "boost", items="y"))
    assert (names(result.items), result.has_ranked) == ("b z y", True)
    assert placed("a", rule("i", "include", items="z")).has_ranked
    nothing = placed("", rule("i", "include", items="z"))
    assert (names(nothing.items), nothing.has_ranked) == ("z", False)


def test_pins_alone_are_told_from_a_list() -> None:
    """Where the ranking is empty, or all of it is blocked: another tier may have more."""
    pin = rule("p", "pin", items="h", position=3)
    assert not placed("", pin).has_ranked
    assert names(placed("", pin).items) == "h"
    assert not placed("a", pin, rule("r", "block", items="a")).has_ranked
    assert placed("a", pin).has_ranked


def test_no_more_is_ranked_than_decides() -> None:
    """A ranking is lazy: a boost by 2 need not look at what has less than half of the last one's score."""
    read: list[str] = []

    def lazily() -> Iterator[RecommendedItem]:
        for number in range(200):
            read.append(str(number))
            yield RecommendedItem(ItemId(f"i{number}"), 0.9**number)

    listing = Listing(lambda _: True, Facts(), 10)
    place(lazily(), plan_of(rule("r", "boost", items="i150")), listing)
    assert len(read) < 20
    read.clear()
    place(lazily(), plan_of(rule("r", "block", items="i3")), listing)
    assert len(read) == 11


ITEMS = [f"i{number}" for number in range(12)]
CATEGORIES = ["x", "x/y", "x > z", "w"]


@st.composite
def rules_of_any_kind(draw: st.DrawFn) -> list[MerchantRule]:
    """Draw some rules."""
    found = []
    for number in range(draw(st.integers(0, 6))):
        action = draw(st.sampled_from(["pin", "boost", "bury", "block", "include"]))
        target: dict[str, Any] = draw(
            st.sampled_from(
                [
                    {"items": draw(st.lists(st.sampled_from(ITEMS), min_size=1, max_size=4))},
                    {"category": draw(st.sampled_from(CATEGORIES))},
                    {"variant_group": draw(st.sampled_from("gh"))},
                    {"on_sale": True},
                    {"new_days": draw(st.integers(1, 40))},
                ]
            )
        )
        if action == "pin":
            target["position"] = draw(st.integers(1, 8))
        if action == "boost":
            target["factor"] = draw(st.sampled_from([1.5, 4.0, 100.0]))
        found.append(rule(f"r{number}", action, priority=draw(st.integers(-1, 1)), **target))
    return found


@st.composite
def shops(draw: st.DrawFn) -> Facts:
    """Draw what is known of the items."""
    return Facts(
        draw(st.dictionaries(st.sampled_from(ITEMS), st.sampled_from(CATEGORIES))),
        draw(st.dictionaries(st.sampled_from(ITEMS), st.sampled_from("gh"))),
        draw(st.frozensets(st.sampled_from(ITEMS))),
        draw(st.dictionaries(st.sampled_from(ITEMS), st.integers(0, 50))),
    )


@given(rules=rules_of_any_kind(), moments=st.lists(shops(), min_size=2, max_size=3))
def test_a_verdict_is_that_of_the_moment(rules: list[MerchantRule], moments: list[Facts]) -> None:
    """What a plan has made of an item goes with its category, its group, its sale and its age."""
    if not rules:
        return
    plan = plan_of(*rules)
    for facts in (*moments, moments[0]):
        verdict = plan.verdicts(facts)
        for name in (*ITEMS, "unheard-of"):
            item_id = ItemId(name)
            assert verdict(item_id, facts.record(item_id)) == plan.verdict(item_id, facts)


@given(
    rules=rules_of_any_kind(),
    facts=shops(),
    ranked=st.lists(st.sampled_from(ITEMS)),
    gone=st.frozensets(st.sampled_from(ITEMS)),
    size=st.integers(1, 8),
    is_scored=st.booleans(),
)
def test_whatever_the_rules_a_list_keeps_its_promises(
    rules: list[MerchantRule],
    facts: Facts,
    ranked: list[str],
    gone: frozenset[str],
    size: int,
    is_scored: bool,
) -> None:
    """Nothing blocked, sold out or not included, pins in place unless gone, nothing twice, as long as it can be."""
    if not rules:
        return
    plan = plan_of(*rules)
    items = [RecommendedItem(ItemId(item), 1 / (n + 1) * is_scored) for n, item in enumerate(ranked)]
    listed = place(items, plan, Listing(lambda item_id: item_id not in gone, facts, size)).items
    ids = [item.item_id for item in listed]

    blocks = [Targets((one,)) for one in rules if one.action == "block"]

    def is_open(item_id: ItemId) -> bool:
        is_included = plan.included is None or plan.included.first(item_id, facts) is not None
        return item_id not in gone and is_included and not any(one.first(item_id, facts) for one in blocks)

    assert len(set(ids)) == len(ids) <= size
    assert all(map(is_open, ids))
    groups = [group for item_id in ids if (group := facts.variant_group(item_id)) is not None]
    assert len(set(groups)) == len(groups)
    assert all(later.score <= one.score + 1e-12 for one, later in itertools.pairwise(listed))
    pins = {item.item_id: item.rule for item in listed if item.rule in {pin.rules[0].rule_id for pin in plan.pins}}
    for pin in plan.pins:
        (its,) = pin.rules
        place_in = min(its.position or 0, len(ids))
        if its.items and is_open(its.items[0]) and len(plan.pins) == 1 and (its.position or 0) <= size:
            assert pins.get(its.items[0]) == its.rule_id
            assert ids.index(its.items[0]) + 1 == place_in
    openable = {ItemId(item) for item in ranked if is_open(ItemId(item))} | set(ids)
    choices = {facts.variant_group(item_id) or item_id for item_id in openable}
    assert len(ids) == min(size, len(choices))
    assert placed_again(items, plan, gone, facts, size) == listed


def placed_again(items: Any, plan: Any, gone: frozenset[str], facts: Facts, size: int) -> Any:
    """Do the same once more."""
    return place(items, plan, Listing(lambda item_id: item_id not in gone, facts, size)).items


@given(rules=rules_of_any_kind(), facts=shops(), ranked=st.permutations(ITEMS), size=st.integers(1, 8))
def test_reading_only_as_far_as_needed_changes_no_list(
    rules: list[MerchantRule], facts: Facts, ranked: list[str], size: int
) -> None:
    """Against the rules written out: order all that may be listed by score times factor."""
    kept = [one for one in rules if one.action not in {"pin", "include"}]
    if not kept:
        return
    plan = plan_of(*kept)
    scores = {item: 0.8**number for number, item in enumerate(ranked)}
    items = [RecommendedItem(ItemId(item), scores[item]) for item in ranked]
    weights: list[tuple[float, int, ItemId]] = []
    for number, item in enumerate(items):
        by = Targets([one for one in plan.rules if one.action != "block"]).first(item.item_id, facts)
        if not any(one.action == "block" and Targets((one,)).first(item.item_id, facts) for one in plan.rules):
            weights.append((-item.score * (by.factor or 1.0 if by else 1.0), number, item.item_id))
    expected, groups = list[str](), set[str]()
    for _, _, item_id in sorted(weights):
        group = facts.variant_group(item_id)
        if group is None or group not in groups:
            expected.append(item_id)
            groups |= {group} if group is not None else set()
    found = place(items, plan, Listing(lambda _: True, facts, size)).items
    assert [item.item_id for item in found] == expected[:size]
