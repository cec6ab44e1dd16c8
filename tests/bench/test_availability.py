"""How long lists hold what is gone: the sums by hand, and a short run on the embedded broker."""

import math
from typing import Any

import pytest

from bench.availability import Answers, Changes, Gone, Plan, figures, item_id, run
from schemas.records import CatalogItem

PLAN = Plan(answers=3, rate=1, pace=1, items=2)


def changes_of(*gone: Gone) -> Changes:
    """Say that items went and came back, after a first record of each."""
    found = Changes([(0, CatalogItem(item_id=item_id(item))) for item in range(PLAN.items)], list(gone))
    for one in gone:
        found.records.append((one.from_ms, CatalogItem(item_id=item_id(one.item), available=False)))
        if not math.isinf(one.back_ms):
            found.records.append((int(one.back_ms), CatalogItem(item_id=item_id(one.item))))
    return found


def answers_of(*made: tuple[int, list[int]]) -> Answers:
    """Make answers."""
    answers = Answers(size=2)
    for made_ms, items in made:
        answers.add(made_ms, [item_id(item) for item in items])
    return answers


def waited(found: dict[str, Any]) -> dict[str, float]:
    """Return the longest wait by how items went."""
    return {kind: row["max_ms"] for kind, row in found["gone"].items()}


def test_the_last_answer_that_holds_an_item_is_what_is_waited_for() -> None:
    """Until it is back; an item that was in no list has nothing to wait for."""
    answers = answers_of((9_500, [0, 1]), (10_030, [0]), (10_500, [0]), (20_000, []))
    gone = Gone(item=0, from_ms=10_000, is_by_time=False, back_ms=10_400)
    found = figures(PLAN, changes_of(gone), answers, {}, 1.0)
    assert waited(found) == {"by_record": 30}
    assert figures(PLAN, changes_of(Gone(1, 15_000, is_by_time=True)), answers, {}, 1.0)["gone"] == {}


def test_a_default_list_holds_its_items_until_the_next_one_is_there() -> None:
    """Whichever list holds the item longest counts."""
    answers = answers_of((9_900, [0]), (20_000, []))
    lists = {
        b"nl": [(9_000, frozenset({0, 1})), (10_200, frozenset({1}))],
        b"be": [(9_000, frozenset({0})), (10_150, frozenset())],
    }
    found = figures(PLAN, changes_of(Gone(0, 10_000, is_by_time=True)), answers, lists, 1.0)
    assert waited(found) == {"by_time": 200}
    assert found["default_lists_with_what_was_gone_for_a_second"] == 0


def test_what_is_shown_for_more_than_a_second_is_counted() -> None:
    """In answers, and in default lists, of which the last one is shown to the end."""
    answers = answers_of((11_000, [0, 1]), (11_001, [0]), (11_002, [1]), (20_000, []))
    gone = changes_of(Gone(0, 10_000, is_by_time=False))
    lists = {b"nl": [(9_000, frozenset({0})), (11_002, frozenset({1}))], b"be": [(9_000, frozenset({0}))]}
    found = figures(PLAN, gone, answers, lists, 1.0)
    assert found["answers_with_what_was_gone_for_a_second"] == 1
    assert found["default_lists_with_what_was_gone_for_a_second"] == 2
    assert waited(found) == {"by_record": 10_000}


@pytest.mark.slow
def test_no_list_holds_what_has_been_gone_for_a_second() -> None:
    """By record and by time; at a rate that leaves the machine to the tests beside it, the bench takes the full one."""
    found = run(Plan(answers=9_000, rate=200, pace=1_500, items=400), embedded=True)
    assert found["answers_with_what_was_gone_for_a_second"] == 0
    assert found["default_lists_with_what_was_gone_for_a_second"] == 0
    assert found["gone"].keys() == {"by_record", "by_time"}
    assert found["gone"]["by_record"]["items"] > 100
    assert max(waited(found).values()) < 1_000
