"""The evaluation of intent as tables for the terminal."""

from collections.abc import Iterable
from typing import Final

from rich.table import Table

from session_model.bootstrap import Interval
from session_model.intent_evaluation import END, PREFIX_LENGTHS, IntentEvaluation, PrefixIntent

_LENGTHS: Final = tuple(map(str, PREFIX_LENGTHS))
LEGEND: Final = (
    "95 % intervals, bootstrap over sessions; - logistic: PR-AUC minus that of the logistic regression on the same "
    "features, paired; thin: PR-AUC is not above the base rate, or ROC-AUC not above .5, significantly; "
    "ECE <=: what 95 % of perfectly calibrated models have on as many prefixes"
)


def intent_tables(evaluation: IntentEvaluation) -> Iterable[Table | str]:
    """Give a table a probability; a sentence where there is nothing to measure."""
    yield from _tables("P(purchase) after", evaluation.intent, (*_LENGTHS, END))
    yield from _tables("P(leave) after", evaluation.intent_leave, _LENGTHS)
    yield from _tables("P(cart left) after", evaluation.intent_cart, _LENGTHS)
    yield from _tables("over all prefixes", evaluation.intent_overall, tuple(evaluation.intent_overall))
    yield LEGEND


def _tables(title: str, by_prefix: dict[str, PrefixIntent], expected: tuple[str, ...]) -> Iterable[Table | str]:
    missing = [name for name in expected if name not in by_prefix]
    if by_prefix:
        yield _table(title, by_prefix)
    if missing:
        yield f"{title} {', '.join(missing)}: not measured, as TEST has one outcome there or the release no such model"


def _table(title: str, by_prefix: dict[str, PrefixIntent]) -> Table:
    table = Table(title)
    for heading in ("prefixes", "base", "PR-AUC", "- logistic", "ROC-AUC", "ECE"):
        table.add_column(heading, justify="right")
    for name, one in by_prefix.items():
        table.add_row(
            f"{name} thin" if one.is_thin else name,
            f"{one.n:,}",
            f"{one.base_rate:.3f}",
            _range(one.intervals["pr_auc"]),
            _range(one.minus_logistic["pr_auc"], sign="+"),
            _range(one.intervals["roc_auc"]),
            f"{one.ece:.3f}\n<= {one.ece_by_chance:.3f}",
        )
    return table


def _range(interval: Interval, sign: str = "") -> str:
    value, low, high = (f"{number:{sign}.3f}" for number in (interval.value, interval.low, interval.high))
    return f"{value}\n[{low}, {high}]"
