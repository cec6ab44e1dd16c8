"""A result in parts is whole whatever becomes of the tasks that write it."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import pytest

from agents.batch.parts import MANIFEST, new_result, write_manifest, write_parts
from schemas.errors import InsessionError, UsageError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.mark.pipeline
def test_tasks_that_are_killed_or_fail_and_run_again_leave_what_undisturbed_ones_do(
    spark: "SparkSession", tmp_path: Path
) -> None:
    """One worker is killed in the middle of its file, one raises: no byte differs, and nothing is counted twice."""

    def write(batches: Iterable[Any], file: BinaryIO, counts: Counter[str], *, disturbed: bool = True) -> int:
        import os
        import signal

        from pyspark import TaskContext

        context = TaskContext.get()
        assert context is not None
        rows = 0
        for batch in batches:
            for value in batch.column("id").to_pylist():
                file.write(f"{value}\n".encode())
                rows += 1
        counts["rows"] += rows
        if disturbed and context.attemptNumber() == 0:
            file.flush()
            if context.partitionId() == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            raise ValueError("the disk is full")
        return rows

    def undisturbed(batches: Iterable[Any], file: BinaryIO, counts: Counter[str]) -> int:
        return write(batches, file, counts, disturbed=False)

    frame = spark.range(0, 1000, 1, 3)
    expected = write_parts(frame, new_result(tmp_path / "undisturbed"), ".txt", undisturbed)
    found = write_parts(frame, new_result(tmp_path / "disturbed"), ".txt", write)
    assert (found.parts, found.counts) == (expected.parts, expected.counts)
    assert (found.records, found.counts) == (1000, {"rows": 1000})
    assert sorted(path.name for path in (tmp_path / "disturbed").iterdir()) == [part.name for part in found.parts]


@pytest.mark.pipeline
def test_a_task_that_always_fails_leaves_no_manifest_and_says_why(spark: "SparkSession", tmp_path: Path) -> None:
    """The message is the task's own."""

    def write(_batches: Iterable[Any], file: BinaryIO, _counts: Counter[str]) -> int:
        file.write(b"half")
        raise ValueError("the disk is full")

    with pytest.raises(InsessionError, match=r"writing .*out failed: the disk is full$"):
        write_parts(spark.range(3), new_result(tmp_path / "out"), ".txt", write)
    assert not (tmp_path / "out" / MANIFEST).exists()


def test_only_an_unfinished_result_of_ours_is_removed(tmp_path: Path) -> None:
    """Files of somebody else are never deleted, also where replacing was asked for."""
    out = new_result(tmp_path / "out")
    (out / "part-00000.jsonl.gz").write_bytes(b"")
    write_manifest(out, {"format": "test"})
    with pytest.raises(UsageError, match="holds a result already"):
        new_result(out)
    assert list(new_result(out, is_replaced=True).iterdir()) == []
    (out / "holiday.jpg").write_bytes(b"")
    with pytest.raises(UsageError, match=r"holiday\.jpg is no file of a result of ours"):
        new_result(out, is_replaced=True)
    assert (out / "holiday.jpg").exists()
