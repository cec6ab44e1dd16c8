"""Session ends as a table: what the sessions job has written, or what lies on the topic."""

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from agents.batch.spark_session import map_in_arrow
from agents.batch.topic_rows import topic_rows
from agents.encodings import Encodings
from agents.settings import Settings
from schemas import wire
from schemas.events import Instant, unix_ms
from schemas.records import SessionSummary
from schemas.topic_url import TopicUrl
from session_model.data.files import data_files
from session_model.data.text_lines import MalformedLines, read_lines

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

COLUMNS: Final = (
    "id string, visitor_key string, session_id string, end_reason string, started_ms long, ended_ms long, "
    "event_count long, is_bot boolean, location string, device string, "
    "events array<struct<event_type:string,time_ms:long,item_id:string,price:double>>, record binary"
)
"""`record` is the session end itself, as its line has it."""

RECORDS: Final = "visitor_key string, ended_ms long, id string, record binary"
"""What a record is sorted by, and the record; all but that null where it is no session end."""

_BATCH_ROWS: Final = 2048


def read_session_ends(spark: "SparkSession", source: Path) -> "DataFrame":
    """Return the session ends of `source`, a row each, also those that are there twice; a file is read by one task.

    Raises UsageError where nothing is there. A task raises InsessionError where too many lines are malformed.
    """
    return map_in_arrow(_files(spark, source), _rows, COLUMNS)


def session_records(spark: "SparkSession", source: Path | TopicUrl, settings: Settings) -> "DataFrame":
    """Return the records of `source` in the columns of `RECORDS`, in JSON; what is none is for the reader to count.

    A file, or a million offsets of a topic, is read by one task. Raises UsageError where nothing is there, and what
    `topic_rows` does.
    """
    if isinstance(source, TopicUrl):
        return map_in_arrow(topic_rows(spark, settings, source), partial(_records_of_topic, settings), RECORDS)
    return map_in_arrow(_files(spark, source), _records_of_files, RECORDS)


def _files(spark: "SparkSession", source: Path) -> "DataFrame":
    files = [(str(file),) for file in data_files(source)]
    return spark.createDataFrame(files, "file string").repartition(len(files))


def _records_of_topic(settings: Settings, rows: Iterable["pa.RecordBatch"]) -> Iterator["pa.RecordBatch"]:
    decode = Encodings(settings).decode_output

    def json_of(value: bytes) -> bytes:
        try:
            return wire.encode(msgspec.convert(decode(value), SessionSummary))
        except (ValueError, OverflowError, RecursionError):
            return value

    values = (value for batch in rows for value in batch.column("value").to_pylist() if value is not None)
    return _record_batches(map(json_of, values))


def _records_of_files(files: Iterable["pa.RecordBatch"]) -> Iterator["pa.RecordBatch"]:
    return _record_batches(
        line for batch in files for file in batch.column("file").to_pylist() for line in _lines(file)
    )


def _lines(file: str) -> Iterator[bytes]:
    malformed = MalformedLines(Path(file), data_format="session-ends")
    for _, line in read_lines(malformed):
        yield line.encode()
    yield from repeat(b"", malformed.count)


class _Head(msgspec.Struct):
    visitor_key: str
    ended_at: Instant
    id: str


def _record_batches(records: Iterable[bytes]) -> Iterator["pa.RecordBatch"]:
    import pyarrow as pa  # noqa: PLC0415 - an extra

    kinds = [("visitor_key", pa.string()), ("ended_ms", pa.int64()), ("id", pa.string()), ("record", pa.binary())]
    schema, rest = pa.schema(kinds), iter(records)
    while some := list(islice(rest, _BATCH_ROWS)):
        columns = zip(*map(_keyed, some), strict=True)
        arrays = [pa.array(column, kind) for column, (_, kind) in zip(columns, kinds, strict=True)]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def _keyed(record: bytes) -> tuple[str | None, int | None, str | None, bytes]:
    try:
        head = _decode_head(record)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None, None, None, record
    return head.visitor_key, unix_ms(head.ended_at), head.id, record


_decode_head = msgspec.json.Decoder(_Head).decode


def _rows(files: Iterable["pa.RecordBatch"]) -> Iterator["pa.RecordBatch"]:
    rows = list[dict[str, Any]]()
    for batch in files:
        for file in batch.column("file").to_pylist():
            for row in _of_file(Path(file)):
                rows.append(row)
                if len(rows) == _BATCH_ROWS:
                    yield _batch(rows)
                    rows = []
    if rows:
        yield _batch(rows)


def _of_file(path: Path) -> Iterator[dict[str, Any]]:
    malformed = MalformedLines(path, data_format="session-ends")
    for number, line in read_lines(malformed):
        try:
            session = wire.decode_session_summary(line)
        except (msgspec.DecodeError, RecursionError) as error:
            malformed.add(number, str(error))
            continue
        yield _row(session, line.encode())
    malformed.settle()


def _row(session: SessionSummary, record: bytes) -> dict[str, Any]:
    return {
        "id": session.id,
        "visitor_key": session.visitor_key,
        "session_id": session.session_id,
        "end_reason": session.end_reason,
        "started_ms": round(session.started_at.timestamp() * 1000),
        "ended_ms": round(session.ended_at.timestamp() * 1000),
        "event_count": session.event_count,
        "is_bot": session.is_bot,
        "location": session.location,
        "device": session.device,
        "events": [msgspec.structs.asdict(event) for event in session.events],
        "record": record,
    }


def _batch(rows: list[dict[str, Any]]) -> "pa.RecordBatch":
    import pyarrow as pa  # noqa: PLC0415 - an extra

    texts = [(name, pa.string()) for name in ("id", "visitor_key", "session_id", "end_reason")]
    event = pa.struct(
        [("event_type", pa.string()), ("time_ms", pa.int64()), ("item_id", pa.string()), ("price", pa.float64())]
    )
    schema = pa.schema(
        [
            *texts,
            *((name, pa.int64()) for name in ("started_ms", "ended_ms", "event_count")),
            ("is_bot", pa.bool_()),
            ("location", pa.string()),
            ("device", pa.string()),
            ("events", pa.list_(event)),
            ("record", pa.binary()),
        ]
    )
    return pa.RecordBatch.from_pylist(rows, schema=schema)
