"""Draws the dashboards' panels from a Prometheus' answers, for the documents: what Grafana shows, nearly."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from string import Template
from typing import Any, Final

import matplotlib as mpl
from matplotlib.dates import ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from compose.grafana.panels import DashboardPage, Panel, Query

COLUMNS: Final = 24
_INCHES_WIDE: Final = 15.0
_INCHES_HIGH: Final = {"stat": 1.1, "timeseries": 2.6}
_TITLE_INCHES: Final = 0.4
_HEADING_INCHES: Final = 0.25
_LEGEND_INCHES: Final = 0.75
_AXIS_INCHES: Final = 0.65
_GAP_INCHES: Final = 0.15
_DOTS_PER_INCH: Final = 80
_COLORS: Final = ("#3871dc", "#e0752d", "#37872d", "#c4162a", "#8f3bb8", "#1f9aa8", "#b58900", "#ad0317", "#5f6b7a")
_GOOD, _WARNING, _ALARM = "#37872d", "#e0752d", "#c4162a"
_STYLE: Final = {
    "font.family": "DejaVu Sans",
    "font.size": 8.0,
    "axes.edgecolor": "#c7d0d9",
    "axes.labelcolor": "#52606d",
    "text.color": "#24292e",
    "xtick.color": "#52606d",
    "ytick.color": "#52606d",
}
_MAX_LEGENDS: Final = 8


@dataclass(frozen=True, slots=True)
class Line:
    """One series of a panel: Unix seconds and values, NaN where there is none."""

    label: str
    seconds: Sequence[float]
    values: Sequence[float]


Ask = Callable[[Query], Sequence[Line]]


def draw(page: DashboardPage, ask: Ask, path: Path) -> None:
    """Draw all panels of a dashboard into a PNG."""
    rows = _rows(page.panels)
    height = _TITLE_INCHES + sum(_INCHES_HIGH[row[0].kind] for row in rows)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_INCHES_WIDE, height), facecolor="#f4f5f7")
        figure.text(_GAP_INCHES / _INCHES_WIDE, 1 - 0.3 / height, page.title, fontsize=12, fontweight="bold")
        top = height - _TITLE_INCHES
        for row in rows:
            top -= _INCHES_HIGH[row[0].kind]
            left = 0
            for panel in row:
                _draw_panel(
                    figure, panel, (left, top, height), [line for query in panel.queries for line in ask(query)]
                )
                left += panel.width
        figure.savefig(path, dpi=_DOTS_PER_INCH, pil_kwargs={"optimize": True})


def _draw_panel(figure: Figure, panel: Panel, where: tuple[int, float, float], lines: Sequence[Line]) -> None:
    """Draw a panel; where: its first column, its lower end and the figure's height in inches."""
    column, bottom, height = where
    inches = _INCHES_WIDE / COLUMNS
    is_stat = panel.kind == "stat"
    left, below = (_GAP_INCHES, 0.1) if is_stat else (_AXIS_INCHES, _LEGEND_INCHES)
    axes = figure.add_axes(
        (
            (column * inches + left) / _INCHES_WIDE,
            (bottom + below) / height,
            (panel.width * inches - left - _GAP_INCHES) / _INCHES_WIDE,
            (_INCHES_HIGH[panel.kind] - below - _HEADING_INCHES) / height,
        )
    )
    (_draw_stat if is_stat else _draw_timeseries)(axes, panel, lines)


def legend_of(template: str, labels: Mapping[str, str]) -> str:
    """Fill Grafana's `{{label}}` in."""
    return Template(template.replace("{{", "${").replace("}}", "}")).safe_substitute(labels) if labels else template


def in_unit(value: float, unit: str) -> str:
    """Spell a value as Grafana does with that unit."""
    if math.isnan(value):
        return "-"
    if unit == "percentunit":
        return f"{100 * value:.3g} %"
    if unit == "s":
        return _seconds(value)
    factor, suffixes = (1024.0, ("B", "KiB", "MiB", "GiB")) if unit == "bytes" else (1000.0, ("", "k", "M", "G"))
    power = min(len(suffixes) - 1, int(math.log(max(abs(value), 1.0), factor)))
    spelled = f"{value / factor**power:.3g} {suffixes[power]}".strip()
    return f"{spelled} /s" if unit == "reqps" else spelled


def _seconds(value: float) -> str:
    for unit, length in (("d", 86400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0)):
        if value >= length:
            return f"{value / length:.3g} {unit}"
    return f"{1000 * value:.3g} ms"


def _rows(panels: Sequence[Panel]) -> list[list[Panel]]:
    """Fill row after row, as Grafana does; a row holds panels of one kind."""
    rows: list[list[Panel]] = [[]]
    for panel in panels:
        row = rows[-1]
        if row and (row[0].kind != panel.kind or sum(one.width for one in row) + panel.width > COLUMNS):
            rows.append([])
        rows[-1].append(panel)
    return rows


def _card(axes: Any, panel: Panel) -> None:
    axes.set_facecolor("white")
    axes.set_title(panel.title, loc="left", fontsize=9, fontweight="bold")


def _draw_stat(axes: Any, panel: Panel, lines: Sequence[Line]) -> None:
    _card(axes, panel)
    axes.set_xticks([])
    axes.set_yticks([])
    for number, line in enumerate(lines[:2]):
        last = next((value for value in reversed(line.values) if not math.isnan(value)), math.nan)
        where = (number + 0.5) / min(2, len(lines))
        color = _color_of(panel, last)
        axes.text(
            where,
            0.5,
            in_unit(last, panel.unit),
            transform=axes.transAxes,
            ha="center",
            va="center",
            fontsize=22,
            color=color,
        )
        if len(lines) > 1:
            axes.text(where, 0.08, line.label, transform=axes.transAxes, ha="center", color="#52606d")
    if len(lines) == 1:
        trend = axes.twinx()
        trend.fill_between(lines[0].seconds, lines[0].values, color=_COLORS[0], alpha=0.12, linewidth=0)
        trend.set_axis_off()


def _color_of(panel: Panel, value: float) -> str:
    for limit, color in ((panel.alarm_at, _ALARM), (panel.warn_at, _WARNING)):
        if limit is not None and (value < limit if panel.falling else value >= limit):
            return color
    return _GOOD


def _draw_timeseries(axes: Any, panel: Panel, lines: Sequence[Line]) -> None:
    _card(axes, panel)
    axes.grid(axis="y", color="#e4e7eb", linewidth=0.7)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0)
    shown = [line for line in lines if any(value for value in line.values if not math.isnan(value))] or list(lines)
    if panel.stacked and shown:
        _draw_stacked(axes, shown)
    else:
        for number, line in enumerate(shown):
            times = [_time(second) for second in line.seconds]
            axes.plot(times, line.values, color=_COLORS[number % len(_COLORS)], linewidth=1.3, label=line.label)
    _, top = axes.get_ylim()
    axes.set_ylim(0, panel.maximum if panel.maximum is not None and top <= 1.2 * panel.maximum else max(top, 1e-9))
    for limit, color in ((panel.warn_at, _WARNING), (panel.alarm_at, _ALARM)):
        if limit is not None and limit <= axes.get_ylim()[1]:
            axes.axhline(limit, color=color, linewidth=1, linestyle="--")
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: in_unit(value, panel.unit)))
    axes.xaxis.set_major_locator(mpl.dates.AutoDateLocator(maxticks=5))
    axes.xaxis.set_major_formatter(ConciseDateFormatter(axes.xaxis.get_major_locator(), show_offset=False))
    if shown:
        columns = min(len(shown[:_MAX_LEGENDS]), 4)
        handles, labels = axes.get_legend_handles_labels()
        axes.legend(
            handles[:_MAX_LEGENDS],
            labels[:_MAX_LEGENDS],
            loc="upper left",
            bbox_to_anchor=(-0.02, -0.11),
            ncols=columns,
            frameon=False,
            fontsize=7,
        )


def _draw_stacked(axes: Any, lines: Sequence[Line]) -> None:
    seconds = sorted({second for line in lines for second in line.seconds})
    known = [dict(zip(line.seconds, line.values, strict=True)) for line in lines]
    filled = [[_number(values.get(second)) for second in seconds] for values in known]
    colors = [_COLORS[number % len(_COLORS)] for number in range(len(lines))]
    axes.stackplot(
        [_time(second) for second in seconds], filled, labels=[line.label for line in lines], colors=colors, alpha=0.75
    )


def _number(value: float | None) -> float:
    return 0.0 if value is None or math.isnan(value) else value


def _time(second: float) -> float:
    at: float = date2num(datetime.fromtimestamp(second, UTC))
    return at
