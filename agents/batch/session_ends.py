"""Session ends that lie in files, as a table: what the sessions job has written, or what was read from the topic."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from agents.batch.spark_session import map_in_arrow
from schemas import wire
from schemas.records import SessionSummary
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

_BATCH_ROWS: Final = 2048


def read_session_ends(spark: "SparkSession", source: Path) -> "DataFrame":
    """Return the session ends of `source`, a row each, also those that are there twice; a file is read by one task.

    Raises UsageError where nothing is there. A task raises InsessionError where too many lines are malformed.
    """
    files = [(str(file),) for file in data_files(source)]
    return map_in_arrow(spark.createDataFrame(files, "file string").repartition(len(files)), _rows, COLUMNS)


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
