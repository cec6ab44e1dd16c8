"""Days of a shop's files, frozen."""

import os
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from agents.artifact_bus import open_bus
from agents.batch.ingest_job import DayOffsets, IngestJob, day_offsets, days_until, read_day
from agents.daily.day_files import ingest_files
from agents.upkeep.job_progress import JobProgress
from bench.s3_server import s3_server
from schemas.errors import InsessionError, UsageError

LAST = date(2026, 1, 31)
QUIET = JobProgress(lambda _step, _total: None, lambda _count: None)


def job(source: str, out: Path, *, n_days: int = 2, is_replaced: bool = False) -> IngestJob:
    """Ask for days of JSON lines."""
    return IngestJob(source, "jsonl", days_until(LAST, n_days), out, is_replaced=is_replaced)


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Have two days, one of two files."""
    (tmp_path / "logs").mkdir()
    for name, content in {"2026-01-30.a": "1\n2\n", "2026-01-31.a": "3\n", "2026-01-31.b": "4\n5\n"}.items():
        (tmp_path / "logs" / f"{name}.jsonl").write_text(content)
    return tmp_path / "logs"


def test_a_day_holds_its_files_and_says_what_is_in_them(logs: Path, tmp_path: Path) -> None:
    """Those of other days are in others."""
    made = ingest_files(job(f"{logs}/{{day}}.*.jsonl", tmp_path / "out"), QUIET)
    assert [(str(one.day), one.records, one.size_bytes) for one in made] == [("2026-01-30", 2, 4), ("2026-01-31", 3, 6)]
    files = sorted((tmp_path / "out" / "2026-01-31").glob("part-*"))
    assert [file.name for file in files] == ["part-00000.2026-01-31.a.jsonl", "part-00001.2026-01-31.b.jsonl"]
    assert read_day(tmp_path / "out" / "2026-01-31") == made[1]


def test_a_day_is_not_read_again(logs: Path, tmp_path: Path) -> None:
    """Whatever the shop's folder holds then; unless the last one is asked for anew."""
    source = f"{logs}/{{day}}.a.jsonl"
    before = ingest_files(job(source, tmp_path / "out"), QUIET)
    (logs / "2026-01-30.a.jsonl").unlink()
    (logs / "2026-01-31.a.jsonl").unlink()
    (logs / "2026-01-31.a.jsonl").write_text("6\n7\n")
    assert ingest_files(job(source, tmp_path / "out"), QUIET) == []
    assert (tmp_path / "out" / "2026-01-31" / "part-00000.2026-01-31.a.jsonl").read_text() == "3\n"
    (anew,) = ingest_files(job(source, tmp_path / "out", is_replaced=True), QUIET)
    assert (anew.day, anew.records) == (LAST, 2)
    assert read_day(tmp_path / "out" / "2026-01-30") == before[0]


def test_what_a_killed_one_has_left_is_removed(logs: Path, tmp_path: Path) -> None:
    """A day without its manifest is none."""
    folder = tmp_path / "out" / "2026-01-31"
    folder.mkdir(parents=True)
    (folder / "part-00007.left.jsonl").write_text("half")
    ingest_files(job(f"{logs}/{{day}}.a.jsonl", tmp_path / "out"), QUIET)
    assert [path.name for path in folder.glob("part-*")] == ["part-00000.2026-01-31.a.jsonl"]


def test_files_of_another_disk_are_copied(logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the disk has no links of files, too."""

    def refuse(*_: object) -> None:
        raise OSError(18, os.strerror(18))

    monkeypatch.setattr(os, "link", refuse)
    made = ingest_files(job(f"{logs}/{{day}}.a.jsonl", tmp_path / "out"), QUIET)
    assert [one.records for one in made] == [2, 1]


def test_rows_of_tables_are_counted(tmp_path: Path) -> None:
    """By their metadata."""
    pq.write_table(pa.table({"key": [b"a", b"b"]}), tmp_path / "2026-01-31.parquet")
    asked = IngestJob(f"{tmp_path}/{{day}}.parquet", "parquet", [LAST], tmp_path / "out")
    assert [one.records for one in ingest_files(asked, QUIET)] == [2]


def test_a_source_without_a_day_would_be_the_same_each_day(tmp_path: Path) -> None:
    """It is refused."""
    with pytest.raises(UsageError, match=r"write \{day\} where the day stands"):
        ingest_files(job(f"{tmp_path}/clicks.jsonl", tmp_path / "out"), QUIET)


@pytest.fixture
def shop() -> Iterator[str]:
    """Have clicks of one day on S3."""
    with s3_server():
        open_bus("s3://bus/clicks").write("2026-01-31/a.jsonl", b"1\n2\n")
        yield "s3://bus/clicks/{day}"


def test_days_on_s3_are_copied(shop: str, tmp_path: Path) -> None:
    """Those that are not there yet are left out."""
    made = ingest_files(job(shop, tmp_path / "out"), QUIET)
    assert [(one.day, one.records) for one in made] == [(LAST, 2)]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"2026-01-31"}


HELD = {0: range(100, 500), 1: range(50)}


def test_a_day_goes_on_where_the_one_before_stopped() -> None:
    """A record that came late, with a timestamp of the day before, is in exactly one."""
    found = day_offsets(HELD, since={0: 210, 1: 10}, until={0: 300, 1: 50}, before={0: 200})
    assert found == {0: DayOffsets(200, 300), 1: DayOffsets(10, 50)}


def test_what_the_retention_took_is_counted() -> None:
    """So that somebody keeps the topic longer."""
    found = day_offsets({0: HELD[0]}, since={0: 210}, until={0: 300}, before={0: 40})
    assert found == {0: DayOffsets(100, 300, lost=60)}


def test_an_hour_that_was_read_already_is_no_day() -> None:
    """Timestamps may go back: a partition has nothing of the day then, and never less."""
    assert day_offsets({0: HELD[0]}, since={0: 210}, until={0: 190}, before={0: 200}) == {0: DayOffsets(200, 200)}


def test_a_topic_that_was_made_anew_is_told() -> None:
    """Its offsets begin again, and would be taken for what was read."""
    with pytest.raises(InsessionError, match="partition 0 ends at 500, and was read up to 900 already"):
        day_offsets({0: HELD[0]}, since={0: 210}, until={0: 300}, before={0: 900})
