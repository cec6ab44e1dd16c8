import msgspec
import pytest

from schemas import wire
from schemas.records import MAX_NAMED_RULES, RecommendationSet
from streams.records import OutputRecord
from tests.agents.conftest import OneWorker


def answer(records: list[OutputRecord]) -> RecommendationSet:
    """Read the answer among the records of a click."""
    (found,) = (record for record in records if record.topic == "recommendations")
    return wire.decode_recommendation_set(found.value or b"")


def items(recommendation: RecommendationSet) -> list[tuple[str, str | None]]:
    """Return the items with the rules that placed them."""
    return [(item.item_id, item.rule) for item in recommendation.items]


async def test_an_answer_names_the_rules_that_changed_it_and_they_are_counted(worker: OneWorker) -> None:
    """By what they do; a rule that changed nothing is not named."""
    worker.put("p", "pin", items=["sofa"], position=1)
    worker.put("b", "block", items=["i0"])
    worker.put("n", "boost", items=["lamp"], factor=2.0)
    for visitor in ("ann", "ben", "cas"):
        recommendation = answer(await worker.click(visitor, 1000 * (visitor != "ann")))
    assert items(recommendation) == [("sofa", "p"), ("i1000", None)]
    assert recommendation.rules == ["b", "p"]
    applied = [worker.count("insession_rules_applied_total", action=action) for action in ("pin", "block", "boost")]
    assert applied == [3, 3, 0]


async def test_without_rules_a_record_says_nothing_of_them(worker: OneWorker) -> None:
    """An item has no field more than before there were any."""
    records = await worker.click("ann")
    (found,) = (record.value for record in records if record.topic == "recommendations")
    decoded = msgspec.json.decode(found or b"")
    assert decoded["rules"] is None
    assert {*decoded["items"][0]} == {"item_id", "score"}


async def test_an_answer_names_only_so_many_rules(worker: OneWorker) -> None:
    """A record is bounded, whatever merchants do."""
    for number in range(20):
        worker.put(f"p{number:02}", "pin", items=[f"i{number % 4}", f"sofa{number}"], position=number + 1)
    for number in range(4):
        worker.put(f"b{number}", "block", items=[f"i{number}"])
    recommendation = answer(await worker.click("ann"))
    assert len(recommendation.items) == 20
    assert recommendation.rules == ["b0", "b1", "b2", "b3", *(f"p{number:02}" for number in range(MAX_NAMED_RULES - 4))]


async def test_an_answer_of_which_rules_have_left_nothing_says_so(worker: OneWorker) -> None:
    """Else nobody knew why it is empty."""
    worker.put("b", "block", items=["i0"])
    recommendation = answer(await worker.click("ann"))
    assert (recommendation.items, recommendation.tier, recommendation.rules) == ([], None, ["b"])


@pytest.mark.parametrize(
    ("condition", "fields"),
    [
        ({"device": "phone"}, {"device": "phone"}),
        ({"arm": "b"}, {"experiment": "b"}),
        ({"where": ["nl"]}, {"location": "nl/ams"}),
    ],
)
async def test_a_rule_is_held_against_what_the_click_says(
    worker: OneWorker, condition: dict[str, object], fields: dict[str, str]
) -> None:
    """Device and place also as the session knows them; the arm is of the click alone."""
    worker.put("p", "pin", items=["sofa"], position=1, **condition)
    assert answer(await worker.click("ben")).rules is None
    assert answer(await worker.click("ann", 1, **fields)).rules == ["p"]
    knows = None if "experiment" in fields else ["p"]
    assert answer(await worker.click("ann", 2)).rules == knows


async def test_a_rule_is_held_against_the_shopping_pattern(worker: OneWorker) -> None:
    """Of the session so far, the click included."""
    worker.put("p", "pin", items=["sofa"], position=1, pattern="deciding")
    assert answer(await worker.click("ann")).rules is None
    assert answer(await worker.click("ann", 1, "cart", item_id="i0")).rules == ["p"]


async def test_rules_hold_for_who_gives_no_consent(worker: OneWorker) -> None:
    """What is the same for everybody obeys them as well."""
    worker.put("p", "pin", items=["sofa"], position=1)
    await worker.click("ann")
    recommendation = answer(await worker.click("ben", 1, consent=False))
    assert (recommendation.status, recommendation.rules) == ("no_consent", ["p"])
