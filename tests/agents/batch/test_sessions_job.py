"""Sessions by Spark are those of the stream: held against `insession replay` over the same log, byte by byte."""

import asyncio
import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from confluent_kafka import Producer
from prometheus_client import CollectorRegistry

from agents.batch.parts import MANIFEST
from agents.batch.sessions_job import SessionsJob, run_sessions
from agents.replay import Replay
from agents.serving_tier import serving_tier
from agents.settings import Settings
from agents.shop.settings import ShopSettings
from agents.shop.traffic import generate_events
from schemas import wire
from schemas.errors import InsessionError, UsageError
from schemas.events import ClickEvent
from schemas.topic_url import parse_topic_url
from session_model.data.formats import read_sessions
from streams.catalog import Catalog
from streams.local.embedded_broker import EmbeddedBroker

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.pipeline

FILES = ("recommendations", "intent-signals", "recommendation-outcomes", "session-ends", "clickstream-dlq")


@pytest.fixture(scope="module")
def log() -> list[ClickEvent]:
    """1,500 events of the generated shop in event-time order, with bots and repeated ones."""
    events: Iterator[Any] = generate_events(ShopSettings(seed=7, sessions_per_hour=300))
    return sorted((next(events).click for _ in range(1500)), key=lambda event: event.event_time_ms)


@pytest.fixture(scope="module")
def table(log: list[ClickEvent], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the log as Spark's Kafka source gives it."""
    path = tmp_path_factory.mktemp("clickstream") / "clickstream.parquet"
    pq.write_table(rows_of(log), path)
    return path


def rows_of(events: Sequence[ClickEvent]) -> pa.Table:
    """Lay out events as records of one partition, each at its own time."""
    times = [event.event_time_ms for event in events]
    return pa.table(
        {
            "key": [event.visitor_id.encode() for event in events],
            "value": [wire.encode(event) for event in events],
            "topic": ["clickstream"] * len(events),
            "partition": pa.array([0] * len(events), pa.int32()),
            "offset": pa.array(range(len(events)), pa.int64()),
            "timestamp": pa.array(times, pa.timestamp("ms", "UTC")),
        }
    )


@pytest.fixture(scope="module")
def replayed(log: list[ClickEvent], tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Return the session ends of a replay, without a release: that changes no session."""
    return asyncio.run(_replayed(log, tmp_path_factory.mktemp("replayed")))


async def _replayed(log: list[ClickEvent], out: Path) -> list[bytes]:
    settings = Settings()
    settings = replace(settings, serving=replace(settings.serving, models_directory=out / "none"))
    tier = serving_tier(settings.serving, Catalog(), CollectorRegistry(), copies=out / "releases")
    files = {name: (out / name).open("wb") for name in FILES}
    try:
        await Replay(settings, tier, files).run(log, lambda _: None)
    finally:
        for file in files.values():
            file.close()
        await tier.batcher.close()
    return sorted((out / "session-ends").read_bytes().splitlines())


def lines_of(out: Path) -> list[bytes]:
    """Return what all parts hold, sorted."""
    return sorted(line for path in out.glob("part-*") for line in gzip.decompress(path.read_bytes()).splitlines())


def without_cause(line: bytes) -> dict[str, Any]:
    """Leave out of a session end what says by which input it was told."""
    return {name: value for name, value in json.loads(line).items() if name not in {"id", "end_reason"}}


def by_start(lines: list[bytes]) -> list[dict[str, Any]]:
    """Return sessions in an order that no cause has a part in."""
    return sorted(map(without_cause, lines), key=lambda end: (end["visitor_key"], end["started_at"], end["session_id"]))


def test_with_exact_ticks_every_session_end_is_the_replayed_one(
    spark: "SparkSession", table: Path, replayed: list[bytes], tmp_path: Path
) -> None:
    """Byte by byte, those that a tick has ended included."""
    run_sessions(spark, SessionsJob(table, "parquet", tmp_path / "out", "clickstream", is_exact=True), Settings())
    assert lines_of(tmp_path / "out") == replayed


def test_by_visitor_the_sessions_are_the_replayed_ones(
    spark: "SparkSession", table: Path, log: list[ClickEvent], replayed: list[bytes], tmp_path: Path
) -> None:
    """But for what told the end; where a click did both times, the bytes are the same. Every record is counted."""
    job = SessionsJob(table, "parquet", tmp_path / "out", "clickstream")
    manifest = run_sessions(spark, job, Settings())
    lines = lines_of(tmp_path / "out")
    assert by_start(lines) == by_start(replayed)
    by_a_click = {line for line in replayed if b'"id":"clickstream-' in line}
    assert by_a_click <= set(lines)
    assert by_a_click
    assert manifest["records"] == sum(manifest["by_status"].values()) == len(log)
    assert (manifest["sessions"], len(manifest["parts"])) == (len(lines), 3)


def test_a_run_repeats_to_the_byte_and_is_read_as_session_ends(
    spark: "SparkSession", table: Path, tmp_path: Path
) -> None:
    """Two runs have the same parts; training reads the folder as it is."""
    runs = [
        run_sessions(spark, SessionsJob(table, "parquet", tmp_path / name, "clickstream"), Settings())["parts"]
        for name in ("first", "second")
    ]
    assert runs[0] == runs[1]
    n_people = sum(b'"is_bot":false' in line or b'"is_bot"' not in line for line in lines_of(tmp_path / "first"))
    assert len(read_sessions(tmp_path / "first", "session-ends")) == n_people


def test_json_lines_of_the_shop_s_own_form_give_the_same_sessions(
    spark: "SparkSession", log: list[ClickEvent], replayed: list[bytes], tmp_path: Path
) -> None:
    """The number of a line is its offset: ids of sessions are those of a replay but for the number of the file."""
    (tmp_path / "log").mkdir()
    for name, part in (("2026-01-01.jsonl", log[:700]), ("2026-01-02.jsonl", log[700:])):
        (tmp_path / "log" / name).write_bytes(b"".join(wire.encode(event) + b"\n" for event in part))
    job = SessionsJob(tmp_path / "log", "jsonl", tmp_path / "out", "clickstream")
    run_sessions(spark, job, Settings())
    found = [{**one, "session_id": ""} for one in by_start(lines_of(tmp_path / "out"))]
    assert found == [{**one, "session_id": ""} for one in by_start(replayed)]


def test_a_topic_gives_the_same_sessions_without_a_connector(
    spark: "SparkSession", log: list[ClickEvent], replayed: list[bytes], tmp_path: Path
) -> None:
    """Tasks read ranges of offsets with our own client; the records lie in several partitions, by their keys."""
    with EmbeddedBroker() as broker:
        producer = Producer({"bootstrap.servers": broker.address})
        for event in log:
            producer.produce("clickstream", wire.encode(event), event.visitor_id, timestamp=event.event_time_ms)
        assert producer.flush(30) == 0
        settings = Settings()
        settings = replace(settings, kafka=replace(settings.kafka, brokers=broker.address))
        url = parse_topic_url(f"kafka://{broker.address}/clickstream")
        job = SessionsJob(url, "parquet", tmp_path / "out", "clickstream")
        assert run_sessions(spark, job, settings)["records"] == len(log)
    found = [{**one, "session_id": ""} for one in by_start(lines_of(tmp_path / "out"))]
    assert found == [{**one, "session_id": ""} for one in by_start(replayed)]


def test_an_unfinished_result_is_removed_and_a_finished_one_is_kept(
    spark: "SparkSession", table: Path, tmp_path: Path
) -> None:
    """Without its manifest a result is none, as after a kill; a second run on a finished one is wrong usage."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "part-00099.jsonl.gz").write_bytes(b"of a run that was killed")
    job = SessionsJob(table, "parquet", out, "clickstream")
    manifest = run_sessions(spark, job, Settings())
    assert {path.name for path in out.iterdir()} == {MANIFEST, *(part["name"] for part in manifest["parts"])}
    with pytest.raises(UsageError, match="--overwrite"):
        run_sessions(spark, job, Settings())
    assert run_sessions(spark, replace(job, is_replaced=True), Settings())["parts"] == manifest["parts"]


def test_what_holds_no_session_is_an_error_that_says_why(spark: "SparkSession", tmp_path: Path) -> None:
    """Such as lines of another form; other columns are wrong usage."""
    (tmp_path / "log.jsonl").write_text('{"user": "a"}\nno json\n')
    with pytest.raises(InsessionError, match="rejected: "):
        run_sessions(spark, SessionsJob(tmp_path / "log.jsonl", "jsonl", tmp_path / "a", "clickstream"), Settings())
    pq.write_table(pa.table({"key": ["a"], "item": ["b"]}), tmp_path / "other.parquet")
    with pytest.raises(UsageError, match="no column value, partition, offset, timestamp"):
        run_sessions(
            spark, SessionsJob(tmp_path / "other.parquet", "parquet", tmp_path / "b", "clickstream"), Settings()
        )
    assert not (tmp_path / "b").exists()
