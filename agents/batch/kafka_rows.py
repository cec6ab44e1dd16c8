"""A clickstream as rows with the columns of Spark's Kafka source, whatever it lies in, and as records in a task.

Parquet has these columns, as `spark.read.format("kafka")` gives them: key, value, partition, offset, timestamp; maybe
topic and headers. https://spark.apache.org/docs/latest/structured-streaming-kafka-integration.html
Of JSON lines the key is the visitor, the timestamp the time of the event, and the offset the number of the line: files
follow each other in the order of their names, as one partition, so a visitor's events are in the order of the log.
"""

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from agents.batch.row_batches import HEADERS, ROWS, row_batches
from agents.batch.spark_session import first_line, map_in_arrow
from agents.batch.topic_rows import topic_rows
from agents.encodings import click_readers
from agents.settings import Settings
from schemas.click_reader import REKEYED_HEADER, Clicks
from schemas.errors import UsageError
from schemas.state import InputPosition
from schemas.times import LATEST_TIME_MS
from schemas.topic_url import TopicUrl
from session_model.data.files import data_files
from session_model.data.text_lines import MalformedLines, read_lines
from streams.records import InputRecord

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column, DataFrame, SparkSession

ClickstreamFormat = Literal["parquet", "jsonl"]
LINES_A_FILE: Final = 1 << 40
"""Offsets that a file of JSON lines has, more than it has lines."""

_NEEDED: Final = ("key", "value", "partition", "offset", "timestamp")
_OF_ONE_VISITOR: Final = ({"key": REKEYED_HEADER, "value": b""},)
"""What else is in the line is not this visitor's."""


def clickstream_rows(
    spark: "SparkSession", source: Path | TopicUrl, data_format: ClickstreamFormat, settings: Settings, topic: str
) -> "DataFrame":
    """Return the rows of `source`, unread: topic, key, value, partition, offset, time_ms, headers.

    topic: what lines are read as, and rows without a topic; where the source is a topic, that one. Raises
    UsageError where nothing is there, or where a table has other columns.
    """
    if isinstance(source, TopicUrl):
        return topic_rows(spark, settings, source)
    if data_format == "parquet":
        return _of_parquet(spark, source, topic)
    files = [(number, str(file)) for number, file in enumerate(data_files(source))]
    names = spark.createDataFrame(files, "number int, file string").repartition(len(files))
    return map_in_arrow(names, partial(_of_lines, settings, topic), ROWS)


def records_of(batches: Iterable["pa.RecordBatch"]) -> Iterator[InputRecord]:
    """Return the rows of a task as the records that the stream would have read."""
    for batch in batches:
        columns = [batch.column(name).to_pylist() for name in batch.schema.names]
        for topic, key, value, partition, offset, time_ms, headers in zip(*columns, strict=True):
            carried = [(header["key"], header["value"] or b"") for header in headers or ()]
            yield InputRecord(InputPosition(topic, partition, offset), key, value, time_ms, carried)


def _of_parquet(spark: "SparkSession", source: Path, topic: str) -> "DataFrame":
    from pyspark.errors import PySparkException  # noqa: PLC0415 - an extra
    from pyspark.sql import functions as f  # noqa: PLC0415 - as above

    data_files(source)
    try:
        table = spark.read.parquet(f"file://{source.absolute()}")  # a cluster may have another default
    except PySparkException as error:
        raise UsageError(f"{source} cannot be read as Parquet ({first_line(error)}); see --format") from error
    missing = [name for name in _NEEDED if name not in table.columns]
    if missing:
        raise UsageError(
            f"{source}: there is no column {', '.join(missing)} (found: {', '.join(table.columns)[:200]}); the columns "
            f"of Spark's Kafka source are needed: {', '.join(_NEEDED)}"
        )
    kinds = dict(table.dtypes)
    return table.select(
        f.col("topic").cast("string").alias("topic") if "topic" in kinds else f.lit(topic).alias("topic"),
        f.col("key").cast("binary").alias("key"),
        f.col("value").cast("binary").alias("value"),
        f.col("partition").cast("int").alias("partition"),
        f.col("offset").cast("long").alias("offset"),
        _time_ms(kinds["timestamp"]).alias("time_ms"),
        (f.col("headers") if "headers" in kinds else f.lit(None)).cast(HEADERS).alias("headers"),
    )


def _time_ms(kind: str) -> "Column":
    from pyspark.sql import functions as f  # noqa: PLC0415 - an extra

    time = f.col("timestamp")
    return time if kind == "bigint" else f.unix_millis(time.cast("timestamp"))


def _of_lines(settings: Settings, topic: str, files: Iterable["pa.RecordBatch"]) -> Iterator["pa.RecordBatch"]:
    return row_batches(_line_rows(settings, topic, files))


def _line_rows(settings: Settings, topic: str, files: Iterable["pa.RecordBatch"]) -> Iterator[tuple[Any, ...]]:
    """Return a row for each visitor of each line; one that tells no visitor has no key, and is counted later on."""
    reader = click_readers(settings, None)[topic]
    for one in files:
        for number, file in zip(one.column("number").to_pylist(), one.column("file").to_pylist(), strict=True):
            malformed = MalformedLines(Path(file), data_format="jsonl")
            for line, text in read_lines(malformed):
                value, offset = text.encode(), number * LINES_A_FILE + line - 1
                visitors = reader.visitor_ids(None, value)
                keys = [visitor.encode() for visitor in visitors] if isinstance(visitors, tuple) else [None]
                headers = _OF_ONE_VISITOR if len(keys) > 1 else None
                for key in keys:
                    clicks = reader.read(key, value, LATEST_TIME_MS, ((REKEYED_HEADER, b""),))
                    time_ms = max(e.event_time_ms for e in clicks.events) if isinstance(clicks, Clicks) else 0
                    yield topic, key, value, 0, offset, time_ms, headers
            malformed.settle()
