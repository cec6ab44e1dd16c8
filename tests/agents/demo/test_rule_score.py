"""Merchants' rules as the answers show them."""

from datetime import UTC, datetime

from msgspec.structs import replace

from agents.demo.rule_score import RuleReport, RuleScore
from schemas import wire
from schemas.ids import ItemId, RuleId
from schemas.rules import MerchantRule
from tests.agents.demo.builders import answer

PUT_MS = 1_767_571_200_000
RULE = MerchantRule(rule_id=RuleId("pin"), action="pin", items=(ItemId("a"),), position=1)


def test_answers_that_a_rule_changed_are_counted_from_its_first_on() -> None:
    """The wait is from the rule's record to the first answer that names it."""
    score = RuleScore()
    score.answered(answer("x"), PUT_MS - 1)
    score.ruled(b"pin", wire.encode(RULE), PUT_MS)
    for wait_ms in (120, 500):
        score.answered(replace(answer("x"), rules=[RULE.rule_id]), PUT_MS + wait_ms)
    assert score.report() == RuleReport(in_force=1, applied=2, applied_after_seconds=0.12)


def test_a_rule_that_is_over_removed_or_unreadable_is_not_in_force() -> None:
    """By the time of the latest answer."""
    score = RuleScore()
    over = replace(RULE, rule_id=RuleId("over"), ends_at=datetime.fromtimestamp(PUT_MS / 1000, UTC))
    score.ruled(b"over", wire.encode(over), PUT_MS - 9)
    score.ruled(b"pin", wire.encode(RULE), PUT_MS - 9)
    score.ruled(b"bad", b"{", PUT_MS - 9)
    score.answered(answer("x"), PUT_MS)
    assert score.report().in_force == 1
    score.ruled(b"pin", None, PUT_MS)
    assert score.report() == RuleReport(in_force=0, applied=0, applied_after_seconds=None)
