"""The alert and recording rules as they are shipped."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

PROMETHEUS: Final = Path(__file__).parents[2] / "compose" / "prometheus"
RULE_FILES: Final = tuple(sorted((PROMETHEUS / "rules").glob("*.yml")))
_COMPARISON: Final = re.compile(r" (==|!=|<=|>=|<|>) ")
_OFFSET: Final = re.compile(r" offset \w+")


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule; name: of the alert, or of the series that it records."""

    name: str
    expr: str
    is_alert: bool
    labels: Mapping[str, str]
    annotations: Mapping[str, str]

    @property
    def always(self) -> str:
        """The expression with comparisons that give 0 or 1 for each series and leave none out, and now for earlier."""
        return _COMPARISON.sub(r" \1 bool ", _OFFSET.sub("", self.expr))


def rules() -> Iterator[Rule]:
    """Read all rules."""
    for path in RULE_FILES:
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                yield _rule(rule)


def _rule(rule: Mapping[str, Any]) -> Rule:
    name = rule.get("alert") or rule["record"]
    return Rule(name, rule["expr"], "alert" in rule, rule.get("labels", {}), rule.get("annotations", {}))
