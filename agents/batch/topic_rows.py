"""A topic as rows: each task reads a range of offsets, which the driver has fixed before, with the client of all of us.

So Spark needs no connector, whose version would have to be that of Spark, and TLS and SASL are set as for a worker. A
task that runs again reads the same offsets; nothing is committed.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from agents.batch.row_batches import ROWS, row_batches
from agents.batch.spark_session import map_in_arrow
from agents.settings import Settings
from schemas.errors import InsessionError
from schemas.topic_url import TopicUrl
from streams.cluster.topic_ranges import offsets_of
from streams.cluster.topic_reader import TopicReader

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

MOST_OFFSETS: Final = 1_000_000
"""Of a task."""


def topic_rows(spark: "SparkSession", settings: Settings, url: TopicUrl) -> "DataFrame":
    """Return the rows of a part of a topic on `settings.kafka.brokers`.

    Raises what `offsets_of` does, and InsessionError where there is no record.
    """
    with TopicReader(settings.kafka.client_config()) as reader:
        offsets = offsets_of(url, reader)
    if not any(offsets.values()):
        raise InsessionError(f"{url} holds no record; check its name, the prefix and its retention")
    return rows_at(spark, settings, url.topic, offsets)


def rows_at(spark: "SparkSession", settings: Settings, topic: str, offsets: Mapping[int, range]) -> "DataFrame":
    """Return the rows at `offsets`, some by partition, of a topic on `settings.kafka.brokers`."""
    ranges = [
        (number, first, min(first + MOST_OFFSETS, part.stop))
        for number, part in offsets.items()
        for first in range(part.start, part.stop, MOST_OFFSETS)
    ]
    frame = spark.createDataFrame(ranges, "number int, first long, stop long").repartition(len(ranges))
    return map_in_arrow(frame, partial(_read, settings, topic), ROWS)


def _read(settings: Settings, topic: str, ranges: Iterable["pa.RecordBatch"]) -> Iterator["pa.RecordBatch"]:
    return row_batches(_records(settings, topic, ranges))


def _records(settings: Settings, topic: str, ranges: Iterable["pa.RecordBatch"]) -> Iterator[tuple[Any, ...]]:
    with TopicReader(settings.kafka.client_config()) as reader:
        for batch in ranges:
            for one in batch.to_pylist():
                for record in reader.read(topic, {one["number"]: range(one["first"], one["stop"])}):
                    position = record.position
                    headers = [{"key": name, "value": content} for name, content in record.headers] or None
                    yield topic, record.key, record.value, position.partition, position.offset, record.time_ms, headers
