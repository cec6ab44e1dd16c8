"""A day of the shop's files, frozen beside those of topics: agents.batch.ingest_job says what a day is."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Final

from agents.artifact_bus import open_bus
from agents.batch.ingest_job import DayManifest, IngestJob, missing_days, write_day
from agents.batch.parts import Part, new_result
from agents.sources.bus_copy import copy_from_bus
from agents.upkeep.job_progress import JobProgress
from schemas.bus import FolderUrl, parse_bus_url
from schemas.errors import UsageError
from session_model.data.files import data_files
from session_model.data.text_lines import MalformedLines, read_lines
from session_model.files import file_sha256

DAY: Final = "{day}"
"""Stands for the day in a source of files."""
_COPIED: Final = ".tmp-copy"


def ingest_files(job: IngestJob, progress: JobProgress) -> list[DayManifest]:
    """Freeze the files of the missing days: linked where the disk is the same, copied otherwise.

    Days of which there is no file are left out. Raises UsageError for a source without `{day}`, and BusError.
    """
    assert isinstance(job.source, str)
    if DAY not in job.source:
        raise UsageError(f"{job.source}: write {DAY} where the day stands, as clicks/{DAY}.jsonl.gz")
    days = missing_days(job)
    progress.begin("days", len(days))
    made = []
    for day in days:
        with _files_of(job.source.replace(DAY, day.isoformat()), job.out) as files:
            if files:
                made.append(_freeze(job, day, files))
        progress.advance(1)
    return made


def _freeze(job: IngestJob, day: date, files: Sequence[Path]) -> DayManifest:
    folder = new_result(job.out / day.isoformat(), is_replaced=True)
    parts, n_records = [], 0
    for number, file in enumerate(files):
        name = f"part-{number:05d}.{file.name}"
        link_or_copy(file, folder / name)
        n_lines = _count_lines(folder / name) if job.data_format == "jsonl" else 0
        n_records += n_lines
        parts.append(Part(name, n_lines, (folder / name).stat().st_size, file_sha256(folder / name)))
    return write_day(job, day, parts, n_records if job.data_format == "jsonl" else _count_rows(folder), {})


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file another name; on another disk, or one that has no links, the same content."""
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


@contextmanager
def _files_of(text: str, out: Path) -> Iterator[list[Path]]:
    """Yield the files of a day, none where there are none; those of the Bus are copied, and gone behind."""
    url = parse_bus_url(text)
    if isinstance(url, FolderUrl):
        try:
            files = data_files(url.path)
        except UsageError:
            files = []
        yield [file for file in files if file.is_file()]
        return
    folder = out / _COPIED
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        if any(True for _ in open_bus(str(url)).find()):
            copy_from_bus(url, folder, JobProgress(lambda _step, _total: None, lambda _count: None))
        yield data_files(folder) if any(folder.iterdir()) else []
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _count_lines(file: Path) -> int:
    return sum(1 for _ in read_lines(MalformedLines(file, data_format="jsonl")))


def _count_rows(folder: Path) -> int:
    import pyarrow.parquet as pq  # noqa: PLC0415 - an extra

    return sum(pq.read_metadata(file).num_rows for file in data_files(folder))
