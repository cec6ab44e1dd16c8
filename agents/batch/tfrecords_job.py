"""TFRecords of session ends: the vocabulary, a split by time, and one Example a session (session_model.data.tfrecords).

The latest sessions are the test, as everywhere here: what is measured is the next day, not a random one of the same.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import msgspec

from agents.batch.parts import Part, new_result, write_parts
from agents.batch.session_ends import read_session_ends
from agents.batch.spark_session import task_errors_explained
from schemas import wire
from schemas.errors import InsessionError, UsageError
from session_model.data.tfrecords import (
    SCHEMA,
    SUFFIX,
    VOCABULARY,
    FileFacts,
    Split,
    TfrecordSchema,
    read_vocabulary,
    vocabulary_bytes,
    write_session,
)
from session_model.files import write_whole

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

TRAIN: Final = "train"
TEST: Final = "test"


@dataclass(frozen=True, slots=True)
class TfrecordsJob:
    """What is asked for.

    test_share: of the sessions, the latest, that become the test. split_ms: from this end on they do, Unix
    milliseconds; None = by `test_share`. is_replaced: OUT may hold a result.
    """

    source: Path
    out: Path
    test_share: float = 0.1
    split_ms: int | None = None
    is_replaced: bool = False


def run_tfrecords(spark: "SparkSession", job: TfrecordsJob) -> dict[str, Any]:
    """Write the sessions of people, each once, and return what `schema.json` says with what was left out and seconds.

    Raises UsageError where source or OUT is wrong, and InsessionError where a split would be empty.
    """
    from pyspark.sql import functions as f  # noqa: PLC0415 - an extra

    started = time.perf_counter()
    ends = read_session_ends(spark, job.source).persist()
    try:
        people = ends.where(~f.col("is_bot") & (f.size("events") > 0)).dropDuplicates(["id"])
        with task_errors_explained(f"reading {job.source}"):
            left_out = _left_out(ends, people)
            split_ms = _split_ms(people, job)
            item_ids = _vocabulary(people, split_ms)
        folder = new_result(job.out, SCHEMA, VOCABULARY, is_replaced=job.is_replaced)
        content = vocabulary_bytes(item_ids)
        write_whole(folder / VOCABULARY, lambda file: file.write(content))
        sha256 = hashlib.sha256(content).hexdigest()
        write = _Examples(str(folder.absolute()), sha256)
        splits: dict[str, Split] = {}
        for name, (from_ms, until_ms) in {TRAIN: (None, split_ms), TEST: (split_ms, None)}.items():
            is_in = f.col("ended_ms") < until_ms if until_ms is not None else f.col("ended_ms") >= from_ms
            by_time = people.where(is_in).repartitionByRange("ended_ms", "id").sortWithinPartitions("ended_ms", "id")
            written = write_parts(by_time.select("record"), folder / name, SUFFIX, write)
            splits[name] = Split(written.records, from_ms, until_ms, _facts(name, written.parts))
    finally:
        ends.unpersist()
    empty = next((name for name, split in splits.items() if not split.sessions), None)
    if empty is not None:
        raise InsessionError(f"{job.source}: no session is left for {empty}; choose another --split-at or --test-share")
    schema = TfrecordSchema(sha256, len(item_ids), splits)
    described = msgspec.json.format(msgspec.json.encode(schema), indent=2) + b"\n"
    write_whole(folder / SCHEMA, lambda file: file.write(described))
    seconds = round(time.perf_counter() - started, 1)
    return {**msgspec.json.decode(described), "left_out": left_out, "seconds": seconds}


def _left_out(ends: "DataFrame", people: "DataFrame") -> dict[str, int]:
    from pyspark.sql import functions as f  # noqa: PLC0415 - an extra

    is_empty = ~f.col("is_bot") & (f.size("events") == 0)
    row = ends.agg(
        f.count_if("is_bot").alias("sessions of bots"),
        f.count_if(is_empty).alias("without events"),
        f.count("*").alias("all"),
    ).collect()[0]
    counts = {name: int(count or 0) for name, count in row.asDict().items()}
    n_all = counts.pop("all")
    return {**counts, "repeated records": n_all - sum(counts.values()) - people.count()}


def _split_ms(people: "DataFrame", job: TfrecordsJob) -> int:
    from pyspark.sql import functions as f  # noqa: PLC0415 - an extra

    if job.split_ms is not None:
        return job.split_ms
    if not 0 < job.test_share < 1:
        raise UsageError(f"--test-share must be above 0 and below 1, found {job.test_share}")
    found = people.agg(f.percentile_approx("ended_ms", 1 - job.test_share, 10_000)).collect()[0][0]
    if found is None:
        raise InsessionError(f"{job.source} holds no session of a person; name session ends")
    return int(found)


def _vocabulary(people: "DataFrame", split_ms: int) -> list[str]:
    """List all items by falling count in the training split; those of the test alone come last."""
    from pyspark.sql import functions as f  # noqa: PLC0415 - an extra

    items = people.select((f.col("ended_ms") < split_ms).alias("learned"), f.explode("events.item_id").alias("item"))
    counted = items.where("item IS NOT NULL").groupBy("item").agg(f.count_if("learned").alias("n"))
    return [row["item"] for row in counted.orderBy(f.desc("n"), "item").collect()]


def _facts(name: str, parts: list[Part]) -> tuple[FileFacts, ...]:
    return tuple(FileFacts(f"{name}/{part.name}", part.records, part.size, part.sha256) for part in parts)


@dataclass(frozen=True, slots=True)
class _Examples:
    """What a task does; the vocabulary is read where it runs, once a process."""

    folder: str
    vocabulary_sha256: str

    def __call__(self, batches: Iterable["pa.RecordBatch"], file: BinaryIO, _counts: "Counter[str]") -> int:
        indices, n_sessions = _indices(self.folder, self.vocabulary_sha256), 0
        for batch in batches:
            for record in batch.column("record").to_pylist():
                write_session(file, wire.decode_session_summary(record), indices)
                n_sessions += 1
        return n_sessions


@lru_cache(maxsize=1)
def _indices(folder: str, sha256: str) -> dict[str, int]:
    return {item: place for place, item in enumerate(read_vocabulary(Path(folder), sha256), 1)}
