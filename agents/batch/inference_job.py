"""Recommendations for every visitor of stored sessions, by the worker's own recommender in Spark's tasks.

One shuffle, by visitor; then each task runs over its visitors' sessions in order. The latest decides, and what was
bought in the others is not recommended again.
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Literal

import msgspec
import structlog

from agents.batch.part_forms import LINES, PARQUET, write_lines, write_parquet
from agents.batch.parts import new_result, write_manifest, write_parts
from agents.batch.session_ends import session_records
from agents.inference.local_recommender import LocalRecommender, request_of
from agents.settings import Settings
from schemas import wire
from schemas.errors import InsessionError
from schemas.events import from_unix_ms
from schemas.ids import ItemId
from schemas.records import MAX_NAMED_RULES, RecommendedItem, SessionSummary, VisitorRecommendations
from schemas.rules import MerchantRule
from schemas.topic_url import TopicUrl
from serving.chain import Answer
from session_model.data.catalogs import read_catalog
from session_model.release.files import verify_release
from streams.sessions.sessionizer import latest

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession

OutputFormat = Literal["jsonl", "parquet"]
TASK_CONF: Final = {
    f"spark.executorEnv.{name}": value
    for name, value in {
        "TF_NUM_INTRAOP_THREADS": "1",  # a task is one core's work, and with one thread the same rows are the same bits
        "TF_NUM_INTEROP_THREADS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "-1",
    }.items()
}
"""Spark's configuration for the processes that answer."""
_TOGETHER: Final = 256
"""Visitors whose rows are asked for at once."""
_ROW_GROUP: Final = 4096
_SHOWN_MALFORMED: Final = 5
_TIER: Final = "tier "
_SESSIONS: Final = "sessions"
_CPU_MICROSECONDS: Final = "cpu_us"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class InferenceJob:
    """What is asked for.

    source: session ends. release: folder of one release. catalog: file of records, read by the mapping of the settings;
    None = none. Tasks read all three. is_replaced: OUT may hold a result. rules: of the merchants. at_ms: as of when
    items are there and rules hold, Unix milliseconds, in every task; None = when the job begins.
    """

    source: Path | TopicUrl
    release: Path
    out: Path
    catalog: Path | None = None
    output_format: OutputFormat = "jsonl"
    is_replaced: bool = False
    rules: Sequence[MerchantRule] = ()
    at_ms: int | None = None


def run_inference(spark: "SparkSession", job: InferenceJob, settings: Settings) -> dict[str, Any]:
    """Write a VisitorRecommendations of each visitor that had a session, and return the manifest.

    Raises ReleaseError, UsageError where source or OUT is wrong, and InsessionError where nobody had a session.
    """
    started = time.perf_counter()
    version = verify_release(job.release, settings.serving.release_key).version
    rows = session_records(spark, job.source, settings)
    folder = new_result(job.out, is_replaced=job.is_replaced)
    by_visitor = rows.repartition("visitor_key").sortWithinPartitions("visitor_key", "ended_ms", "id")
    suffix = LINES if job.output_format == "jsonl" else PARQUET
    at_ms = time.time_ns() // 1_000_000 if job.at_ms is None else job.at_ms
    means = _Means(job.release, job.catalog, settings, tuple(job.rules))
    written = write_parts(by_visitor, folder, suffix, _Recommendations(means, job.output_format, at_ms))
    counts, n_visitors = written.counts, written.records
    n_sessions, cpu_seconds = counts.pop(_SESSIONS, 0), counts.pop(_CPU_MICROSECONDS, 0) / 1e6
    if not n_visitors:
        told = ", ".join(f"{name} {count:,}" for name, count in counts.most_common(5)) or "it is empty"
        raise InsessionError(f"{job.source} holds no session of a person ({told}); name session ends")
    seconds = time.perf_counter() - started
    tiers = {name: counts.pop(name) for name in list(counts) if name.startswith(_TIER)}
    manifest = {
        "format": "recommendations",
        "model_version": version,
        "as_of": from_unix_ms(at_ms).isoformat(),
        "visitors": n_visitors,
        "sessions": n_sessions,
        "by_tier": {name.removeprefix(_TIER): count for name, count in sorted(tiers.items())},
        "left_out": dict(counts.most_common()),
        "seconds": round(seconds, 1),
        "visitors_per_second": round(n_visitors / seconds),
        "cpu_ms_per_visitor": round(1000 * cpu_seconds / n_visitors, 3),
        "task_cpu_seconds": round(written.cpu_seconds, 1),
        "parts": msgspec.to_builtins(written.parts),
    }
    write_manifest(folder, manifest)
    return manifest


@dataclass(frozen=True, slots=True)
class _Visitor:
    """latest: the session that is answered. bought: in all sessions, the latest last."""

    latest: SessionSummary
    bought: tuple[ItemId, ...]

    def answered(self, answer: Answer) -> VisitorRecommendations:
        intent = answer.intent
        return VisitorRecommendations(
            id=self.latest.id,
            visitor_key=self.latest.visitor_key,
            session_id=self.latest.session_id,
            ended_at=self.latest.ended_at,
            items=answer.items,
            tier=answer.tier,
            reason=answer.reason,
            model_version=answer.model_version,
            purchase_probability=intent.purchase,
            purchase_source=answer.intent_source,
            leave_probability=intent.leave,
            cart_abandonment_probability=intent.cart_abandonment,
            valid_until=None if answer.valid_until_ms is None else from_unix_ms(answer.valid_until_ms),
            rules=[rule.rule_id for rule in answer.rules[:MAX_NAMED_RULES]] or None,
        )


@dataclass(frozen=True, slots=True)
class _Means:
    """What a recommender is made of."""

    release: Path
    catalog: Path | None
    settings: Settings = field(hash=False)
    rules: tuple[MerchantRule, ...] = ()


@lru_cache(maxsize=1)
def _recommender(means: _Means) -> LocalRecommender:
    described = [] if means.catalog is None else read_catalog(means.catalog, means.settings.catalog.mapping)
    return LocalRecommender(means.release, means.settings, described, means.rules)


@dataclass(frozen=True, slots=True)
class _Recommendations:
    """What a task does; the release is loaded where it runs, once a process."""

    means: _Means
    output_format: OutputFormat
    at_ms: int

    def __call__(self, batches: Iterable["pa.RecordBatch"], file: BinaryIO, counts: "Counter[str]") -> int:
        recommender = _recommender(self.means)
        began_seconds = time.process_time()
        visitors = _visitors(batches, self.means.settings.sessions.max_purchased_items, counts)
        records = _answered(visitors, recommender, counts, self.at_ms)
        if self.output_format == "jsonl":
            n_visitors = write_lines(records, file)
        else:
            n_visitors = write_parquet(_tables(records), file, counts)
        counts[_CPU_MICROSECONDS] += round((time.process_time() - began_seconds) * 1e6)
        return n_visitors


def _visitors(batches: Iterable["pa.RecordBatch"], most_bought: int, counts: "Counter[str]") -> Iterator[_Visitor]:
    """Return who had a session, from records that are sorted by visitor and end; `counts` gets what is left out."""
    pairs = (
        pair
        for batch in batches
        for pair in zip(batch.column("visitor_key").to_pylist(), batch.column("record").to_pylist(), strict=True)
    )
    for _, run in groupby(pairs, key=lambda pair: pair[0]):
        last: SessionSummary | None = None
        seen, bought = "", dict[ItemId, None]()
        for session in _sessions((record for _, record in run), counts):
            if session.id == seen:
                counts["repeated records"] += 1
                continue
            seen = session.id
            counts[_SESSIONS] += 1
            bought |= dict.fromkeys(e.item_id for e in session.events if e.event_type == "purchase" and e.item_id)
            if session.is_bot:
                counts["sessions of bots"] += 1
                continue
            counts["earlier sessions"] += last is not None
            last = session
        if last is not None:
            yield _Visitor(last, latest(tuple(bought), most_bought))


def _sessions(records: Iterable[bytes], counts: "Counter[str]") -> Iterator[SessionSummary]:
    for record in records:
        try:
            yield wire.decode_session_summary(record)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            counts["malformed"] += 1
            if counts["malformed"] <= _SHOWN_MALFORMED:
                log.warning("malformed_session_end", reason=str(error)[:300], begins=record[:60])


def _answered(
    visitors: Iterator[_Visitor], recommender: LocalRecommender, counts: "Counter[str]", at_ms: int
) -> Iterator[VisitorRecommendations]:
    while some := list(islice(visitors, _TOGETHER)):
        requests = [
            request_of(one.latest.events, one.latest.location, one.bought, device=one.latest.device, at_ms=at_ms)
            for one in some
        ]
        for visitor, answer in zip(some, recommender.answer_many(requests), strict=True):
            counts[f"{_TIER}{answer.tier}"] += 1
            yield visitor.answered(answer)


def _tables(records: Iterator[VisitorRecommendations]) -> Iterator["pa.RecordBatch"]:
    import pyarrow as pa  # noqa: PLC0415 - an extra

    listed = RecommendedItem.__struct_fields__
    item = pa.struct([(name, pa.float64() if name == "score" else pa.string()) for name in listed])
    texts = {name: pa.string() for name in ("id", "visitor_key", "session_id", "tier", "reason", "purchase_source")}
    moments = dict.fromkeys(("ended_at", "valid_until"), pa.timestamp("ms", "UTC"))
    others = moments | {"items": pa.list_(item), "rules": pa.list_(pa.string()), "model_version": pa.int64()}
    kinds = texts | others
    schema = pa.schema([(name, kinds.get(name, pa.float64())) for name in VisitorRecommendations.__struct_fields__])
    while some := list(islice(records, _ROW_GROUP)):
        rows = msgspec.to_builtins(some, builtin_types=(datetime,))
        yield pa.RecordBatch.from_pylist(rows, schema=schema)
