"""Merchants' rules as the answers show them: how many are in force, and in how many answers they changed the list."""

from dataclasses import dataclass

from schemas.ids import RuleId
from schemas.records import RecommendationSet
from schemas.rules import MerchantRule, RemovedRule, read_rule


@dataclass(frozen=True, slots=True)
class RuleReport:
    """in_force: rules that hold for somebody at the end. applied: answers whose list one changed.

    applied_after_seconds: from the timestamp of the first such rule to that of the first answer that obeys it.
    """

    in_force: int
    applied: int
    applied_after_seconds: float | None


class RuleScore:
    """Reads the topic of the rules, and the answers that name one."""

    def __init__(self) -> None:
        self._rules: dict[RuleId, MerchantRule] = {}
        self._put_ms: dict[RuleId, int] = {}
        self._now_ms = 0
        self._applied = 0
        self._applied_after_ms: int | None = None

    def ruled(self, key: bytes | None, value: bytes | None, time_ms: int) -> None:
        """Take in a record of `merchant-rules`; time_ms: its timestamp, Unix."""
        record = read_rule(key, value)
        if isinstance(record, MerchantRule):
            self._rules[record.rule_id] = record
            self._put_ms[record.rule_id] = time_ms
        elif isinstance(record, RemovedRule):
            self._rules.pop(record.rule_id, None)

    def answered(self, record: RecommendationSet, made_ms: int) -> None:
        """Take in an answer; made_ms: its record's timestamp, Unix."""
        self._now_ms = max(self._now_ms, made_ms)
        if not record.rules:
            return
        self._applied += 1
        if self._applied_after_ms is None and record.rules[0] in self._put_ms:
            self._applied_after_ms = made_ms - self._put_ms[record.rules[0]]

    def report(self) -> RuleReport:
        """Sum up."""
        in_force = sum(rule.starts_ms <= self._now_ms < rule.ends_ms for rule in self._rules.values())
        after_ms = self._applied_after_ms
        return RuleReport(in_force, self._applied, None if after_ms is None else after_ms / 1000)
