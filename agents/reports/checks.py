"""What the checks of a release found, as a table for the terminal, as Markdown and as a page with pictures."""

import html
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from rich.table import Table

from agents.reports.tables import document, html_table, markdown_table, svg, terminal_table
from schemas.check_report import UNKNOWN_SHARE, CheckReport, CheckSlice

_STATES: Final = {False: "FAILED", None: "not run", True: "passed"}
"""What matters most first."""
_VERDICTS: Final = {"lost": "lost", "weak": "weak", "few": "too few to judge", "good": ""}
_NOTHING: Final = "Nothing that these data show."
_LEGEND: Final = (
    "lost: a plain list is better, or a category is left out; weak: recall far below the whole; figures are "
    "recall@20 / MRR@20 where nothing else is said"
)
_LEAST_UNKNOWN_SHARE: Final = 0.01
_RECALL, _MRR = ".recall_at_20", ".mrr_at_20"


class _Section(NamedTuple):
    """A table, and what of it is drawn; rows with a header."""

    title: str
    rows: list[list[str]]
    drawn: Sequence[CheckSlice] = ()


def summary_rows(report: CheckReport) -> list[list[str]]:
    """Return a row a check, what failed first, with a header."""
    checks = sorted(report.checks.items(), key=lambda item: list(_STATES).index(item[1].passed))
    return [["check", "result", "reason"], *([name, _STATES[one.passed], one.reason] for name, one in checks)]


def summary_table(report: CheckReport) -> Table:
    """Return the same for the terminal."""
    table = terminal_table(summary_rows(report), caption=headline(report))
    for column in table.columns:
        column.justify = "left"
    return table


def headline(report: CheckReport) -> str:
    """Say of what the report is, and how it ended."""
    against = "without a champion" if report.against is None else f"against version {report.against}"
    verdict = f"fails {', '.join(report.failed)}" if report.failed else "fails no check"
    return f"Version {report.version}, {against}, {report.made_at:%Y-%m-%d %H:%M} UTC: {verdict}"


def badly_served(report: CheckReport) -> list[str]:
    """Name what the release cannot serve well: all, where the hold-out fails; items that it does not know; slices."""
    hold_out = report.checks.get("hold_out")
    unknown = 0.0 if hold_out is None else hold_out.figures.get(UNKNOWN_SHARE, 0.0)
    named = ["all clicks: hold_out fails"] if hold_out is not None and hold_out.passed is False else []
    named += [f"items that it does not know: {unknown:.0%} of the clicks"] if unknown >= _LEAST_UNKNOWN_SHARE else []
    return named + [
        f"{one.kind} {one.part}, {one.targets:,} clicks: {_VERDICTS[one.verdict]}"
        for result in report.checks.values()
        for one in result.slices
        if one.verdict in {"lost", "weak"}
    ]


def markdown(report: CheckReport) -> str:
    """Write everything as Markdown."""
    parts = [f"# {headline(report)}", markdown_table(_without_bars(summary_rows(report)))]
    parts += ["## What it cannot serve well", "\n".join(f"- {one}" for one in badly_served(report) or [_NOTHING])]
    parts.append(f"{_LEGEND}.")
    for section in _sections(report):
        parts += [f"## {section.title}", markdown_table(_without_bars(section.rows))]
    return "\n\n".join(parts) + "\n"


def page(report: CheckReport) -> str:
    """Write everything as one HTML page with pictures; imports matplotlib."""
    badly = "".join(f"<li>{html.escape(one)}</li>" for one in badly_served(report) or [_NOTHING])
    parts = [f"<h1>{html.escape(headline(report))}</h1>", html_table(summary_rows(report), are_words=True)]
    parts += [f"<h2>What it cannot serve well</h2><ul>{badly}</ul><p>{_LEGEND}.</p>"]
    for section in _sections(report):
        parts.append(f"<h2>{html.escape(section.title)}</h2>")
        if section.drawn:
            parts.append(f"<figure>{_plot(section.drawn)}</figure>")
        parts.append(html_table(section.rows))
    return document(f"Checks of version {report.version}", parts)


def _sections(report: CheckReport) -> Iterator[_Section]:
    for name, result in report.checks.items():
        if result.figures:
            figures = [[figure, f"{value:,.6g}"] for figure, value in result.figures.items()]
            yield _Section(f"{name}: figures", [["figure", "value"], *figures])
        for kind in dict.fromkeys(one.kind for one in result.slices):
            slices = [one for one in result.slices if one.kind == kind]
            ranked = [one for one in slices if any(figure.endswith(_RECALL) for figure in one.figures)]
            yield _Section(f"{name}: by {kind}", _slice_rows(kind, slices), ranked)


def _slice_rows(kind: str, slices: Sequence[CheckSlice]) -> list[list[str]]:
    rows = [[kind, "clicks", *_cells(slices[0]), "verdict"]]
    rows += [[one.part, f"{one.targets:,}", *_cells(one).values(), _VERDICTS[one.verdict]] for one in slices]
    return rows


def _cells(one: CheckSlice) -> dict[str, str]:
    """Return recall and MRR of each in one cell, other figures in their own."""
    who = [figure.removesuffix(_RECALL) for figure in one.figures if figure.endswith(_RECALL)]
    if not who:
        return {figure: f"{value:.4f}" for figure, value in one.figures.items()}
    return {name: f"{one.figures[name + _RECALL]:.4f} / {one.figures[name + _MRR]:.4f}" for name in who}


def _plot(slices: Sequence[CheckSlice]) -> str:
    """Draw recall@20 and MRR@20 of each part, a line each who answered, as SVG."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - only the page needs it

    figure = Figure(figsize=(10, 3.4), layout="constrained")
    for axes, (title, measure) in zip(figure.subplots(1, 2), {"R@20": _RECALL, "MRR@20": _MRR}.items(), strict=True):
        for name in _cells(slices[0]):
            axes.plot([one.figures[name + measure] for one in slices], marker="o", markersize=3, label=name)
        axes.set(title=f"{title} by {slices[0].kind}", ylim=(0, None))
        axes.set_xticks(range(len(slices)), [one.part for one in slices], rotation=30)
        axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return svg(figure)


def _without_bars(rows: list[list[str]]) -> list[list[str]]:
    """Keep what others wrote, such as categories and item ids, from making columns."""
    return [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
