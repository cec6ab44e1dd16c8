"""A topic as rows: each task reads a range of offsets, which the driver has fixed before, with the client of all of us.

So Spark needs no connector, whose version would have to be that of Spark, and TLS and SASL are set as for a worker. A
task that runs again reads the same offsets; nothing is committed.
"""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from agents.batch.row_batches import ROWS, row_batches
from agents.batch.spark_session import map_in_arrow
from agents.settings import Settings
from schemas.errors import InsessionError, UsageError
from streams.cluster.topic_reader import TopicReader

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

SCHEME: Final = "kafka://"
MOST_OFFSETS: Final = 1_000_000
"""Of a task."""


def parse_topic_url(url: str) -> tuple[str, str]:
    """Return brokers and topic of `kafka://HOST:PORT[,HOST:PORT]/TOPIC`; raises UsageError where it is none."""
    brokers, separator, topic = url.removeprefix(SCHEME).partition("/")
    if not (url.startswith(SCHEME) and separator and brokers and topic) or "/" in topic or "?" in topic:
        raise UsageError(f"{url}: write kafka://HOST:PORT/TOPIC, several brokers with commas between")
    return brokers, topic


def topic_rows(spark: "SparkSession", settings: Settings, topic: str) -> "DataFrame":
    """Return the rows of what `topic` holds now on `settings.kafka.brokers`.

    Raises TopicsError where the brokers do not answer or refuse, and InsessionError where the topic is empty.
    """
    with TopicReader(settings.kafka.client_config()) as reader:
        bounds = reader.bounds(topic)
    ranges = [
        (number, first, min(first + MOST_OFFSETS, held.stop))
        for number, held in bounds.items()
        for first in range(held.start, held.stop, MOST_OFFSETS)
    ]
    if not ranges:
        raise InsessionError(f"topic {topic} holds no record; check its name, the prefix and its retention")
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
