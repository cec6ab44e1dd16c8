"""A day of clicks, frozen: later steps read the same, whatever becomes of the topic or of the shop's files.

Each day is a folder with a manifest, written last. Days of a topic follow each other without a gap: a day begins where
the one before has ended, so a record that came late, with a timestamp of the day before, is in exactly one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from agents.batch.kafka_rows import ClickstreamFormat
from agents.batch.part_forms import PARQUET, write_parquet
from agents.batch.parts import MANIFEST, Part, new_result, write_manifest, write_parts
from agents.batch.topic_rows import rows_at
from agents.settings import Settings
from agents.upkeep.job_progress import JobProgress
from schemas.errors import InsessionError
from schemas.events import Instant, unix_ms
from schemas.topic_url import TopicUrl
from streams.cluster.topic_reader import TopicReader

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class DayOffsets(msgspec.Struct, frozen=True):
    """What of a partition is the day's: the offsets from `first` up to and without `stop`.

    lost: offsets before `first` that no day has, since the topic's retention was faster.
    """

    first: int
    stop: int
    lost: int = 0


class DayManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a frozen day is made of. records: rows of a table, or lines."""

    day: date
    source: str
    format: ClickstreamFormat
    made_at: Instant
    records: int
    parts: tuple[Part, ...]
    partitions: dict[int, DayOffsets] = {}

    @property
    def size_bytes(self) -> int:
        """Add up the files."""
        return sum(part.size for part in self.parts)


@dataclass(frozen=True, slots=True)
class IngestJob:
    """What is asked for.

    source: a topic, or files by a text in which `{day}` stands for the day. days: oldest first. is_replaced: the
    last day is read anew; other days that are there never are.
    """

    source: TopicUrl | str
    data_format: ClickstreamFormat
    days: Sequence[date]
    out: Path
    is_replaced: bool = False


def days_until(last: date, n_days: int) -> list[date]:
    """Return so many days, `last` as the last one."""
    return [last - timedelta(days=back) for back in reversed(range(n_days))]


def read_day(folder: Path) -> DayManifest | None:
    """Read what a day is made of; None where it is not frozen."""
    try:
        return msgspec.json.decode((folder / MANIFEST).read_bytes(), type=DayManifest)
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        return None


def missing_days(job: IngestJob) -> list[date]:
    """Return the days that are to be read."""
    last = job.days[-1]
    return [day for day in job.days if (day == last and job.is_replaced) or read_day(job.out / day.isoformat()) is None]


def day_offsets(
    held: Mapping[int, range], since: Mapping[int, int], until: Mapping[int, int], before: Mapping[int, int]
) -> dict[int, DayOffsets]:
    """Part a topic: a day goes on where the one before has stopped, without one it begins by time.

    held: offsets that are there. since, until: the first ones of the day and of the day after, by timestamp. before:
    where the day before stopped, of the partitions that there were then. Raises InsessionError where the topic holds
    less than was read already.
    """
    found = {}
    for partition, offsets in held.items():
        first = before.get(partition, since[partition])
        if first > offsets.stop:
            raise InsessionError(
                f"partition {partition} ends at {offsets.stop}, and was read up to {first} already; was the topic made "
                "anew? Then give another --out, of which pipeline.work is a part"
            )
        begin = max(first, offsets.start)
        found[partition] = DayOffsets(begin, max(begin, min(until[partition], offsets.stop)), begin - first)
    return found


def ingest_topic(spark: "SparkSession", job: IngestJob, settings: Settings, progress: JobProgress) -> list[DayManifest]:
    """Freeze the missing days of a topic as Parquet with the columns of Spark's Kafka source; empty ones are left out.

    Raises TopicsError where the brokers do not answer, and as `day_offsets`.
    """
    url = job.source
    assert isinstance(url, TopicUrl)
    settings = replace(settings, kafka=replace(settings.kafka, brokers=url.brokers))
    days = missing_days(job)
    progress.begin("days", len(days))
    made = []
    for day in days:
        offsets = _offsets(url, day, job.out, settings)
        if any(part.stop > part.first for part in offsets.values()):
            rows = rows_at(
                spark, settings, url.topic, {number: range(part.first, part.stop) for number, part in offsets.items()}
            )
            folder = new_result(job.out / day.isoformat(), is_replaced=True)
            written = write_parts(rows.withColumnRenamed("time_ms", "timestamp"), folder, PARQUET, write_parquet)
            made.append(write_day(job, day, written.parts, written.records, offsets))
        progress.advance(1)
    return made


def write_day(
    job: IngestJob, day: date, parts: Sequence[Part], n_records: int, offsets: Mapping[int, DayOffsets]
) -> DayManifest:
    """Write what the day is made of: with this it is there."""
    manifest = DayManifest(
        day=day,
        source=str(job.source),
        format=job.data_format,
        made_at=datetime.now(UTC),
        records=n_records,
        parts=tuple(parts),
        partitions=dict(offsets),
    )
    write_manifest(job.out / day.isoformat(), msgspec.to_builtins(manifest, str_keys=True))
    return manifest


def _offsets(url: TopicUrl, day: date, out: Path, settings: Settings) -> dict[int, DayOffsets]:
    before = read_day(out / (day - timedelta(days=1)).isoformat())
    with TopicReader(settings.kafka.client_config()) as reader:
        held = reader.bounds(url.topic)
        since, until = (
            {number: found.start for number, found in reader.offsets_since(url.topic, _begin_ms(moment)).items()}
            for moment in (day, day + timedelta(days=1))
        )
    stops = {} if before is None else {number: part.stop for number, part in before.partitions.items()}
    return day_offsets(held, since, until, stops)


def _begin_ms(day: date) -> int:
    return unix_ms(datetime(day.year, day.month, day.day, tzinfo=UTC))
