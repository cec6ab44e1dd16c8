"""Features and statistics of sessions: SQL files that an analyst can read and change, each a table of Parquet.

A file sees two views. `sessions`: id, visitor_key, session_id, end_reason, started_at, ended_at, event_count, is_bot,
location, device, events; each session once. `events`: the events of people, with id, visitor_key, position from 0,
event_type, event_at, item_id, price.
"""

import time
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from agents.batch.part_forms import PARQUET, write_parquet
from agents.batch.parts import new_result, write_manifest, write_parts
from agents.batch.session_ends import read_session_ends
from agents.batch.spark_session import first_line
from schemas.errors import UsageError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_MOST_SQL_BYTES: Final = 1 << 20


def packaged_queries() -> dict[str, str]:
    """Return the SQL files that come with us, by their name without `.sql`."""
    found = [one for one in files("agents.batch").joinpath("sql").iterdir() if one.name.endswith(".sql")]
    return {one.name.removesuffix(".sql"): one.read_text() for one in sorted(found, key=lambda one: one.name)}


def queries_in(folder: Path) -> dict[str, str]:
    """Return the SQL files of a folder; raises UsageError where there is none, or one is too large to be a query."""
    found = sorted(folder.glob("*.sql"))
    if not found:
        raise UsageError(f"{folder} holds no .sql file; `insession features --write-sql {folder}` copies ours there")
    large = next((file for file in found if file.stat().st_size > _MOST_SQL_BYTES), None)
    if large is not None:
        raise UsageError(f"{large} has more than {_MOST_SQL_BYTES:,} bytes; a query is shorter")
    return {file.stem: file.read_text() for file in found}


def run_features(
    spark: "SparkSession", source: Path, out: Path, queries: Mapping[str, str], *, is_replaced: bool = False
) -> dict[str, Any]:
    """Run each query over the session ends of `source` into the table OUT/<its name>; return the manifest.

    Raises UsageError where source, OUT or a query is wrong, with the query's name and line.
    """
    from pyspark.errors import PySparkException  # noqa: PLC0415 - an extra

    started = time.perf_counter()
    ends = read_session_ends(spark, source).dropDuplicates(["id"])
    ends.createOrReplaceTempView("session_ends")
    for name, view in _VIEWS.items():
        spark.sql(view).createOrReplaceTempView(name)
    frames = {}
    for name, query in queries.items():
        try:
            frames[name] = spark.sql(query)
        except PySparkException as error:
            raise UsageError(f"{name}.sql: {first_line(error)}") from error
    folder = new_result(out, is_replaced=is_replaced)
    ends.persist()
    try:
        tables = {}
        for name, frame in frames.items():
            written = write_parts(frame, folder / name, PARQUET, write_parquet)
            parts = msgspec.to_builtins(written.parts)
            tables[name] = {"rows": written.records, "parts": parts, "query": queries[name]}
    finally:
        ends.unpersist()
    manifest = {"format": "features", "tables": tables, "seconds": round(time.perf_counter() - started, 1)}
    write_manifest(folder, manifest)
    return manifest


_VIEWS: Final = {
    "sessions": """
        SELECT id, visitor_key, session_id, end_reason, timestamp_millis(started_ms) AS started_at,
               timestamp_millis(ended_ms) AS ended_at, event_count, is_bot, location, device, events
        FROM session_ends""",
    "events": """
        SELECT id, visitor_key, position, event.event_type, timestamp_millis(event.time_ms) AS event_at,
               event.item_id, event.price
        FROM session_ends LATERAL VIEW posexplode(events) AS position, event
        WHERE NOT is_bot""",
}
