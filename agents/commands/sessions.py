"""`insession sessions`: make sessions of a stored clickstream, on Spark."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from agents.commands.data_options import DataPath
from agents.commands.spark_options import parse_conf, spark_options
from agents.settings import load_settings
from schemas.errors import UsageError
from schemas.topic_url import SCHEME, TopicUrl, parse_topic_url
from streams.cluster.topics import Topic

if TYPE_CHECKING:
    from agents.batch.kafka_rows import ClickstreamFormat


class _Source(DataPath):
    """Files, or the URL of a topic."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse a path that is not there, and a URL that is none."""
        is_topic = isinstance(value, str) and value.startswith(SCHEME)
        return parse_topic_url(value) if is_topic else super().convert(value, param, ctx)


@click.command(
    epilog="""\b
Examples:
  insession sessions clickstream.parquet --out sessions
  insession sessions "kafka://kafka:9092/clickstream?from=2026-11-01" --config worker.toml --out sessions
  insession sessions "logs/2026-11-*.jsonl.gz" --format jsonl --config worker.toml --out sessions --master "local[2]"
"""
)
@click.argument("source", type=_Source())
@click.option("--out", metavar="PATH|URL", required=True, help="Folder, or s3://BUCKET/PREFIX: where sessions go.")
@click.option(
    "--format",
    "data_format",
    type=click.Choice(["parquet", "jsonl"]),
    default="parquet",
    show_default=True,
    help="parquet: records with the columns of Spark's Kafka source (key, value, partition, offset, timestamp; maybe "
    "topic, headers). jsonl: one record of the topic a line.",
)
@click.option("--topic", help="Clickstream topic whose mapping reads the records; that of the settings by default.")
@click.option(
    "--exact-ticks",
    "is_exact",
    is_flag=True,
    help="End sessions by ticks of each partition's time, as the stream does: differs for events that came later than "
    "gap and grace. A task then holds a whole partition of the topic.",
)
@click.option("--config", type=click.Path(path_type=Path), help="TOML settings file, as the worker's.")
@spark_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def command(  # noqa: PLR0913 - one parameter an option
    *,
    source: Path | TopicUrl,
    out: str,
    data_format: "ClickstreamFormat",
    topic: str | None,
    is_exact: bool,
    config: Path | None,
    master: str,
    conf: tuple[str, ...],
    is_replaced: bool,
    as_json: bool,
) -> None:
    """Make sessions of SOURCE, files or kafka://HOST:PORT/TOPIC?from=...&to=..., by the rules of the worker.

    They are records as those of the topic session-ends, one a line. The same events give the same bytes, but for what
    tells which input ended a session. `insession train OUT --format session-ends` learns from them.
    """
    from agents.batch.published import result_folder
    from agents.batch.sessions_job import SessionsJob, run_sessions
    from agents.batch.spark_session import spark_session
    from agents.batch.task_bar import task_bar

    settings = load_settings(file=config)
    if isinstance(source, TopicUrl):
        topic = source.topic
        settings = replace(settings, kafka=replace(settings.kafka, brokers=source.brokers))
    name = topic or settings.topics.name(Topic.CLICKSTREAM)
    if name not in settings.clickstreams:
        raise UsageError(f"--topic {name}: the clickstreams of the settings are {', '.join(settings.clickstreams)}")
    with (
        result_folder(out, master, is_replaced=is_replaced) as folder,
        spark_session("sessions", master, parse_conf(conf)) as spark,
        task_bar(spark, "sessions"),
    ):
        job = SessionsJob(source, data_format, folder, name, is_exact=is_exact, is_replaced=is_replaced)
        manifest = run_sessions(spark, job, settings)
    if as_json:
        click.echo(json.dumps(manifest, indent=2))
        return
    table = Table(title=f"{manifest['sessions']:,} sessions in {out}", show_header=False)
    for status, count in manifest["by_status"].items():
        table.add_row(status, f"{count:,}")
    table.add_section()
    table.add_row("records", f"{manifest['records']:,}")
    table.add_row("records a second", f"{manifest['records_per_second']:,}")
    table.add_row("records a second of the tasks' processor time", f"{manifest['records_per_task_cpu_second']:,}")
    Console().print(table)
