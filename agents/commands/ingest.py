"""`insession ingest`: freezes days of clicks, so that what is made of them can be made again."""

from contextlib import ExitStack
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
from rich.console import Console
from rich.table import Table

from agents.commands.day_option import DayType
from agents.commands.spark_options import parse_conf, spark_options
from agents.progress_bar import counted_progress, steps_on
from agents.settings import load_settings
from schemas.errors import InsessionError, UsageError
from schemas.topic_url import SCHEME, TopicUrl, parse_topic_url

if TYPE_CHECKING:
    from agents.batch.ingest_job import DayManifest, IngestJob
    from agents.batch.kafka_rows import ClickstreamFormat
    from agents.settings import Settings


@click.command(
    epilog="""\b
Examples:
  insession ingest kafka://kafka:9092/clickstream --day 2026-01-31 --out clicks
  insession ingest "/mnt/logs/{day}/*.jsonl.gz" --format jsonl --day 2026-01-31 --days 30 --out clicks
"""
)
@click.argument("source")
@click.option("--day", type=DayType(), required=True, help="The last day, of UTC; it must be over.")
@click.option("--days", "n_days", type=click.IntRange(1, 3660), default=1, show_default=True, help="So many, with it.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder of the days.")
@click.option(
    "--format",
    "data_format",
    type=click.Choice(["parquet", "jsonl"]),
    default="parquet",
    show_default=True,
    help="Of files, as for `insession sessions`.",
)
@click.option("--config", type=click.Path(path_type=Path), help="TOML settings file, as the worker's.")
@spark_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def command(  # noqa: PLR0913 - one parameter an option
    *,
    source: str,
    day: date,
    n_days: int,
    out: Path,
    data_format: "ClickstreamFormat",
    config: Path | None,
    master: str,
    conf: tuple[str, ...],
    is_replaced: bool,
    as_json: bool,
) -> None:
    """Freeze days of SOURCE below OUT, a folder a day: kafka://HOST:PORT/TOPIC, or files with {day} in their path.

    A topic is read by Spark into Parquet that `insession sessions` reads; its manifest says which offsets are the
    day's. Files are linked, or copied from s3://. A day that is there is not read again, but the last with
    --overwrite. Days before the last may be missing.
    """
    from agents.batch.ingest_job import IngestJob, days_until, read_day

    if day >= datetime.now(UTC).date():
        raise UsageError(f"--day {day} is not over (UTC); see the clock of this machine, or name a day before")
    settings = load_settings(file=config)
    url = parse_topic_url(source) if source.startswith(SCHEME) else source
    job = IngestJob(url, data_format, days_until(day, n_days), out, is_replaced=is_replaced)
    try:
        made = _ingest(job, settings, master, conf)
    except OSError as error:
        raise InsessionError(f"ingest: {error}; check the path, its rights and the disk") from error
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(made), indent=2))
    else:
        Console().print(_table(made, out))
    if read_day(out / day.isoformat()) is None:
        raise InsessionError(f"{source} holds no click of {day}; when it does, run this again")


def _ingest(job: "IngestJob", settings: "Settings", master: str, conf: tuple[str, ...]) -> "list[DayManifest]":
    from agents.batch.ingest_job import ingest_topic, missing_days
    from agents.batch.spark_session import spark_session
    from agents.daily.day_files import ingest_files

    if not missing_days(job):
        return []
    with ExitStack() as stack:
        if not isinstance(job.source, TopicUrl):
            bar = stack.enter_context(counted_progress())
            return ingest_files(job, steps_on(bar, "days"))
        spark = stack.enter_context(spark_session("ingest", master, parse_conf(conf)))
        bar = stack.enter_context(counted_progress())
        return ingest_topic(spark, job, settings, steps_on(bar, "days"))


def _table(made: "list[DayManifest]", out: Path) -> Table:
    table = Table("day", "records", "bytes", "lost before", title=f"{len(made)} new days in {out}")
    for one in made:
        lost = sum(part.lost for part in one.partitions.values())
        table.add_row(str(one.day), f"{one.records:,}", f"{one.size_bytes:,}", f"{lost:,}" if lost else "")
    return table
