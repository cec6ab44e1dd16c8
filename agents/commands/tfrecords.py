"""`insession tfrecords`: sessions as TFRecords with vocabulary, split and schema, on Spark."""

import json
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from agents.commands.data_options import DataPath
from agents.commands.moment import Moment
from agents.commands.number_range import NumberRange
from agents.commands.spark_options import parse_conf, spark_options


@click.command(epilog="Example: insession tfrecords sessions --out tfrecords --test-share 0.1")
@click.argument("source", metavar="SESSIONS", type=DataPath())
@click.option(
    "--out", metavar="PATH|URL", required=True, help="Folder, or s3://BUCKET/PREFIX: where the data set goes."
)
@click.option(
    "--test-share",
    type=NumberRange(0, 1, min_open=True, max_open=True),
    default=0.1,
    show_default=True,
    help="Share of the sessions, the latest, that become the test.",
)
@click.option(
    "--split-at",
    "split_ms",
    type=Moment(),
    help="Sessions that ended from this moment on become the test: 1d back from now, or RFC 3339.",
)
@spark_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def command(  # noqa: PLR0913 - one parameter an option
    *,
    source: Path,
    out: str,
    test_share: float,
    split_ms: int | None,
    master: str,
    conf: tuple[str, ...],
    is_replaced: bool,
    as_json: bool,
) -> None:
    """Write SESSIONS, records of session-ends, as TFRecords: OUT/train, OUT/test, vocabulary.json, schema.json.

    `insession train OUT/train --format tfrecord` learns from them, and so does any other TensorFlow program.
    """
    from agents.batch.published import result_folder
    from agents.batch.spark_session import spark_session
    from agents.batch.task_bar import task_bar
    from agents.batch.tfrecords_job import TfrecordsJob, run_tfrecords
    from session_model.data.tfrecords import SCHEMA, VOCABULARY

    with (
        result_folder(out, master, SCHEMA, VOCABULARY, is_replaced=is_replaced) as folder,
        spark_session("tfrecords", master, parse_conf(conf)) as spark,
        task_bar(spark, "TFRecords"),
    ):
        job = TfrecordsJob(source, folder, test_share, split_ms, is_replaced=is_replaced)
        result = run_tfrecords(spark, job)
    if as_json:
        click.echo(json.dumps(result, indent=2))
        return
    table = Table("split", "sessions", "files", title=f"{result['vocabulary_items']:,} items in {out}")
    for name, split in result["splits"].items():
        table.add_row(name, f"{split['sessions']:,}", f"{len(split['files']):,}")
    table.add_section()
    for reason, count in result["left_out"].items():
        table.add_row(f"left out: {reason}", f"{count:,}", "")
    Console().print(table)
