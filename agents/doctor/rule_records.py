"""What the topic of merchants' rules shows: whether each rule can be read, and how many hold."""

from collections.abc import Iterator, Mapping
from typing import Final

from agents.doctor.findings import Finding, error, ok
from agents.upkeep.rule_log import StoredRule
from schemas.ids import RuleId
from schemas.rules import MAX_RULES

CHECK: Final = "rules"
_SHOWN: Final = 3


def rule_findings(stored: Mapping[RuleId, StoredRule], now_ms: int) -> Iterator[Finding]:
    """Examine what workers hold of the rules; now_ms: Unix milliseconds."""
    refused = {rule_id: one.refused for rule_id, one in stored.items() if one.refused is not None}
    rules = [one.rule for one in stored.values() if one.rule is not None]
    holding = sum(rule.starts_ms <= now_ms < rule.ends_ms for rule in rules)
    if refused:
        shown = "; ".join(
            f"{rule_id!r:.60} {why.reason} ({why.detail:.200})" for rule_id, why in [*refused.items()][:_SHOWN]
        )
        yield error(
            CHECK,
            f"the last records of {len(refused):,} rules cannot be read: {shown}",
            "`insession rules put` them again, or `insession rules remove` them; a restart forgets the last good ones",
        )
    if len(rules) > MAX_RULES:
        yield error(
            CHECK,
            f"there are {len(rules):,} rules, and a worker holds {MAX_RULES:,}: which ones depends on their order",
            "`insession rules remove` those that are over",
        )
    if rules or not refused:
        yield ok(CHECK, f"{len(rules):,} rules of merchants, {holding:,} in force")
