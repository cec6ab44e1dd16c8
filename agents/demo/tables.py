"""The report as a table."""

from collections.abc import Mapping

from rich.table import Table

from agents.demo.intent_score import IntentReport
from agents.demo.sale_score import SaleReport
from agents.demo.scoreboard import Report
from agents.demo.trending_score import TrendingReport
from schemas.ids import ItemId
from schemas.records import TRENDING_KEY


def report_table(report: Report, title: str, titles: Mapping[ItemId, str]) -> Table:
    """Lay a report out in two columns; titles: of items, where the source tells them."""
    table = Table(title=title, title_justify="left", show_header=False, expand=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    latency, rates, live = report.latency_seconds, report.hit_rate_at_20, report.live
    table.add_row("events in", f"{report.events_in:,} ({report.events_per_second:,.0f} a second)")
    if report.ignored or report.interactions > report.events_in:
        table.add_row("interactions in them", f"{report.interactions:,}; {report.ignored:,} records are not for us")
    table.add_row("records", _counts(report.records) + f", dead letters {report.dead_lettered:,}")
    table.add_row("without a record, ids twice", f"{report.lost:,}, {report.duplicate_ids:,}")
    table.add_row("answers by tier", _shares(report.answers_by_tier))
    if report.fallback_reasons:
        table.add_row("why not the model", _counts(report.fallback_reasons))
    table.add_row(
        "click to answer", f"p50 {seconds(latency.p50)}, p95 {seconds(latency.p95)}, p99 {seconds(latency.p99)}"
    )
    table.add_row(
        "next click in the 20",
        f"{percent(rates.model)}, most popular {percent(rates.popular)} ({rates.targets:,} answers with a next click)",
    )
    mrr = "-" if live.mrr is None else f"{live.mrr:.3f}"
    table.add_row(
        "as the outcomes tell", f"{percent(live.hit_rate)}, MRR {mrr} ({live.clicks:,} clicks after an answer)"
    )
    table.add_row("purchase later?", _intent(report.intent))
    table.add_row("trending", _trending(report.trending, titles))
    for sale in report.sales:
        table.add_row(f"flash sale in {sale.location}", _sale(sale))
    if titles:
        table.add_row(
            "gone items in answers", f"{report.unavailable_emitted:,} answers held one gone for more than 1 s"
        )
    if report.rules.in_force or report.rules.applied:
        after = seconds(report.rules.applied_after_seconds)
        table.add_row(
            "merchants' rules",
            f"{report.rules.in_force} in force, in {report.rules.applied:,} answers, {after} after it was put",
        )
    return table


def seconds(value: float | None) -> str:
    """Spell a latency in milliseconds."""
    return "-" if value is None else f"{value * 1000:,.0f} ms"


def percent(value: float | None) -> str:
    """Spell a share."""
    return "-" if value is None else f"{value:.1%}"


def _counts(counts: Mapping[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda entry: -entry[1])
    return ", ".join(f"{name} {count:,}" for name, count in ordered) or "none"


def _shares(counts: Mapping[str, int]) -> str:
    total = sum(counts.values())
    ordered = sorted(counts.items(), key=lambda entry: -entry[1])
    return ", ".join(f"{name} {percent(count / total)}" for name, count in ordered) or "none"


def _trending(trending: TrendingReport, titles: Mapping[ItemId, str]) -> str:
    if trending.age_seconds is None:
        return "nothing yet"
    lines = [f"lists of {trending.locations} places, {trending.items} items, {trending.age_seconds:.0f} s old"]
    for place, items in trending.first.items():
        where = "everywhere" if place == TRENDING_KEY else place
        lines.append(f"{where}: " + "; ".join(titles.get(item, item) for item in items))
    return "\n".join(lines)


def _sale(sale: SaleReport) -> str:
    length = (sale.ends_at - sale.starts_at).total_seconds()
    risen = "" if sale.risen_after_seconds is None else f", rising after {sale.risen_after_seconds:.0f} s"
    held = [
        f"{when} {'-' if mean is None else f'{mean:.1f}'}"
        for when, mean in (("before", sale.before), ("meanwhile", sale.during), ("after", sale.after))
    ]
    return f"{sale.items} items for {length:.0f} s{risen}\nof an answer there: " + ", ".join(held)


def _intent(intent: IntentReport | None) -> str:
    if intent is None:
        return "no truth to compare with, or no calibrated signal"
    area = "-" if intent.pr_auc is None else f"{intent.pr_auc:.3f}"
    brier = f"Brier {intent.brier:.4f}, always the base rate {intent.brier_of_base_rate:.4f}"
    lines = [f"{brier}; PR-AUC {area}, chance {intent.purchased_share:.3f}"]
    lines += [
        f"told {percent(band.mean_predicted)}, bought {percent(band.purchased_share)} ({band.signals:,} signals)"
        for band in intent.bands
    ]
    return "\n".join(lines)
