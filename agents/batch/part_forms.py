"""Forms of a part: JSON lines, packed, and Parquet. The same records are the same bytes."""

import gzip
import io
from collections import Counter
from collections.abc import Iterable
from itertools import chain
from typing import TYPE_CHECKING, BinaryIO, Final

import msgspec

from schemas import wire

if TYPE_CHECKING:
    import pyarrow as pa

LINES: Final = ".jsonl.gz"
PARQUET: Final = ".parquet"


def write_lines(records: Iterable[msgspec.Struct], file: BinaryIO) -> int:
    """Write a record a line; return how many there were."""
    n_records = 0
    # Without a name and a time in its header.
    with gzip.GzipFile("", "wb", 6, file, mtime=0) as packed, io.BufferedWriter(packed, 1 << 16) as lines:
        for record in records:
            lines.write(wire.encode(record) + b"\n")
            n_records += 1
    return n_records


def write_parquet(batches: Iterable["pa.RecordBatch"], file: BinaryIO, _counts: "Counter[str]") -> int:
    """Write batches as one table; return its rows, 0 where there is no batch."""
    import pyarrow.parquet as pq  # noqa: PLC0415 - an extra

    rest = iter(batches)
    first = next(rest, None)
    if first is None:
        return 0
    rows = 0
    with pq.ParquetWriter(file, first.schema, compression="zstd") as writer:
        for batch in chain([first], rest):
            writer.write_batch(batch)
            rows += batch.num_rows
    return rows
