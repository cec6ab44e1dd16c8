"""Whether the offline metric still tracks reality: outcomes of the last days against what the checks had measured.

The live hit rate counts clicks whose item stood in the answer before, as recall@20 does of held-out clicks. They are
not the same number: shoppers see the list. So their ratio may lie in a band.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, Self, TypeVar

import numpy as np

from schemas.check_report import CheckResult, CheckThresholds
from schemas.ids import ModelVersion
from schemas.records import RecommendationOutcome
from session_model.checks.answers import CHAMPION
from session_model.checks.contract import CheckInputs, judged, not_run

CORRELATED_VERSIONS: Final = 5
"""Below so many a correlation says nothing."""
_LEAST_PURCHASES: Final = 50
_RECALL: Final = "recall_at_20"


@dataclass(slots=True)
class _Tally:
    """Clicks that followed an answer, and purchases, with their revenue where the catalog has prices."""

    clicks: int = 0
    hits: int = 0
    purchases: int = 0
    revenue: float = 0.0
    revenue_of_hits: float = 0.0

    def __iadd__(self, other: "_Tally") -> Self:
        for name in _Tally.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        return self

    @property
    def hit_rate(self) -> float:
        return self.hits / max(self.clicks, 1)

    @property
    def revenue_share(self) -> float:
        return self.revenue_of_hits / self.revenue if self.revenue else 0.0

    def add(self, outcome: RecommendationOutcome, price: float) -> None:
        is_hit = outcome.position is not None
        if outcome.action == "click":
            self.clicks += 1
            self.hits += is_hit
        elif outcome.action == "purchase":
            self.purchases += 1
            self.revenue += price
            self.revenue_of_hits += price * is_hit


_Tallies = dict[tuple[ModelVersion, date], _Tally]


def metric_drift(given: CheckInputs, limits: CheckThresholds) -> CheckResult:
    """Hold the live hit rate against recall@20 as it was measured, version by version, and the last day against before.

    With `CORRELATED_VERSIONS` versions their correlation must not be below `min_live_correlation`: a metric that ranks
    releases the wrong way round promotes the worse one. The revenue share is that of purchases whose item stood in the
    answer; prices are the catalog's.
    """
    if given.evidence.outcomes is None:
        return not_run("no outcomes tell what shoppers did; give the topic with --outcomes")
    live, offline = _tallied(given, given.evidence.outcomes, limits), _offline(given)
    by_version = _summed((version, tally) for (version, _), tally in live.items())
    known = {version: tally for version, tally in by_version.items() if version in offline}
    clicks = sum(tally.clicks for tally in known.values())
    if clicks < limits.min_targets:
        return not_run(
            f"{clicks:,} clicks followed an answer of a version whose recall is known, checks.min_targets asks for "
            f"{limits.min_targets:,}; give the live version with --against, and outcomes of the last days"
        )
    expected = sum(offline[version] * tally.clicks for version, tally in known.items()) / clicks
    hit_rate = sum(tally.hits for tally in known.values()) / clicks
    figures = {"live_clicks": float(clicks), "live_hit_rate": hit_rate, "offline_recall_at_20": expected}
    complaints = []
    if expected > 0:
        figures["ratio"] = ratio = hit_rate / expected
        if not limits.min_live_ratio <= ratio <= limits.max_live_ratio:
            complaints.append(
                f"{hit_rate:.4f} of {clicks:,} clicks were on items of the answer, offline it was {expected:.4f}: "
                f"{ratio:.2f} times, where checks.min_live_ratio and checks.max_live_ratio allow "
                f"{limits.min_live_ratio:g} to {limits.max_live_ratio:g}; are the lists shown, and is DATA of "
                "the same shoppers?"
            )
    complaints += _correlated(known, offline, limits, figures)
    complaints += _fallen(_summed((day, tally) for (_, day), tally in live.items()), limits, figures)
    praise = f"{hit_rate:.4f} of {clicks:,} live clicks were on items of the answer, offline it was {expected:.4f}"
    return judged(complaints, praise, figures)


def _tallied(given: CheckInputs, outcomes: Iterable[RecommendationOutcome], limits: CheckThresholds) -> _Tallies:
    """Count the model's outcomes by version and day, each once: the topic is written at least once.

    Only the last days count, up to that of the latest outcome.
    """
    seen, tallies = set[int](), defaultdict[tuple[ModelVersion, date], _Tally](_Tally)
    for one in outcomes:
        key = hash(one.id)
        if one.tier != "model" or one.model_version is None or key in seen:
            continue
        seen.add(key)
        record = given.assortment.items.get(one.item_id)
        price = 0.0 if record is None else record.price or 0.0
        tallies[one.model_version, one.event_time.date()].add(one, price)
    since = max((day for _, day in tallies), default=date.max) - timedelta(days=limits.drift_days)
    return {(version, day): tally for (version, day), tally in tallies.items() if day > since}


_Key = TypeVar("_Key", ModelVersion, date)


def _summed(parts: Iterable[tuple[_Key, _Tally]]) -> dict[_Key, _Tally]:
    found = defaultdict[_Key, _Tally](_Tally)
    for key, tally in parts:
        found[key] += tally
    return found


def _offline(given: CheckInputs) -> dict[ModelVersion, float]:
    """Return recall@20 by version, as measured in earlier checks, or of the champion now."""
    found = {
        report.version: report.checks["hold_out"].figures[_RECALL]
        for report in given.evidence.history
        if "hold_out" in report.checks and _RECALL in report.checks["hold_out"].figures
    }
    champion = given.evidence.champion
    if champion is not None:
        found[champion.release.version] = given.answers.whole.means(CHAMPION)[_RECALL]
    return found


def _correlated(
    live: Mapping[ModelVersion, _Tally],
    offline: Mapping[ModelVersion, float],
    limits: CheckThresholds,
    figures: dict[str, float],
) -> list[str]:
    """Correlate offline recall and live hit rate over the versions (Pearson)."""
    pairs = np.array([(offline[version], tally.hit_rate) for version, tally in live.items() if tally.clicks])
    if len(pairs) < CORRELATED_VERSIONS or not pairs.std(axis=0).all():
        return []
    figures["correlation"] = correlation = float(np.corrcoef(pairs.T)[0, 1])
    if correlation >= limits.min_live_correlation:
        return []
    complaint = (
        f"over {len(pairs)} versions offline recall and live hit rate correlate by {correlation:.2f}, "
        f"checks.min_live_correlation asks for {limits.min_live_correlation:g}: the held-out figures choose the wrong "
        "release; hold out sessions of the shoppers who see the lists"
    )
    return [complaint]


def _fallen(by_day: Mapping[date, _Tally], limits: CheckThresholds, figures: dict[str, float]) -> list[str]:
    """Hold the last day against the mean of the days before."""
    if len(by_day) < 2:
        return []
    *before, last = (by_day[day] for day in sorted(by_day))
    complaints = []
    if last.clicks >= limits.min_targets:
        mean = sum(one.hits for one in before) / max(sum(one.clicks for one in before), 1)
        figures |= {"last_day_hit_rate": last.hit_rate, "hit_rate_before": mean}
        if last.hit_rate < (1 - limits.max_live_drop) * mean:
            complaints.append(
                f"the live hit rate of the last day is {last.hit_rate:.4f}, {mean:.4f} before; checks.max_live_drop "
                f"allows {limits.max_live_drop:.0%} less; what changed on that day?"
            )
    if last.purchases >= _LEAST_PURCHASES and last.revenue:
        mean = sum(one.revenue_of_hits for one in before) / max(sum(one.revenue for one in before), 1e-9)
        figures |= {"last_day_revenue_share": last.revenue_share, "revenue_share_before": mean}
        if last.revenue_share < (1 - limits.max_revenue_drop) * mean:
            complaints.append(
                f"{last.revenue_share:.1%} of the last day's revenue stood in an answer, {mean:.1%} before; "
                f"checks.max_revenue_drop allows {limits.max_revenue_drop:.0%} less; look at prices and stock"
            )
    return complaints
