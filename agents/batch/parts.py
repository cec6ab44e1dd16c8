"""A result in parts: each task writes one file, all at once or not at all, and the manifest comes last.

Spark may run a task again, or twice at the same time. A part has the number of its task's partition, is written under a
name of the attempt's own and renamed when it is whole; as the same rows give the same bytes, it is the same whoever
was last. A result without its manifest is none: what an earlier run has left is removed before the next one begins.
"""

import hashlib
import json
import os
import re
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple

import msgspec

from agents.batch.spark_session import map_in_arrow, task_errors_explained
from schemas.errors import UsageError
from session_model.files import write_whole

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

MANIFEST: Final = "_manifest.json"
"""The name begins as Spark's own `_SUCCESS` does: who reads the folder as data passes it over."""

Write = Callable[[Iterable["pa.RecordBatch"], BinaryIO, "Counter[str]"], int]
"""Writes the rows of a task into a file, counts what is to be told, and returns how many records it has written."""

_PART: Final = re.compile(r"part-\d+\.|\.tmp-")
_RETURNED: Final = "name string, records long, size long, sha256 string, cpu_seconds double, counts string"


class Part(msgspec.Struct, frozen=True):
    """A file of a result; size in bytes, sha256 in hex."""

    name: str
    records: int
    size: int
    sha256: str


class Written(NamedTuple):
    """The parts in the order of their names, what the tasks have counted, and the processor time of their Python."""

    parts: list[Part]
    counts: "Counter[str]"
    cpu_seconds: float

    @property
    def records(self) -> int:
        """Count the records of all parts."""
        return sum(part.records for part in self.parts)


def check_result(out: Path, manifest: str = MANIFEST, *more: str, is_replaced: bool = False) -> list[Path]:
    """Return the files in the folder of a result, which a run may remove.

    manifest: its name. more: names of other files that belong to the result. Raises UsageError where a finished result
    is there, unless it `is_replaced`, or files of somebody else are.
    """
    if (out / manifest).exists() and not is_replaced:
        raise UsageError(f"{out} holds a result already; name another --out, or add --overwrite")
    files = [path for path in out.rglob("*") if path.is_file()] if out.is_dir() else []
    foreign = [path for path in files if path.name not in {manifest, *more} and not _PART.match(path.name)]
    if foreign:
        raise UsageError(f"{foreign[0]} is no file of a result of ours; name an --out that is new or empty")
    return files


def new_result(out: Path, manifest: str = MANIFEST, *more: str, is_replaced: bool = False) -> Path:
    """Make the folder of a result, or clear it of what an earlier run has left there; raises as `check_result`."""
    files = check_result(out, manifest, *more, is_replaced=is_replaced)
    (out / manifest).unlink(missing_ok=True)  # first: from now on there is none
    for path in files:
        path.unlink(missing_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    return out


def write_parts(frame: "DataFrame", folder: Path, suffix: str, write: Write) -> Written:
    """Let each task of `frame` write its rows into a part of `folder`; one that writes no record leaves none.

    Raises InsessionError where a task fails as often as Spark runs it.
    """
    folder.mkdir(exist_ok=True)
    task = partial(_task, str(folder.absolute()), suffix, write)
    with task_errors_explained(f"writing {folder}"):
        rows = map_in_arrow(frame, task, _RETURNED).collect()
    for left in folder.glob(".tmp-*"):  # of an attempt that was killed
        left.unlink(missing_ok=True)
    counts = Counter[str]()
    for row in rows:
        counts.update(json.loads(row["counts"]))
    parts = [Part(row["name"], row["records"], row["size"], row["sha256"]) for row in rows if row["records"]]
    return Written(sorted(parts, key=lambda part: part.name), counts, sum(row["cpu_seconds"] for row in rows))


def write_manifest(folder: Path, manifest: Mapping[str, object]) -> None:
    """Write what the result is made of: with this it is there."""
    content = msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"
    write_whole(folder / MANIFEST, lambda file: file.write(content))


def _task(folder: str, suffix: str, write: Write, batches: Iterator["pa.RecordBatch"]) -> Iterator["pa.RecordBatch"]:
    import pyarrow as pa  # noqa: PLC0415 - an extra
    from pyspark import TaskContext  # noqa: PLC0415 - as above

    context = TaskContext.get()
    assert context is not None
    name = f"part-{context.partitionId():05d}{suffix}"
    beside = Path(folder) / f".tmp-{name}-{uuid.uuid4().hex}"
    counts, began_seconds = Counter[str](), time.process_time()
    try:
        with beside.open("wb") as file:
            records = write(batches, file, counts)
            file.flush()
            os.fsync(file.fileno())
        size, sha256 = _size_and_sha256(beside)
        if records:
            beside.replace(Path(folder) / name)
    finally:
        beside.unlink(missing_ok=True)
    row: dict[str, list[Any]] = {"name": [name], "records": [records], "size": [size], "sha256": [sha256]}
    row |= {"cpu_seconds": [time.process_time() - began_seconds], "counts": [json.dumps(counts)]}
    yield pa.RecordBatch.from_pydict(row)


def _size_and_sha256(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        return path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()
