"""The columns of Spark's Kafka source, in which every clickstream travels, and rows of them as Arrow's batches."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pyarrow as pa

HEADERS: Final = "array<struct<key:string,value:binary>>"
ROWS: Final = f"topic string, key binary, value binary, partition int, offset long, time_ms long, headers {HEADERS}"
"""time_ms: the timestamp of the record, Unix milliseconds."""
_BATCH_ROWS: Final = 4096


def row_batches(rows: Iterable[tuple[Any, ...]]) -> Iterator["pa.RecordBatch"]:
    """Lay rows in the order of `ROWS` into batches."""
    import pyarrow as pa  # noqa: PLC0415 - an extra

    headers = pa.list_(pa.struct([("key", pa.string()), ("value", pa.binary())]))
    kinds = [("topic", pa.string()), ("key", pa.binary()), ("value", pa.binary()), ("partition", pa.int32())]
    schema = pa.schema([*kinds, ("offset", pa.int64()), ("time_ms", pa.int64()), ("headers", headers)])
    rest = iter(rows)
    while chunk := list(islice(rest, _BATCH_ROWS)):
        columns = zip(*chunk, strict=True)
        yield pa.RecordBatch.from_arrays(
            [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema=schema
        )
