"""Writes the recording rules and burn-rate alerts of the objectives: `make dashboards`.

Multi-window, multi-burn-rate alerts, as in chapter 5 of Google's Site Reliability Workbook ("Alerting on SLOs"): the
long window says that it matters, the short one that it still goes on.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from agents.objectives import ANSWER_LATENCY, FRESHNESS, MODEL_SHARE, NOT_THE_MODELS, Objective

RUNBOOK: Final = "docs/operations.md"
RULES: Final = Path(__file__).parent / "rules" / "slos.yml"
_HEADER: Final = "# Written by `make dashboards` from compose/prometheus/slos.py; do not edit.\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Indicator:
    """How Prometheus sees one objective.

    alert: name of its alerts, and, in lower case, their runbook's anchor.
    errors, events: PromQL of the two rates, or of the two numbers in the window; `[w]` stands for the window.
    """

    objective: Objective
    alert: str
    promise: str
    errors: str
    events: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Burn:
    """A rate of spending the error budget, and how soon someone must know."""

    factor: float
    short: str
    long: str
    wait: str
    severity: str


_END_TO_END: Final = "insession_end_to_end_seconds"
_WAITING: Final = "(sum(insession_consumer_lag_records and (insession_committed_offset_age_seconds > 10)) or vector(0))"
"""Clicks of partitions whose offset has stood still for longer than the promise: late, and answered by nobody yet."""
_OTHERS: Final = "|".join(NOT_THE_MODELS)


def _seconds(objective: Objective) -> float:
    assert objective.within is not None
    return objective.within.total_seconds()


def _late(function: str, objective: Objective) -> str:
    """Return the clicks that were answered later than the objective says."""
    bucket = f'{_END_TO_END}_bucket{{le="{_seconds(objective)}"}}'
    return f"sum({function}({_END_TO_END}_count[w])) - sum({function}({bucket}[w]))"


def _percent(share: float) -> str:
    return f"{share * 100:g} %"


INDICATORS: Final = (
    Indicator(
        objective=ANSWER_LATENCY,
        alert="AnswerLatencyBudgetBurn",
        promise=f"{_percent(ANSWER_LATENCY.target)} of clicks have their answer on the broker within "
        f"{_seconds(ANSWER_LATENCY) * 1000:g} ms",
        errors=f"({_late('rate', ANSWER_LATENCY)})",
        events=f"sum(rate({_END_TO_END}_count[w]))",
    ),
    Indicator(
        objective=MODEL_SHARE,
        alert="ModelShareBudgetBurn",
        promise=f"{_percent(MODEL_SHARE.target)} of the personal answers come from the model",
        errors=f'sum(rate(insession_answers_total{{reason!~"ok|{_OTHERS}"}}[w]))',
        events=f'sum(rate(insession_answers_total{{reason!~"{_OTHERS}"}}[w]))',
    ),
    Indicator(
        objective=FRESHNESS,
        alert="FreshnessBudgetBurn",
        promise=f"{_percent(FRESHNESS.target)} of clicks are answered within {_seconds(FRESHNESS):g} s, restarts and "
        "rebalances included",
        errors=f"({_late('increase', FRESHNESS)} + {_WAITING})",
        events=f"(sum(increase({_END_TO_END}_count[w])) + {_WAITING})",
    ),
)
BURNS: Final = (
    Burn(factor=14.4, short="5m", long="1h", wait="2m", severity="page"),
    Burn(factor=6, short="30m", long="6h", wait="5m", severity="page"),
    Burn(factor=1, short="6h", long="3d", wait="1h", severity="ticket"),
)
WINDOWS: Final = ("5m", "30m", "1h", "6h", "3d")


def rules_yaml() -> str:
    """Spell all rules in Prometheus' YAML."""
    recordings = [rule for indicator in INDICATORS for rule in _recordings(indicator)]
    alerts = [_alert(indicator, burn) for indicator in INDICATORS for burn in BURNS]
    # One group: its rules are evaluated in order, so the alerts see what was recorded for the same moment.
    groups = [{"name": "slos", "rules": recordings + alerts}]
    return _HEADER + yaml.safe_dump({"groups": groups}, sort_keys=False, width=1000)


def _recordings(indicator: Indicator) -> Iterator[dict[str, Any]]:
    objective = indicator.objective
    for window in WINDOWS:
        errors, events = (part.replace("[w]", f"[{window}]") for part in (indicator.errors, indicator.events))
        yield {"record": f"slo:sli_error:ratio_rate{window}", "expr": f"{errors} / {events}", **_labels(objective)}
    budget = f"vector(1 - {objective.target:g})"
    yield {"record": "slo:error_budget:ratio", "expr": budget, **_labels(objective)}


def _labels(objective: Objective) -> dict[str, dict[str, str]]:
    return {"labels": {"slo": objective.name}}


def _alert(indicator: Indicator, burn: Burn) -> dict[str, Any]:
    objective = indicator.objective
    selector = f'{{slo="{objective.name}"}}'
    above = f"> {burn.factor:g} * {objective.budget:.4g}"
    ratios = [f"slo:sli_error:ratio_rate{window}{selector} {above}" for window in (burn.long, burn.short)]
    return {
        "alert": indicator.alert,
        "expr": " and ".join(ratios),
        "for": burn.wait,
        "labels": {"severity": burn.severity, "window": burn.long},
        "annotations": {
            "summary": f"The error budget of {objective.name} is spent more than {burn.factor:g} times as fast as "
            "allowed.",
            "description": f"Objective: {indicator.promise}. Over {burn.long}, {{{{ $value | humanizePercentage }}}} "
            "were not.",
            "runbook_url": f"{RUNBOOK}#{indicator.alert.lower()}",
        },
    }


if __name__ == "__main__":
    RULES.write_text(rules_yaml())
