"""Replay: the live decisions, window, client and fallback, driven from a log in event-time order without a broker.

Virtual age is 0 and batches are of one fixed shape, so two runs over the same log and release are byte-identical.
"""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from prometheus_client import CollectorRegistry

from agents.clicks.list_overlap import kept_share, rank_biased_overlap
from agents.clicks.pipeline import Pipeline
from agents.clicks.visitor_states import MemoryStore, VisitorStates
from agents.serving_tier import ServingTier, serving_tier
from agents.settings import Settings
from agents.wiring import described_catalog, described_rules, pipeline_settings, session_rules
from schemas import wire
from schemas.events import ClickEvent, Erase
from schemas.handovers import Adoption, Handover
from schemas.ids import ItemId, SessionId, VisitorId
from schemas.mapping import FieldMapping
from schemas.records import PERSONAL_TIERS, CatalogItem, RecommendationOutcome, RecommendationSet, Trending
from schemas.rules import MerchantRule
from schemas.state import InputPosition
from serving.settings import ServingSettings
from serving.tensors import FixedShape
from serving.trending import RecordedTrending
from session_model.release.files import serving_release, verify_release
from streams.cluster.topics import TOPICS, Topic, TopicSettings
from streams.delivery.window import InOrderWindow, Work, ready
from streams.metrics import DeliveryMetrics
from streams.records import Delivery, InputRecord, OutputRecord, delivered

BATCH_ROWS = 32
_FILES = {topic: facts.replay_file for topic, facts in TOPICS.items() if facts.replay_file is not None}
HIT_RANK = 20


@dataclass(slots=True)
class ReplayReport:
    """What a replay found; recall and MRR are over every next item of a session, unseen items as misses.

    Kept and overlap are of each personal answer and the one before it in its session. The live hit rate and MRR are
    those of the next click, from the outcomes, as the worker's metrics tell them.
    """

    events: int = 0
    records: Counter[str] = field(default_factory=Counter)
    answers_by_tier: Counter[str] = field(default_factory=Counter)
    targets: int = 0
    hits: int = 0
    reciprocal_ranks: float = 0.0
    lists: int = 0
    kept: float = 0.0
    overlap: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)
    click_hits: int = 0
    click_reciprocal_ranks: float = 0.0
    seconds: float = 0.0

    def as_json(self) -> dict[str, object]:
        """Return the report with the names that machines read."""
        clicks = self.outcomes["click"]
        return {
            "events": self.events,
            "records": dict(sorted(self.records.items())),
            "events_per_second": self.events / self.seconds if self.seconds else None,
            "recall_at_20": self.hits / self.targets if self.targets else None,
            "mrr_at_20": self.reciprocal_ranks / self.targets if self.targets else None,
            "targets": self.targets,
            "list_kept_at_10": self.kept / self.lists if self.lists else None,
            "list_overlap": self.overlap / self.lists if self.lists else None,
            "outcomes": dict(sorted(self.outcomes.items())),
            "live_hit_rate": self.click_hits / clicks if clicks else None,
            "live_mrr": self.click_reciprocal_ranks / clicks if clicks else None,
            "answers_by_tier": dict(sorted(self.answers_by_tier.items())),
            "seconds": self.seconds,
        }

    def add_outcome(self, outcome: RecommendationOutcome) -> None:
        """Take in an outcome."""
        self.outcomes[outcome.action] += 1
        if outcome.action == "click" and outcome.position is not None:
            self.click_hits += 1
            self.click_reciprocal_ranks += 1 / outcome.position


class NextItemScore:
    """Scores each answer by the next item of its session: what was answered before the click is held against it."""

    def __init__(self, report: ReplayReport) -> None:
        self._report = report
        self._answered: dict[SessionId, Sequence[ItemId]] = {}

    def add(self, recommendation: RecommendationSet, item_id: ItemId | None) -> None:
        """Take in one answer and the item whose click it answers, in order."""
        report = self._report
        report.records[recommendation.status] += 1
        if recommendation.tier is not None:
            report.answers_by_tier[recommendation.tier] += 1
        session_id = recommendation.session_id
        if recommendation.status != "answered" or session_id is None or item_id is None:
            return
        before, now = self._answered.get(session_id), [item.item_id for item in recommendation.items]
        if before and recommendation.tier in PERSONAL_TIERS:
            report.lists += 1
            report.kept += kept_share(before, now)
            report.overlap += rank_biased_overlap(before, now)
        if before is not None:
            report.targets += 1
            if item_id in before[:HIT_RANK]:
                report.hits += 1
                report.reciprocal_ranks += 1 / (before.index(item_id) + 1)
        self._answered[session_id] = now


class ReplaySink:
    """Writes each topic's records to its file, in the order in which the window sends them, and scores the answers.

    clicked: the item of each click by record id; filled by who feeds the window.
    controls: control records that came out, for who feeds the window to feed back.
    """

    def __init__(self, files: Mapping[str, BinaryIO], topics: TopicSettings, report: ReplayReport) -> None:
        self._files = files
        self._recommendations = topics.name(Topic.RECOMMENDATIONS)
        self._outcomes = topics.name(Topic.OUTCOMES)
        self._control = topics.name(Topic.SESSION_CONTROL)
        self._report = report
        self._score = NextItemScore(report)
        self.clicked: dict[str, ItemId | None] = {}
        self.controls: list[OutputRecord] = []

    def send(self, record: OutputRecord) -> Delivery:
        """Append a record; it is safe at once."""
        assert record.value is not None
        if record.topic == self._control:
            self.controls.append(record)
            return delivered()
        self._files[record.topic].write(record.value + b"\n")
        if record.topic == self._recommendations:
            recommendation = wire.decode_recommendation_set(record.value)
            self._score.add(recommendation, self.clicked.pop(recommendation.id))
        elif record.topic == self._outcomes:
            self._report.add_outcome(wire.decode_recommendation_outcome(record.value))
        return delivered()


class Replay:
    """One run over a log; makes the records of one partition, offset by offset.

    Its events are clicks already: the mapping of the settings was for reading the log.

    trending: the lists that the tier answers from; they go on with the events.
    """

    def __init__(
        self,
        settings: Settings,
        tier: ServingTier,
        files: Mapping[str, BinaryIO],
        trending: RecordedTrending | None = None,
    ) -> None:
        settings = replace(settings, clickstream=replace(settings.clickstream, mapping=FieldMapping()))
        self._settings = settings
        self._tier = tier
        self._trending = trending
        self._clickstream = settings.topics.name(Topic.CLICKSTREAM)
        self._control = settings.topics.name(Topic.SESSION_CONTROL)
        self.report = ReplayReport()
        self._sink = ReplaySink(files, settings.topics, self.report)
        self._states = VisitorStates(MemoryStore())
        self._states.open_partition(0, ())
        self._pipeline = Pipeline(
            replace(pipeline_settings(settings, lambda _: math.inf), is_as_of_records=True),
            session_rules(settings),
            tier.recommender,
            DeliveryMetrics(CollectorRegistry()),
        )
        self._ticks = 0

    async def run(self, events: Iterable[ClickEvent], advance: Callable[[int], None]) -> ReplayReport:
        """Feed `events`, which must be in event-time order; `advance` is told of every finished chunk's size."""
        task, errors = asyncio.current_task(), list[BaseException]()
        assert task is not None

        def fail(error: BaseException) -> None:
            errors.append(error)
            task.cancel()

        span = self._settings.kafka.window_span
        window = InOrderWindow(self._sink, span=span, fail=fail)
        started = time.perf_counter()
        try:
            await self._feed(window, events, span, advance)
        except asyncio.CancelledError:
            if errors:
                raise errors[0] from None
            raise
        finally:
            await window.close()
        self.report.seconds = time.perf_counter() - started
        return self.report

    async def _feed(
        self, window: InOrderWindow, events: Iterable[ClickEvent], span: int, advance: Callable[[int], None]
    ) -> None:
        """Feed in chunks, so that what shares a batch and what was shown in time depends on the log alone.

        A chunk ends with the window, and before the next event of a visitor in it: it is held against the answer.
        """
        tick_interval_ms = self._settings.kafka.tick_interval // timedelta(milliseconds=1)
        due_ms = last_ms = 0
        for chunk in _chunks(events, span):
            if self._trending is not None:
                self._trending.advance(chunk[0].event_time_ms)
                await self._tier.releases.take_trending_in()
            for event in chunk:
                last_ms = max(last_ms, event.event_time_ms)
                if last_ms >= due_ms:
                    await self._tick(window, last_ms)
                    due_ms = last_ms + tick_interval_ms
                await self._click(window, event)
            self._tier.batcher.flush()
            await window.drained()
            await self._hand_over(window)
            advance(len(chunk))
        rules = self._settings.sessions
        end_ms = last_ms + 1 + (rules.inactivity_gap + rules.grace_period) // timedelta(milliseconds=1)
        while await self._tick(window, end_ms):
            await window.drained()

    async def _click(self, window: InOrderWindow, event: ClickEvent) -> None:
        position = InputPosition(self._clickstream, 0, self.report.events)
        record = InputRecord(position, event.visitor_id.encode(), wire.encode(event), event.event_time_ms)
        self._sink.clicked[position.record_id] = event.item_id
        step = self._pipeline.click(record, self._states)
        written = [] if step.write is None else self._states.write(0, step.write)
        await window.room(position.offset)
        window.put(Work(position.offset, step.answer(), written, _ignore))
        self.report.events += 1
        await asyncio.sleep(0)  # the answer asks for its row now: so rows are asked for in offset order

    async def _hand_over(self, window: InOrderWindow) -> None:
        """Feed back the records by which sessions go on under another id, until none comes out any more.

        A chunk ends before the next event of a visitor, so that one finds its session whole.
        """
        while self._sink.controls:
            sent, self._sink.controls = self._sink.controls, []
            for sent_record in sent:
                record = InputRecord(InputPosition(self._control, 0, self._ticks), None, sent_record.value, 0)
                self._ticks += 1
                control = self._pipeline.control(record)
                if isinstance(control, Handover | Adoption):
                    step = self._pipeline.join(record, control, self._states)
                    written = [] if step.write is None else self._states.write(0, step.write)
                    window.put(Work(self.report.events, step.answer(), written, _ignore))
                elif isinstance(control, Erase):
                    self._states.drop(0, control.visitor_id.encode())
            await window.drained()

    async def _tick(self, window: InOrderWindow, stream_time_ms: int) -> bool:
        """End what is due, as the live ticks do on a caught-up partition; True where anything was."""
        position = InputPosition(self._control, 0, self._ticks)
        self._ticks += 1
        if not self._states.has_due(0, stream_time_ms):
            return False
        records, written = self._states.close_due(self._pipeline, position, stream_time_ms)
        if records:
            window.put(Work(self.report.events, ready(records), written, _ignore))
        return bool(written)


def _chunks(events: Iterable[ClickEvent], most: int) -> Iterator[list[ClickEvent]]:
    """Cut `events` into runs of at most `most` events, all of different visitors."""
    chunk: list[ClickEvent] = []
    visitors: set[VisitorId] = set()
    for event in events:
        if len(chunk) == most or event.visitor_id in visitors:
            yield chunk
            chunk, visitors = [], set()
        chunk.append(event)
        visitors.add(event.visitor_id)
    if chunk:
        yield chunk


async def replay_log(  # noqa: PLR0913 - what a log is replayed with
    events: Iterable[ClickEvent],
    settings: Settings,
    out: Path,
    advance: Callable[[int], None],
    described: Iterable[CatalogItem] = (),
    *,
    rules: Iterable[MerchantRule] = (),
    trending: Iterable[Trending] = (),
) -> ReplayReport:
    """Replay `events` with the server and models of `settings.serving`; the records go into the directory `out`.

    Where the folder of the models is not there, no model is asked. described: the catalog, the same from beginning to
    end; without it every item is allowed. rules: merchants' rules, each by the time of the events. trending: the
    observer's lists, each from its event time on; without them nothing is trending.
    """
    shape = FixedShape(BATCH_ROWS, _max_length(settings.serving))
    catalog = described_catalog(settings, list(described))
    merchant = described_rules(settings, rules)
    stale_after_seconds = settings.trending.stale_after.total_seconds()
    lists = RecordedTrending(trending, settings.locations, stale_after_seconds=stale_after_seconds)
    with ExitStack() as stack:
        copies = Path(stack.enter_context(TemporaryDirectory(prefix="insession-releases-")))
        tier = serving_tier(
            settings.serving,
            catalog,
            CollectorRegistry(),
            copies=copies,
            fixed_shape=shape,
            rules=merchant,
            trending=lists,
        )
        await tier.releases.refresh()
        await tier.releases.take_catalog_in()
        files = {
            settings.topics.name(topic): stack.enter_context((out / name).open("wb")) for topic, name in _FILES.items()
        }
        try:
            return await Replay(settings, tier, files, lists).run(events, advance)
        finally:
            await tier.batcher.close()
            await tier.client.close()


def _max_length(serving: ServingSettings) -> int:
    """Return the prefix length of the release that serves; any does where there is none."""
    if not serving.model_folder.is_dir():
        return 1
    return verify_release(serving_release(serving.model_folder), serving.release_key).max_length


def _ignore() -> None:
    """Acknowledge nothing: a log has no consumer group."""
