"""The evaluation of intent as tables, for the terminal and for the written reports."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from rich.table import Table

from session_model.evaluation.intent import END, PREFIX_LENGTHS, IntentEvaluation, PrefixIntent
from session_model.metrics.bootstrap import Interval

_LENGTHS: Final = tuple(map(str, PREFIX_LENGTHS))
_HEADINGS: Final = ("prefixes", "base", "PR-AUC", "- logistic", "ROC-AUC", "ECE")
LEGEND: Final = (
    "95 % intervals, bootstrap over sessions; - logistic: PR-AUC minus that of the logistic regression on the same "
    "features, paired; thin: PR-AUC is not above the base rate, or ROC-AUC not above .5, significantly; chance: "
    "the ECE that 95 % of perfectly calibrated models stay below on as many prefixes"
)


class IntentSection(NamedTuple):
    """One probability: by_prefix as measured, and the names of what could not be."""

    title: str
    by_prefix: dict[str, PrefixIntent]
    missing: list[str]

    @property
    def is_by_length(self) -> bool:
        """Return whether something was measured by the length of the prefix."""
        return bool(self.by_prefix) and self.by_prefix.keys() <= {*_LENGTHS, END}

    @property
    def rows(self) -> list[list[str]]:
        """Return a row a prefix length, with a header."""
        return [[self.title, *_HEADINGS], *(_row(name, one) for name, one in self.by_prefix.items())]

    @property
    def gap(self) -> str:
        """Return what was not measured, and why; empty where all was."""
        if not self.missing:
            return ""
        names = ", ".join(self.missing)
        return f"{self.title} {names}: not measured, as TEST has one outcome there or the release no such model"


def intent_sections(evaluation: IntentEvaluation) -> Iterable[IntentSection]:
    """Return each probability by prefix length, then all of them over all prefixes."""
    yield _section("P(purchase) after", evaluation.intent, (*_LENGTHS, END))
    yield _section("P(leave) after", evaluation.intent_leave, _LENGTHS)
    yield _section("P(cart left) after", evaluation.intent_cart, _LENGTHS)
    yield _section("over all prefixes", evaluation.intent_overall, tuple(evaluation.intent_overall))


def intent_tables(evaluation: IntentEvaluation) -> Iterable[Table | str]:
    """Return a table a probability for the terminal; a sentence where there is nothing to measure."""
    for section in intent_sections(evaluation):
        if section.by_prefix:
            header, *rows = section.rows
            table = Table(header[0])
            for heading in header[1:]:
                table.add_column(heading, justify="right")
            for row in rows:
                table.add_row(*(cell.replace(" [", "\n[").replace(" (", "\n(") for cell in row))
            yield table
        if section.gap:
            yield section.gap
    yield LEGEND


def _section(title: str, by_prefix: dict[str, PrefixIntent], expected: tuple[str, ...]) -> IntentSection:
    return IntentSection(title, by_prefix, [name for name in expected if name not in by_prefix])


def _row(name: str, one: PrefixIntent) -> list[str]:
    return [
        f"{name} thin" if one.is_thin else name,
        f"{one.n:,}",
        f"{one.base_rate:.3f}",
        _range(one.intervals["pr_auc"]),
        _range(one.minus_logistic["pr_auc"], sign="+"),
        _range(one.intervals["roc_auc"]),
        f"{one.ece:.3f} (chance {one.ece_by_chance:.3f})",
    ]


def _range(interval: Interval, sign: str = "") -> str:
    value, low, high = (f"{number:{sign}.3f}" for number in (interval.value, interval.low, interval.high))
    return f"{value} [{low}, {high}]"
