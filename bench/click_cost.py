"""What a click costs in the worker's own code, without Kafka, RocksDB and model server: `python -m bench.click_cost`.

The clicks of the generated shop go through the live pipeline over states in memory. `--profile` tells by function.
"""

import cProfile
import math
import pstats
import time
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from zlib import crc32

import click
import structlog
from prometheus_client import CollectorRegistry, disable_created_metrics
from rich.console import Console
from rich.table import Table

from agents.clicks.pipeline import Pipeline
from agents.clicks.tracing import Tracing
from agents.clicks.visitor_states import MemoryStore, VisitorStates
from agents.live.feed import LiveFeed
from agents.serving_tier import serving_tier
from agents.settings import Settings, load_settings
from agents.wiring import pipeline_settings, session_rules
from bench.traffic import clicks
from schemas.state import InputPosition
from streams.catalog import Catalog
from streams.cluster.topics import Topic
from streams.metrics import DeliveryMetrics
from streams.records import InputRecord, OutputRecord

PARTITIONS: Final = 8
SHOWN_FUNCTIONS: Final = 45


def input_records(settings: Settings, number: int) -> list[InputRecord]:
    """Make records of the clickstream that have just arrived, a visitor's in one partition."""
    topic, now_ms = settings.topics.name(Topic.CLICKSTREAM), time.time_ns() // 1_000_000
    return [
        InputRecord(InputPosition(topic, crc32(one.key) % PARTITIONS, offset), one.key, one.value, now_ms)
        for offset, one in enumerate(clicks(number))
    ]


def built(settings: Settings, copies: Path) -> Pipeline:
    """Build the pipeline as a worker does that has no release."""
    registry = CollectorRegistry()
    metrics, catalog = DeliveryMetrics(registry), Catalog(require_catalog=False)
    tier = serving_tier(settings.serving, catalog, registry, copies=copies)
    live = replace(
        pipeline_settings(settings, lambda _record_time_ms: math.inf),
        tracing=Tracing(malformed=metrics.malformed_trace_headers),
        watcher=LiveFeed(catalog),
    )
    return Pipeline(live, session_rules(settings), tier.tried, metrics)


def one_round(pipeline: Pipeline, records: Sequence[InputRecord]) -> dict[str, float]:
    """Take the records one by one, each with an empty memory before the first; returns seconds of processor time."""
    states, seconds, written = VisitorStates(MemoryStore()), dict.fromkeys(("decide", "write", "answer"), 0.0), 0
    for partition in range(PARTITIONS):
        states.open_partition(partition, ())
    for record in records:
        began = time.thread_time()
        step = pipeline.click(record, states)
        decided = time.thread_time()
        if step.write is not None:
            states.write(record.position.partition, step.write)
        stored = time.thread_time()
        written += len(finished(step.answer()))
        seconds["decide"] += decided - began
        seconds["write"] += stored - decided
        seconds["answer"] += time.thread_time() - stored
    return {**seconds, "records": float(written)}


def finished(answer: Awaitable[Sequence[OutputRecord]]) -> Sequence[OutputRecord]:
    """Return what an answer gives that waits for nobody."""
    try:
        next(answer.__await__())
    except StopIteration as done:
        records: Sequence[OutputRecord] = done.value
        return records
    raise AssertionError("without a release nobody is asked")


@click.command()
@click.option("--events", default=6_000, show_default=True)
@click.option("--rounds", default=5, show_default=True, help="The fastest counts: the others were disturbed.")
@click.option("--profile", is_flag=True, help="One round more, by function.")
def main(events: int, rounds: int, *, profile: bool) -> None:
    """Print microseconds of processor time a click."""
    disable_created_metrics()  # type: ignore[no-untyped-call]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("warning"))
    settings = load_settings()
    records = input_records(settings, events)
    with TemporaryDirectory(prefix="click-cost-") as copies:
        pipeline = built(settings, Path(copies))
        found = [one_round(pipeline, records) for _ in range(rounds)]
        table = Table(
            "part", "CPU us a click", title=f"{events:,} clicks, {found[0]['records'] / events:.2f} records each"
        )
        for name in ("decide", "write", "answer"):
            table.add_row(name, f"{min(1e6 * one[name] / events for one in found):.1f}")
        Console().print(table)
        if profile:
            profiler = cProfile.Profile()
            profiler.runcall(one_round, pipeline, records)
            pstats.Stats(profiler).sort_stats("tottime").print_stats(SHOWN_FUNCTIONS)


if __name__ == "__main__":
    main()
