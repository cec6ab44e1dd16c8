"""Sessions of a stored clickstream, by the product's own `Sessionizer` (docs/adr/0014).

One shuffle: by visitor, or with `is_exact` by partition; then each task runs over its rows in order.
"""

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import msgspec

from agents.batch.kafka_rows import ClickstreamFormat, clickstream_rows, records_of
from agents.batch.part_forms import LINES, write_lines
from agents.batch.parts import new_result, write_manifest, write_parts
from agents.encodings import click_readers
from agents.settings import Settings
from agents.wiring import session_rules
from schemas.click_reader import Clicks
from schemas.errors import InsessionError
from schemas.topic_url import TopicUrl
from schemas.validation import Ignored, Rejection
from streams.cluster.topics import Topic
from streams.records import InputRecord
from streams.sessions.batch import END_OF_DATA, BatchRules, sessions_by_visitor, sessions_in_stream_order
from streams.sessions.sessionizer import InputTopics, Sessionizer

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession

_READ: Final = "records"


@dataclass(frozen=True, slots=True)
class SessionsJob:
    """What is asked for.

    data_format: of files. topic: the clickstream; records of other topics are left out and counted. is_exact: sessions
    end by ticks as in the stream; a task then holds a partition of the topic, and not some visitors. is_replaced: OUT
    may hold a result.
    """

    source: Path | TopicUrl
    data_format: ClickstreamFormat
    out: Path
    topic: str
    is_exact: bool = False
    is_replaced: bool = False


def run_sessions(spark: "SparkSession", job: SessionsJob, settings: Settings) -> dict[str, Any]:
    """Write the sessions of `job` as records of the topic session-ends, one a line, and return the manifest.

    Raises UsageError where the source or OUT is wrong, and InsessionError where it holds no session.
    """
    started = time.perf_counter()
    rows = clickstream_rows(spark, job.source, job.data_format, settings, job.topic)
    folder = new_result(job.out, is_replaced=job.is_replaced)
    if job.is_exact:
        sorted_rows = rows.repartition("partition").sortWithinPartitions("partition", "offset")
    else:
        sorted_rows = rows.repartition("key").sortWithinPartitions("key", "partition", "offset")
    written = write_parts(sorted_rows, folder, LINES, _Sessions(settings, job.topic, job.is_exact))
    counts, n_sessions = written.counts, written.records
    n_records = counts.pop(_READ, 0)
    if not n_sessions:
        told = ", ".join(f"{name} {count:,}" for name, count in counts.most_common(5)) or "it is empty"
        raise InsessionError(f"{job.source} holds no session ({told}); check --format, --topic and the mapping")
    seconds = time.perf_counter() - started
    manifest = {
        "format": "session-ends",
        "exact_ticks": job.is_exact,
        "sessions": n_sessions,
        "records": n_records,
        "by_status": dict(counts.most_common()),
        "seconds": round(seconds, 1),
        "records_per_second": round(n_records / seconds),
        "records_per_task_cpu_second": round(n_records / max(written.cpu_seconds, 1e-3)),
        "parts": msgspec.to_builtins(written.parts),
    }
    write_manifest(folder, manifest)
    return manifest


def batch_rules(settings: Settings, topic: str, *, is_exact: bool) -> BatchRules:
    """Build the rules of the deployment for one of the two ways."""
    readers = click_readers(settings, None)

    def read(record: InputRecord) -> Clicks | Ignored | Rejection:
        return readers[topic].read(record.key, record.value, record.time_ms, record.headers)

    control = settings.topics.name(Topic.SESSION_CONTROL) if is_exact else END_OF_DATA
    topics = InputTopics(topic, control, settings.kafka.window_span, settings.kafka.control_window_span)
    return BatchRules(
        session_rules(settings) if is_exact else Sessionizer(settings.sessions, topics),
        read,
        settings.clickstream.pseudonym_secret.reveal().encode(),
        control,
        settings.sessions.allowed_skew,
        settings.kafka.tick_interval,
    )


@dataclass(frozen=True, slots=True)
class _Sessions:
    """What a task does; of it only the settings travel, since a reader of records cannot."""

    settings: Settings
    topic: str
    is_exact: bool

    def __call__(self, batches: Iterable["pa.RecordBatch"], file: BinaryIO, counts: "Counter[str]") -> int:
        rules = batch_rules(self.settings, self.topic, is_exact=self.is_exact)
        records = _of_topic(records_of(batches), self.topic, counts)
        sessions = sessions_in_stream_order if self.is_exact else sessions_by_visitor
        return write_lines(sessions(records, rules, counts), file)


def _of_topic(records: Iterable[InputRecord], topic: str, counts: "Counter[str]") -> Iterable[InputRecord]:
    for record in records:
        counts[_READ] += 1
        if record.position.topic == topic:
            yield record
        else:
            counts["of another topic"] += 1
