from agents.doctor.findings import Level
from agents.doctor.rule_records import rule_findings
from agents.upkeep.rule_log import StoredRule
from schemas.ids import RuleId
from schemas.rules import UnreadableRule
from tests.serving.rules.builders import rule

REFUSED = UnreadableRule(RuleId("odd"), "undecodable", "no JSON")


def test_rules_that_can_be_read_are_well() -> None:
    """With how many hold; none at all is well, too."""
    over = rule("b", "block", items="i", ends_at="2001-01-01T00:00:00Z")
    stored = {one.rule_id: StoredRule(0, one) for one in (rule("a", "block", items="i"), over)}
    (finding,) = rule_findings(stored, 1_772_323_200_000)
    assert (finding.level, finding.message) == (Level.OK, "2 rules of merchants, 1 in force")
    (finding,) = rule_findings({}, 0)
    assert finding.level is Level.OK


def test_a_refused_rule_is_an_error_with_what_to_do() -> None:
    """Beside a good one that stays, and where there is none."""
    found = [*rule_findings({RuleId("odd"): StoredRule(0, rule("odd", "block", items="i"), REFUSED)}, 0)]
    assert [one.level for one in found] == [Level.ERROR, Level.OK]
    assert "'odd' undecodable (no JSON)" in found[0].message
    assert "insession rules put" in found[0].remedy
    (alone,) = rule_findings({RuleId("odd"): StoredRule(0, None, REFUSED)}, 0)
    assert alone.level is Level.ERROR
