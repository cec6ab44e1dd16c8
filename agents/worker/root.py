"""The composition root: builds a worker from its settings, and nothing else does."""

import asyncio
import time
from collections.abc import AsyncIterator
from collections.abc import Set as AbstractSet
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial

import structlog
from aiohttp import web
from faust.types import TP
from prometheus_client import CollectorRegistry, disable_created_metrics

from agents.clicks.actor import FURTHER_TICKS, SessionActor, send_ticks
from agents.clicks.clocks import WorkerClocks
from agents.clicks.pipeline import Pipeline, PipelineSettings
from agents.clicks.quarantine import Quarantine
from agents.clicks.shadow import Shadow, ShadowMetrics
from agents.clicks.tracing import TracedSink, Tracing
from agents.encodings import Encodings, click_readers
from agents.live.access import Access
from agents.live.feed import LiveFeed
from agents.live.pages import STREAM_PATH, LivePages
from agents.log_limit import add_log_metrics
from agents.serving_tier import serving_tier
from agents.settings import Settings
from agents.web.health import Health
from agents.web.pages import ProbePages
from agents.web.port import WebPort, WebPortError
from agents.web.pulse import Pulse
from agents.wiring import output_headers, pipeline_settings, session_rules
from agents.worker.default_list import GONE_CHECK_SECONDS, DefaultListWriter, stored_lists
from agents.worker.input_check import checked_inputs
from agents.worker.process_metrics import add_process_metrics, observe_state
from agents.worker.span_export import collector_spans, exporting
from agents.worker.trending_view import following_trending, trending_board
from schemas.pseudonym import pseudonym
from schemas.tracing import SpanRecorder
from serving.chain import Recommender
from serving.rules.view import RuleMetrics, RuleView
from streams.app import InsessionApp, KafkaSink, create_app, raw_topic, state_table
from streams.catalog import Catalog, catalog_view
from streams.cluster.topic_reader import TopicReader
from streams.cluster.topic_watch import TopicWatch
from streams.cluster.topics import Topic
from streams.compacted_view import CompactedView, following
from streams.delivery.codecs import require_codecs
from streams.delivery.window import InOrderWindow, Windows
from streams.metrics import CatalogMetrics, DeliveryMetrics, SchemaMetrics, StateMetrics, ViewMetrics
from streams.records import InputRecord, RecordSink
from streams.state.folder_lock import locked_folder
from streams.state.local import LocalState
from streams.state.table import OFFSETS_SECONDS, StateTable
from streams.state.tidying import TIDYING_SECONDS, LocalTidying

log = structlog.get_logger(__name__)


def build_worker(settings: Settings) -> InsessionApp:
    """Wire a worker: Faust app, catalog view, serving tier, pipeline, actor, health pages.

    Raises CodecsError where this installation cannot read every compressed topic.
    """
    require_codecs()
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    metrics = DeliveryMetrics(registry)
    topics = settings.topics
    app = create_app(settings.kafka, topics, metrics)
    app.first_starts = dict.fromkeys(settings.clickstreams, settings.clickstream.first_start)
    spans = collector_spans(settings.tracing)
    encodings = Encodings(settings)
    catalog = Catalog(
        require_catalog=settings.catalog.require_catalog,
        reader=encodings.catalog_reader(app.abort),
        places=settings.locations,
    )
    gate = encodings.gate(SchemaMetrics(registry), lambda: bool(app.rebalancing), app.abort)
    copies = settings.kafka.datadir / "releases"
    rules = RuleView(RuleMetrics(registry), settings.locations)
    trending = trending_board(settings, registry)
    tier = serving_tier(
        settings.serving, catalog, registry, copies=copies, recorder=spans, rules=rules, trending=trending
    )
    windows = _windows(app, settings, spans)
    feed = LiveFeed(catalog)
    clocks = WorkerClocks(metrics)
    shadow = Shadow(
        tier.tried, KafkaSink(app), ShadowMetrics(registry), settings.clickstream.freshness_budget.total_seconds()
    )
    live = replace(_live_settings(settings, encodings, clocks, feed, spans), shadow=shadow)
    pipeline = Pipeline(live, session_rules(settings), tier.tried, metrics)
    table = state_table(app, settings.kafka, topics.partitions)
    tidying = LocalTidying(lambda: table.data if isinstance(table.data, LocalState) else None)
    further = tuple(settings.clickstream.sources)
    topic_ids: dict[str, int] = {}
    actor = SessionActor(
        app,
        table,
        topics,
        pipeline,
        windows,
        further,
        gate=gate,
        quarantine=Quarantine(KafkaSink(app), pipeline, table.changelog_topic_name),
        clocks=clocks,
        newest_record_ms=partial(_newest_record_ms, settings),
        topic_ids=topic_ids,
        erased=tidying.erased,
    )
    watch = TopicWatch(settings.clickstreams, metrics, app.abort)
    health = Health(app, metrics, windows, gate, clickstreams=settings.clickstreams, watch=watch)
    add_log_metrics(registry)
    add_process_metrics(registry, settings.kafka.datadir)
    state_metrics = StateMetrics(registry)
    pulse = Pulse(health, [observe_state(state_metrics, app, table)], [clocks.disagreement])
    state_metrics.ready.set_function(lambda: pulse.ready()[0])
    app.resources = (
        locked_folder(settings.kafka.datadir),
        pulse.beating(),
        _served(app, settings, ProbePages(registry, pulse), feed),
        exporting(spans),
        checked_inputs(app, settings, topic_ids, watch),
        _following(settings, catalog, rules, encodings, registry),
        following_trending(settings, trending, encodings, registry),
        encodings.running(app.abort),
        tier.running(),
        _closing(windows),
        _closing(shadow),
    )
    _consume(app, settings, actor)
    table.on_recover(actor.recovered)
    _observe(app, actor, health)
    _write_offsets(app, table)
    _tidy(app, tidying)
    _keep_default_lists(app, settings, encodings, tier.recommender, metrics)
    _show_live(app, feed)
    return app


def _consume(app: InsessionApp, settings: Settings, actor: SessionActor) -> None:
    """Hand all inputs to the actor, and the ticks of its partitions to one of them."""
    control = settings.topics.name(Topic.SESSION_CONTROL)
    inputs = raw_topic(app, *settings.clickstreams, control)
    app.agent(inputs, name="sessions", concurrency=1, isolated_partitions=False)(actor.run)
    app.on_partitions_assigned.connect(actor.assigned)
    sink = KafkaSink(app)

    interval_seconds = settings.kafka.tick_interval.total_seconds()

    @app.timer(interval_seconds)  # type: ignore[untyped-decorator]
    async def tick() -> None:
        await send_ticks(actor, sink, control)

    @app.timer(interval_seconds / FURTHER_TICKS)  # type: ignore[untyped-decorator]
    async def tick_further() -> None:
        await send_ticks(actor, sink, control, is_further=True)


def _observe(app: InsessionApp, actor: SessionActor, health: Health) -> None:
    """Look every second at what should move."""

    @app.timer(1.0)  # type: ignore[untyped-decorator]
    async def observe_health() -> None:
        health.observe(time.monotonic())
        await actor.refetch_lost(time.monotonic())


def _write_offsets(app: InsessionApp, table: StateTable) -> None:
    """Write how far the local files hold the changelog, where no click of the partition does it."""

    @app.timer(OFFSETS_SECONDS)  # type: ignore[untyped-decorator]
    async def write_offsets() -> None:
        table.write_offsets()


def _tidy(app: InsessionApp, tidying: LocalTidying) -> None:
    """Rid the local files of what was deleted."""

    @app.timer(TIDYING_SECONDS)  # type: ignore[untyped-decorator]
    async def tidy() -> None:
        await tidying.step()


def _live_settings(
    settings: Settings, encodings: Encodings, clocks: WorkerClocks, feed: LiveFeed, spans: SpanRecorder | None
) -> PipelineSettings:
    budget_seconds = settings.clickstream.freshness_budget.total_seconds()
    tracing = Tracing(
        malformed=clocks.metrics.malformed_trace_headers, recorder=spans, sample_ratio=settings.tracing.sample_ratio
    )
    return replace(
        pipeline_settings(settings, lambda record_time_ms: clocks.deadline(record_time_ms, budget_seconds)),
        readers=click_readers(settings, encodings.clicks),
        encode=encodings.encode,
        tracing=tracing,
        watcher=feed,
    )


async def _newest_record_ms(settings: Settings, partitions: AbstractSet[int]) -> int | None:
    """Find the timestamp of the newest click on the brokers, of these partitions of all clickstreams."""

    def found() -> int | None:
        with TopicReader(settings.kafka.client_config()) as reader:
            newest = (reader.newest_ms(topic, partitions) for topic in settings.clickstreams)
            return max((time_ms for time_ms in newest if time_ms is not None), default=None)

    return await asyncio.to_thread(found)


def _keep_default_lists(
    app: InsessionApp, settings: Settings, encodings: Encodings, recommender: Recommender, metrics: DeliveryMetrics
) -> None:
    """Let the owner of the first partition write the lists for visitors of whom nothing is known."""
    topic = settings.topics.name(Topic.DEFAULT_RECOMMENDATIONS)
    first_partition = TP(settings.topics.name(Topic.CLICKSTREAM), 0)
    headers = output_headers(settings)
    writer = DefaultListWriter(
        recommender,
        topic,
        KafkaSink(app),
        headers,
        metrics,
        lambda: asyncio.to_thread(stored_lists, settings.kafka.client_config(), topic, encodings.decode_output),
        encode=encodings.encode,
    )

    @app.task  # type: ignore[untyped-decorator]
    async def look_at_default_lists() -> None:
        await writer.begin()

    def is_ours() -> bool:
        return app.consumer.next_offset(first_partition) is not None

    @app.timer(settings.serving.default_list_interval.total_seconds())  # type: ignore[untyped-decorator]
    async def renew_default_lists() -> None:
        await writer.renew(is_ours=is_ours)

    @app.task  # type: ignore[untyped-decorator]
    async def drop_gone_items() -> None:
        while not app.should_stop:
            await app.sleep(GONE_CHECK_SECONDS)
            await writer.drop_gone(is_ours=is_ours)


@asynccontextmanager
async def _served(app: InsessionApp, settings: Settings, pages: ProbePages, feed: LiveFeed) -> AsyncIterator[None]:
    """Serve the pages on a thread of their own, from before the worker looks for its topics until it has ended."""

    def add_pages(server: web.Application) -> None:
        pages.add_to(server)
        LivePages(feed, Access(settings.kafka.web_host, settings.live.token)).add_to(server)

    port = WebPort(settings.kafka.web_host, settings.kafka.web_port, add_pages, stream_path=STREAM_PATH)
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(port.running())
        except WebPortError as error:
            app.abort(error)
        yield


def _show_live(app: InsessionApp, feed: LiveFeed) -> None:
    """Send the live page every second how the worker does."""

    @app.timer(1.0)  # type: ignore[untyped-decorator]
    async def summarise() -> None:
        feed.summarise()


def _windows(app: InsessionApp, settings: Settings, recorder: SpanRecorder | None) -> Windows:
    sink: RecordSink = KafkaSink(app)
    if recorder is not None:
        sink = TracedSink(sink, recorder)
    control = settings.topics.name(Topic.SESSION_CONTROL)
    secret = settings.clickstream.pseudonym_secret.reveal().encode()

    def window(topic: str) -> InOrderWindow:
        return InOrderWindow(
            sink,
            span=settings.kafka.control_window_span if topic == control else settings.kafka.window_span,
            fail=app.abort,
            name_key=partial(pseudonym, secret),
        )

    return Windows(window)


@asynccontextmanager
async def _closing(asking: Windows | Shadow) -> AsyncIterator[None]:
    """Close what waits for answers before what these need: one that fails at the end must not end the process."""
    try:
        yield
    finally:
        await asking.close()


@asynccontextmanager
async def _following(
    settings: Settings, catalog: Catalog, rules: RuleView, encodings: Encodings, registry: CollectorRegistry
) -> AsyncIterator[None]:
    """Follow the catalog and merchants' rules; the worker subscribes when both are complete, or after the timeout."""
    client_config, topics = settings.kafka.view_config(), settings.topics
    timeout_seconds = settings.catalog.start_timeout.total_seconds()

    def take(record: InputRecord) -> None:
        rules.apply(record.key, record.value)

    of_items = catalog_view(
        catalog,
        topics.name(Topic.CATALOG),
        client_config,
        CatalogMetrics(registry),
        let_go=encodings.stop_waiting,
    )
    of_rules = CompactedView(
        topics.name(Topic.MERCHANT_RULES), client_config, take, ViewMetrics(registry, "merchant_rules")
    )
    async with following(of_items, of_rules, patience_seconds=timeout_seconds) as (has_items, has_rules):
        if has_items:
            log.info("catalog_complete", items=len(catalog))
        else:
            log.warning("catalog_incomplete", items=len(catalog), timeout_seconds=timeout_seconds)
        say = log.info if has_rules else log.warning
        say("rules_complete" if has_rules else "rules_incomplete", rules=len(rules.book))
        yield
