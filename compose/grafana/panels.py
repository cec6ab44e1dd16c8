"""What a dashboard is made of, and the PromQL that its panels are written in.

Every selector is bound to the dashboard's variables; `$__rate_interval` is Grafana's: at least four scrapes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

_WORKERS: Final = ('job="$job"', 'instance=~"$instance"')


@dataclass(frozen=True, slots=True)
class Query:
    """One expression. legend: Grafana's format, `{{label}}` stands for a label's value."""

    expr: str
    legend: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One panel.

    unit: Grafana's id of it, e.g. "s", "bytes", "percentunit", "reqps", "short".
    warn_at, alarm_at: thresholds, in the unit; falling: being below them is what is bad.
    runbook: anchor in docs/operations.md, where what it shows is explained.
    width: of 24 columns.
    row: title of the row that begins with it.
    """

    title: str
    description: str
    queries: Sequence[Query]
    unit: str
    runbook: str
    kind: Literal["timeseries", "stat"] = "timeseries"
    width: int = 8
    stacked: bool = False
    warn_at: float | None = None
    alarm_at: float | None = None
    falling: bool = False
    maximum: float | None = None
    row: str | None = None


@dataclass(frozen=True, slots=True)
class DashboardPage:
    """One dashboard. uid: its address in Grafana, and the name of its file."""

    uid: str
    title: str
    description: str
    panels: Sequence[Panel]


def of(metric: str, *matchers: str) -> str:
    """Select the series of `metric` from the workers that the dashboard looks at."""
    return f"{metric}{{{','.join((*_WORKERS, *matchers))}}}"


def rate(metric: str, *matchers: str, by: str = "") -> str:
    """Sum the rates of a counter, a second, by the labels `by`."""
    return f"{_sum(by)}(rate({of(metric, *matchers)}[$__rate_interval]))"


def increase(metric: str, *matchers: str, by: str = "", over: str = "1h") -> str:
    """Sum what a counter has grown by."""
    return f"{_sum(by)}(increase({of(metric, *matchers)}[{over}]))"


def or_nothing(expr: str) -> str:
    """Show 0 where there is no series yet: of a counter whose labels are known when it first counts."""
    return f"{expr} or vector(0)"


def share(part: str, whole: str) -> str:
    """Return a part of a whole; NaN where the whole is nothing."""
    return f"{part} / {whole}"


def quantile(q: float, histogram: str, by: str = "") -> str:
    """Estimate a quantile from a histogram's buckets."""
    return f"histogram_quantile({q}, {rate(f'{histogram}_bucket', by=f'le, {by}' if by else 'le')})"


def quantiles(histogram: str) -> tuple[Query, ...]:
    """Ask for median, p95 and p99."""
    return tuple(Query(quantile(q, histogram), f"p{q * 100:.0f}") for q in (0.5, 0.95, 0.99))


def _sum(by: str) -> str:
    return f"sum by ({by}) " if by else "sum"
