"""An evaluation as tables for the terminal and Markdown, and as a page with plots that needs nothing else."""

import html
from collections.abc import Iterable
from typing import Final

import numpy as np
from rich.table import Table

from agents.reports.intent import LEGEND as INTENT_LEGEND
from agents.reports.intent import IntentSection, intent_sections
from agents.reports.tables import document, html_table, markdown_table, svg, terminal_table
from session_model.data.training_overlap import Overlap
from session_model.evaluation.comparison import REFERENCE
from session_model.evaluation.intent import IntentEvaluation
from session_model.evaluation.ranking import Evaluation
from session_model.metrics.bootstrap import Interval

COLUMNS: Final = {
    "R@1": "recall_at_1",
    "R@5": "recall_at_5",
    "R@10": "recall_at_10",
    "R@20": "recall_at_20",
    "MRR@20": "mrr_at_20",
    "NDCG@20": "ndcg_at_20",
    "cover@20": "coverage_at_20",
    "Gini@20": "gini_at_20",
    "novelty@20": "novelty_at_20",
    "pop@20": "popularity_bias_at_20",
}
LEGEND: Final = (
    "R recall, MRR mean reciprocal rank, NDCG discounted gain; of the first 20 places: cover share of the catalogue "
    "shown, Gini 0 = all items alike, novelty mean surprise in bits, pop mean popularity percentile"
)
_NARROW: Final = ("R@1", "R@5", "R@10", "R@20", "MRR@20", "cover@20", "pop@20")
_NARROW_LEGEND: Final = (
    "R recall, MRR mean reciprocal rank, cover share of the catalogue shown, pop mean popularity percentile; "
    "NDCG, Gini, novelty and slices are in --json, --markdown and --html"
)
_MEASURES: Final = {"R@20": "recall_at_20", "MRR@20": "mrr_at_20"}


def headline(result: Evaluation) -> str:
    """Describe what was asked: data set, targets, sessions, and what unseen items count as."""
    unseen = "unseen items count as misses" if result.unseen == "miss" else "clicks of unseen items dropped"
    return f"{result.dataset}: {result.targets:,} targets in {result.sessions:,} sessions, {unseen}"


def overlap_warning(overlap: Overlap) -> str:
    """Describe what a test shares with the training data, and what that means."""
    identity = "items and times" if overlap.identity == "items_and_times" else "items"
    return (
        f"{overlap.share:.0%} of {overlap.compared:,} test sessions were trained on (equal {identity}; chance: "
        f"{overlap.expected:.1%}), so the figures are no measure of new sessions; take sessions of after the training"
    )


def metric_rows(result: Evaluation, columns: Iterable[str] = tuple(COLUMNS)) -> list[list[str]]:
    """Return a row a model, with a header."""
    metrics = {heading: COLUMNS[heading] for heading in columns}
    rows = [["model", *metrics]]
    rows += [[name, *(f"{m[metric]:.4f}" for metric in metrics.values())] for name, m in result.models.items()]
    return rows


def interval_rows(result: Evaluation) -> list[list[str]]:
    """Return 95 % intervals a model, and those of the paired difference from the blend, with a header."""
    rows = [["model", *_MEASURES, *(f"{REFERENCE} minus it, {name}" for name in _MEASURES)]]
    for name, own in result.intervals.items():
        minus = result.differences.get(name)
        paired = ["-"] * len(_MEASURES) if minus is None else [_signed(minus[one]) for one in _MEASURES.values()]
        rows.append([name, *(_range(own[one]) for one in _MEASURES.values()), *paired])
    return rows


def slice_rows(result: Evaluation, kind: str) -> list[list[str]]:
    """Return a row a part with every model's Recall@20 / MRR@20, with a header."""
    rows = [[kind, "targets", *result.models]]
    for part, one in result.slices[kind].items():
        cells = (f"{m['recall_at_20']:.4f} / {m['mrr_at_20']:.4f}" for m in one.models.values())
        rows.append([part, f"{one.targets:,}", *cells])
    return rows


def terminal_tables(result: Evaluation) -> Iterable[Table]:
    """Return the metrics that fit eighty columns, and the comparison with the blend."""
    yield terminal_table(metric_rows(result, _NARROW), caption=_NARROW_LEGEND)
    yield terminal_table(
        interval_rows(result), caption="95 % intervals, bootstrap over sessions; differences are paired"
    )


def markdown(result: Evaluation, intent: IntentEvaluation | None = None, overlap: Overlap | None = None) -> str:
    """Write everything as Markdown."""
    warning = _warning(overlap)
    parts = [f"# {headline(result)}", f"**{warning}.**" if warning else ""]
    parts += [markdown_table(metric_rows(result)), LEGEND + "."]
    parts += ["## 95 % intervals, bootstrap over sessions", markdown_table(interval_rows(result))]
    for kind in result.slices:
        parts += [f"## Recall@20 / MRR@20 by {kind}", markdown_table(slice_rows(result, kind))]
    if intent is not None:
        parts += ["## Intent", f"{INTENT_LEGEND}."]
        for section in intent_sections(intent):
            parts += [markdown_table(section.rows) if section.by_prefix else "", section.gap]
    return "\n\n".join(part for part in parts if part) + "\n"


def page(result: Evaluation, intent: IntentEvaluation | None = None, overlap: Overlap | None = None) -> str:
    """Write everything as one HTML page with plots; imports matplotlib."""
    parts = [f"<h1>{html.escape(headline(result))}</h1>"]
    if warning := _warning(overlap):
        parts.append(f"<p><strong>{html.escape(warning)}.</strong></p>")
    parts += [html_table(metric_rows(result)), f"<p>{LEGEND}.</p>"]
    parts += ["<h2>95 % intervals, bootstrap over sessions</h2>", html_table(interval_rows(result))]
    for kind in result.slices:
        parts += [
            f"<h2>By {kind}</h2>",
            f"<figure>{_plot(result, kind)}</figure>",
            html_table(slice_rows(result, kind)),
        ]
    if intent is not None:
        parts += ["<h2>Intent</h2>", f"<p>{html.escape(INTENT_LEGEND)}.</p>"]
        for section in intent_sections(intent):
            if section.is_by_length:
                parts.append(f"<figure>{_intent_plot(section)}</figure>")
            if section.by_prefix:
                parts.append(html_table(section.rows))
            if section.gap:
                parts.append(f"<p>{section.gap}</p>")
    return document(result.dataset, parts)


def _warning(overlap: Overlap | None) -> str | None:
    return overlap_warning(overlap) if overlap is not None and overlap.is_suspect else None


def _plot(result: Evaluation, kind: str) -> str:
    """Draw Recall@20 and MRR@20 of each part, a line a model, as SVG."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - only the page needs it

    parts = result.slices[kind]
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    for axes, (title, measure) in zip(figure.subplots(1, 2), _MEASURES.items(), strict=True):
        for name in result.models:
            heights = [one.models[name][measure] for one in parts.values()]
            axes.plot(range(len(parts)), heights, marker="o", markersize=3, label=name)
        axes.set(title=f"{title} by {kind}", ylim=(0, None))
        axes.set_xticks(range(len(parts)), list(parts), rotation=30)
        axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return svg(figure)


def _intent_plot(section: IntentSection) -> str:
    """Draw PR-AUC with its interval above the base rate, and ROC-AUC, by prefix, as SVG."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - only the page needs it

    figure, places = Figure(figsize=(10, 3.4), layout="constrained"), range(len(section.by_prefix))
    known = list(section.by_prefix.values())
    bars = {"pr_auc": "base rate", "roc_auc": "chance"}
    for axes, (measure, nothing) in zip(figure.subplots(1, 2), bars.items(), strict=True):
        intervals = [one.intervals[measure] for one in known]
        values = [one.value for one in intervals]
        # A percentile interval need not hold its value.
        ends = [[max(0.0, one.value - one.low), max(0.0, one.high - one.value)] for one in intervals]
        axes.errorbar(places, values, np.array(ends).T, marker="o", markersize=3, capsize=3, label="served")
        axes.plot(places, [one.logistic[measure] for one in known], "_", markersize=14, label="logistic")
        bar = [one.base_rate for one in known] if measure == "pr_auc" else [0.5] * len(known)
        axes.plot(places, bar, linestyle="--", color="grey", label=nothing)
        title = f"{measure.replace('_', '-').upper()}, {section.title} so many events"
        axes.set(title=title, ylim=(0, 1))
        axes.set_xticks(places, list(section.by_prefix))
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    return svg(figure)


def _range(interval: Interval) -> str:
    return f"{interval.value:.4f} [{interval.low:.4f}, {interval.high:.4f}]"


def _signed(interval: Interval) -> str:
    return f"{interval.value:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}]"
