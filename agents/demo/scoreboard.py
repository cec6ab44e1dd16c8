"""All that is counted while the demo runs: pure, fed by one thread, told the time."""

from array import array
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from agents.demo.gone_score import GoneScore
from agents.demo.hit_rate import HitRates, NextClickScore, PopularItems
from agents.demo.intent_score import IntentReport, IntentScore
from agents.demo.ledger import Ledger
from agents.demo.outcome_score import LiveRates, OutcomeScore
from agents.demo.rule_score import RuleReport, RuleScore
from agents.demo.sale_score import SaleReport, SaleScore
from agents.demo.spotlight import ShownSession, Spotlight
from agents.demo.trending_score import TrendingReport, TrendingScore
from agents.shop.truth import Truth
from schemas.catalog_reader import CatalogRecord, DescribedItem
from schemas.events import ClickEvent
from schemas.records import IntentSignal, RecommendationOutcome, RecommendationSet, Trending


class Place(NamedTuple):
    """Where an input lies in the clickstream."""

    partition: int
    offset: int

    @classmethod
    def of(cls, record_id: str) -> "Place":
        """Read `{topic}-{partition}-{offset}`, the id of every record that an input causes."""
        _, partition, offset = record_id.rsplit("-", 2)
        return cls(int(partition), int(offset))


@dataclass(frozen=True, slots=True)
class SentInput:
    """An input that the broker has; `time_ms` is the record's timestamp, Unix milliseconds.

    clicks: what it holds; () = it is not for us, and no record is to come.
    """

    place: Place
    time_ms: int
    clicks: tuple[ClickEvent, ...]
    truth: Truth | None


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Of a latency, in seconds; None while nothing was measured."""

    p50: float | None
    p95: float | None
    p99: float | None


@dataclass(frozen=True, slots=True)
class Report:
    """What was counted up to a moment.

    interactions: clicks in the inputs; an order has several. ignored: inputs that are none, so have no record.
    records: records on the recommendations topic, by status, repeated ones left out.
    ignored_with_record: inputs that had one although they are not for us.
    lost: inputs without a record; before the end, those in flight.
    fallback_reasons: why answers came from a lower tier than the model.
    live: as the outcomes topic tells it, whatever the tier.
    latency_seconds: from the input record's timestamp until this process has the answer.
    intent: None without truth or without calibrated signals.
    unavailable_emitted: answers that held an item which had been gone for more than a second.
    """

    events_in: int
    interactions: int
    ignored: int
    ignored_with_record: int
    records: dict[str, int]
    dead_lettered: int
    lost: int
    duplicate_ids: int
    answers_by_tier: dict[str, int]
    fallback_reasons: dict[str, int]
    hit_rate_at_20: HitRates
    live: LiveRates
    latency_seconds: Percentiles
    events_per_second: float
    intent: IntentReport | None
    trending: TrendingReport
    sales: tuple[SaleReport, ...]
    unavailable_emitted: int
    rules: RuleReport


class Scoreboard:
    """Joins inputs with their records; an input must be told before what it caused (`knows`)."""

    def __init__(self, popular: PopularItems, scored_from_ms: int = 0) -> None:
        self.ledger = Ledger()
        self._next_click = NextClickScore(popular, scored_from_ms)
        self._intent = IntentScore()
        self._live = OutcomeScore()
        self._spotlight = Spotlight()
        self._trending = TrendingScore()
        self._sales = SaleScore()
        self._gone = GoneScore()
        self._rules = RuleScore()
        self._waiting: dict[Place, SentInput] = {}
        self._outcomes: dict[Place, bool] = {}
        self._statuses: Counter[str] = Counter()
        self._tiers: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._dead_lettered = 0
        self._interactions = 0
        self._latencies_ms = array("f")
        self._first_ms: int | None = None
        self._last_ms = 0

    def knows(self, place: Place) -> bool:
        """Return whether the input at `place` was told."""
        return self.ledger.knows(*place)

    @property
    def oldest_waiting_ms(self) -> int | None:
        """The timestamp of the input that waits longest for its record."""
        return next((sent.time_ms for sent in self._waiting.values()), None)

    def sent(self, sent: SentInput) -> None:
        """Take in an input."""
        self.ledger.sent(*sent.place, is_ignored=not sent.clicks)
        if not sent.clicks:
            return
        self._interactions += len(sent.clicks)
        self._waiting[sent.place] = sent
        if sent.truth is not None:
            self._outcomes[sent.place] = sent.truth.purchase_follows
        if self._first_ms is None:
            self._first_ms = sent.time_ms
        self._last_ms = max(self._last_ms, sent.time_ms)

    def recommended(self, record: RecommendationSet, received_ms: float, made_ms: int) -> None:
        """Take in a record of the recommendations topic; in offset order within a partition.

        made_ms: its timestamp, Unix.
        """
        place = Place.of(record.id)
        if not self.ledger.recorded(*place):
            return
        sent = self._waiting.pop(place)
        self._statuses[record.status] += 1
        if record.status != "answered":
            self._outcomes.pop(place, None)
        if record.tier is not None:
            self._tiers[record.tier] += 1
        if record.reason is not None:
            self._reasons[record.reason] += 1
        self._latencies_ms.append(max(0.0, received_ms - sent.time_ms))
        self._last_ms = max(self._last_ms, int(received_ms))
        click = sent.clicks[-1]
        was_hit = self._next_click.saw(click, record)
        self._spotlight.saw(click, record, int(received_ms), was_hit=was_hit)
        self._rules.answered(record, made_ms)
        self._trending.passed(made_ms)
        if record.items:
            item_ids = [item.item_id for item in record.items]
            self._sales.answered(item_ids, click.location, made_ms)
            self._gone.answered(item_ids, click.location, made_ms)

    def signalled(self, signal: IntentSignal) -> None:
        """Take in an intent signal; a repeated one and one without truth score nothing."""
        self._spotlight.signalled(signal.visitor_id, signal.purchase_probability)
        outcome = self._outcomes.pop(Place.of(signal.id), None)
        if outcome is not None and signal.purchase_probability is not None:
            self._intent.add(signal.purchase_probability, purchase_followed=outcome)

    def followed(self, outcome: RecommendationOutcome) -> None:
        """Take in what a shopper did after an answer."""
        self._live.add(outcome)

    def described(self, record: CatalogRecord, time_ms: int) -> None:
        """Take in what the catalog says of an item; time_ms: the record's timestamp, Unix."""
        self._gone.described(record, time_ms)
        if isinstance(record, DescribedItem):
            self._sales.described(record.item, time_ms)

    def ruled(self, key: bytes | None, value: bytes | None, time_ms: int) -> None:
        """Take in a record of `merchant-rules`; time_ms: its timestamp, Unix."""
        self._rules.ruled(key, value, time_ms)

    def trended(self, key: str, record: Trending | None, time_ms: int) -> None:
        """Take in a record of `trending`, None = a tombstone; time_ms: its timestamp, Unix."""
        self._trending.trended(key, record, time_ms)
        if record is not None:
            self._sales.trended(record, time_ms)

    def settle(self, now_ms: float) -> None:
        """Judge the answers of some time ago; now_ms: Unix, infinite = nothing more comes."""
        self._gone.settle(now_ms)

    def dead_lettered(self, place: Place) -> None:
        """Take in a dead letter of the input at `place`."""
        if self.ledger.recorded(*place):
            del self._waiting[place]
            self._outcomes.pop(place, None)
            self._dead_lettered += 1

    def sessions(self) -> tuple[ShownSession, ...]:
        """Return the sessions to look at."""
        return self._spotlight.sessions()

    def report(self) -> Report:
        """Sum up."""
        seconds = 0.0 if self._first_ms is None else (self._last_ms - self._first_ms) / 1000
        return Report(
            events_in=self.ledger.inputs,
            interactions=self._interactions,
            ignored=self.ledger.ignored,
            ignored_with_record=self.ledger.ignored_with_record,
            records=dict(self._statuses),
            dead_lettered=self._dead_lettered,
            lost=self.ledger.without_record,
            duplicate_ids=self.ledger.duplicate_ids,
            answers_by_tier=dict(self._tiers),
            fallback_reasons=dict(self._reasons),
            hit_rate_at_20=self._next_click.rates(),
            live=self._live.rates(),
            latency_seconds=_percentiles(self._latencies_ms),
            events_per_second=self.ledger.with_record / seconds if seconds else 0.0,
            intent=self._intent.report(),
            trending=self._trending.report(),
            sales=self._sales.report(),
            unavailable_emitted=self._gone.emitted,
            rules=self._rules.report(),
        )


def _percentiles(latencies_ms: "array[float]") -> Percentiles:
    if not latencies_ms:
        return Percentiles(None, None, None)
    p50, p95, p99 = np.percentile(np.array(latencies_ms), [50, 95, 99]) / 1000
    return Percentiles(float(p50), float(p95), float(p99))
