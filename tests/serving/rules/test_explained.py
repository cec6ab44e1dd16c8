import pytest

from schemas.rules import MerchantRule
from serving.rules.explained import Made, hidden_rules
from serving.rules.placing import Listing, place
from tests.serving.rules.builders import Facts, plan_of, ranking, rule

BLOCK = rule("z", "block", items="a")


@pytest.mark.parametrize(
    ("rules", "hidden"),
    [
        pytest.param([BLOCK, rule("a", "pin", items="a", position=1)], {"a": "z"}, id="a pin by a block"),
        pytest.param([BLOCK, rule("a", "boost", items="a")], {"a": "z"}, id="a boost by a block"),
        pytest.param([BLOCK, rule("a", "block", category="c", priority=1)], {"z": "a"}, id="a block by a wider one"),
        pytest.param(
            [rule("i", "include", items="b c"), rule("a", "pin", items="a", position=1)],
            {"a": "i"},
            id="a pin by an include",
        ),
        pytest.param(
            [rule("i", "include", items="b"), rule("j", "include", items="c", priority=1)],
            {"i": "j"},
            id="an include by a higher one",
        ),
        pytest.param([rule("i", "include", items="a"), rule("j", "include", items="b c")], {}, id="includes add up"),
        pytest.param(
            [rule("p", "pin", items="a", position=1), rule("q", "pin", items="b", position=1)],
            {"q": "p"},
            id="a pin by one of its position",
        ),
        pytest.param(
            [rule("p", "pin", items="a", position=1), rule("q", "pin", items="a", position=2)],
            {"q": "p"},
            id="a pin by one of its item",
        ),
        pytest.param(
            [rule("p", "pin", items="a", position=1), rule("b", "boost", items="a")], {"b": "p"}, id="a boost by a pin"
        ),
        pytest.param([rule("b", "boost", items="a"), rule("u", "bury", items="a")], {"u": "b"}, id="a bury by a boost"),
        pytest.param([rule("p", "pin", items="x", position=1)], {}, id="what is not there is hidden by none"),
        pytest.param([rule("b", "boost", items="a"), rule("u", "bury", items="b")], {}, id="each has its own"),
    ],
)
def test_a_rule_that_does_nothing_names_the_one_that_hides_it(
    rules: list[MerchantRule], hidden: dict[str, str]
) -> None:
    """Each kind of conflict; a rule that changed the list is never hidden."""
    plan, listing = plan_of(*rules), Listing(lambda item_id: item_id != "x", Facts({"a": "c"}), 3)
    placed = place(ranking("a b c d"), plan, listing)
    made = Made(placed.items, placed.by)
    assert hidden_rules(plan, ranking("a b c d"), listing, made) == hidden
