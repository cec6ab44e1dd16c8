import re
import subprocess
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from compose.prometheus.slos import INDICATORS, RULES, rules_yaml
from schemas.validation import RejectReason
from tests.compose.prometheus import CONFIG, require_tool
from tests.compose.rules import PROMETHEUS, RULE_FILES, Rule, rules

CASES = sorted((PROMETHEUS / "tests").glob("*.yml"))
ALERTS = [rule for rule in rules() if rule.is_alert]
RUNBOOK = Path(__file__).parents[2] / "docs" / "operations.md"


def promtool(*arguments: object) -> None:
    """Run promtool; its words are the failure's."""
    ran = subprocess.run([require_tool("promtool"), *map(str, arguments)], check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_rules_of_the_objectives_are_what_the_code_makes() -> None:
    """`make dashboards` leaves rules/slos.yml as it is."""
    assert RULES.read_text() == rules_yaml()


def test_prometheus_takes_the_configuration() -> None:
    """The configuration and every rule in it are valid."""
    promtool("check", "config", CONFIG)


def test_alerts_fire_and_stay_silent_as_described() -> None:
    """Every case in compose/prometheus/tests holds."""
    promtool("test", "rules", *CASES)


def test_every_alert_has_a_case_that_fires_and_one_that_does_not() -> None:
    """An alert without both could be one that always fires, or never."""
    cases = [
        case
        for path in CASES
        for test in yaml.safe_load(path.read_text())["tests"]
        for case in test.get("alert_rule_test", [])
    ]
    names = {alert.name for alert in ALERTS}
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == names
    assert {case["alertname"] for case in cases if not case["exp_alerts"]} == names


@pytest.mark.parametrize("alert", [pytest.param(alert, id=f"{alert.name} {alert.labels}") for alert in ALERTS])
def test_an_alert_says_what_a_person_needs(alert: Rule) -> None:
    """How urgent it is, what happened, and where the runbook is: at the heading of its name."""
    assert alert.labels["severity"] in {"page", "ticket"}
    assert alert.annotations.keys() == {"summary", "description", "runbook_url"}
    assert alert.annotations["runbook_url"] == f"docs/operations.md#{alert.name.lower()}"


def test_every_alert_has_its_section_and_every_section_its_alert() -> None:
    """The runbook's headings are the alerts' names, none missing, none left over."""
    runbook = RUNBOOK.read_text().split("\n## Runbook\n")[1].split("\n## ")[0]
    headings = re.findall(r"^### (.+)$", runbook, flags=re.MULTILINE)
    assert headings == sorted(set(headings), key=headings.index)
    assert set(headings) == {alert.name for alert in ALERTS}


def test_the_objectives_are_told() -> None:
    """The operations document states every promise in the rules' own words."""
    told = " ".join(RUNBOOK.read_text().split())
    for indicator in INDICATORS:
        assert indicator.promise in told


def test_no_rule_file_is_left_out() -> None:
    """What Prometheus loads is every file that is tested here."""
    patterns: list[Any] = yaml.safe_load(CONFIG.read_text())["rule_files"]
    assert sorted(path for pattern in patterns for path in PROMETHEUS.glob(pattern)) == list(RULE_FILES)


def test_every_reason_of_a_dead_letter_has_its_remedy() -> None:
    """The table under DeadLetters has each reason that a record can be refused for, and no other."""
    section = RUNBOOK.read_text().split("\n### DeadLetters\n")[1].split("\n### ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE) == list(get_args(RejectReason))
