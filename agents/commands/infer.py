"""`insession infer`: recommendations for all visitors of stored sessions, on Spark."""

import json
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from agents.commands.data_options import CatalogUrlOrPath, DataUrlOrPath
from agents.commands.moment import Moment
from agents.commands.release_options import registry_option
from agents.commands.spark_options import parse_conf, spark_options
from agents.settings import load_settings
from schemas.bus import FolderUrl
from schemas.errors import UsageError
from schemas.topic_url import TopicUrl

if TYPE_CHECKING:
    from agents.batch.inference_job import OutputFormat
    from agents.sources.local_data import DataUrl


@click.command(
    epilog="""\b
Examples:
  insession infer sessions --release models/session_gru/7 --out lists
  insession infer "kafka://kafka:9092/session-ends?from=2026-11-01" --config worker.toml --release models --out lists
  insession infer sessions --release models:/session_gru@champion --registry http://mlflow:5000 --out s3://shop/lists
"""
)
@click.argument("source", metavar="SESSIONS", type=DataUrlOrPath())
@click.option(
    "--release",
    required=True,
    metavar="PATH|URL",
    help="Folder of a release; or a models directory or s3://BUCKET/PREFIX, for the champion there; or a version of "
    "the registry: models:/NAME@ALIAS, models:/NAME/NUMBER.",
)
@registry_option("MLflow registry of models:/...", is_required=False)
@click.option("--out", metavar="PATH|URL", required=True, help="Folder, or s3://BUCKET/PREFIX: where lists go.")
@click.option(
    "--output-format",
    type=click.Choice(["jsonl", "parquet"]),
    default="jsonl",
    show_default=True,
    help="jsonl: a record a line, packed. parquet: the same fields as columns.",
)
@click.option(
    "--catalog",
    type=CatalogUrlOrPath(),
    help="Catalog records, a topic as kafka://BROKERS/TOPIC or a file, one JSON a line: what is not available, or not "
    "sold at the visitor's location, is left out.",
)
@click.option(
    "--rules",
    "rules_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Merchants' rules, as for `insession rules put`.",
)
@click.option(
    "--at",
    "at_ms",
    type=Moment(),
    metavar="TIME",
    help="When the lists will be shown: what is gone by then is in none, and rules hold as of then.  [default: now]",
)
@click.option("--config", type=click.Path(path_type=Path), help="TOML settings file, as the worker's.")
@spark_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def command(  # noqa: PLR0913 - one parameter an option
    *,
    source: "Path | DataUrl",
    release: str,
    registry: str | None,
    out: str,
    output_format: "OutputFormat",
    catalog: Path | TopicUrl | None,
    rules_file: Path | None,
    at_ms: int | None,
    config: Path | None,
    master: str,
    conf: tuple[str, ...],
    is_replaced: bool,
    as_json: bool,
) -> None:
    """Recommend to every visitor of SESSIONS, records of session-ends, what the worker would after the latest session.

    SESSIONS is what `insession sessions` wrote, or the topic as kafka://HOST:PORT/session-ends. One record a visitor;
    what was bought in any of the sessions is not recommended again. Bots get no list.
    """
    from agents.batch.inference_job import TASK_CONF, InferenceJob, run_inference
    from agents.batch.published import result_folder
    from agents.batch.spark_session import spark_session
    from agents.batch.task_bar import task_bar
    from agents.merchants.rule_file import read_rule_file
    from agents.sources.local_data import catalog_here, copied_for_now
    from agents.sources.local_models import parse_release_url, release_here

    settings, url = load_settings(file=config), parse_release_url(release)
    rules = [] if rules_file is None else read_rule_file(rules_file)
    are_copied = {
        "SESSIONS": not isinstance(source, Path | TopicUrl),
        "--release": not isinstance(url, FolderUrl),
        "--catalog": isinstance(catalog, TopicUrl),
    }
    copied = ", ".join(name for name, is_copied in are_copied.items() if is_copied)
    if copied and not master.startswith("local"):
        raise UsageError(f"{copied} would be copied to this machine, where no task of {master} is: name a shared path")
    if isinstance(source, TopicUrl):
        settings = replace(settings, kafka=replace(settings.kafka, brokers=source.brokers))
    with ExitStack() as stack:
        folder = stack.enter_context(result_folder(out, master, is_replaced=is_replaced))
        if not isinstance(source, TopicUrl):
            source = stack.enter_context(copied_for_now(source, "session-ends", settings)).path
        described = stack.enter_context(catalog_here(catalog, settings))
        settings = replace(settings, catalog=replace(settings.catalog, mapping=described.mapping))
        directory = stack.enter_context(release_here(url, settings.serving.model_name, registry))
        spark = stack.enter_context(spark_session("infer", master, TASK_CONF | parse_conf(conf)))
        stack.enter_context(task_bar(spark, "recommendations"))
        job = InferenceJob(
            source,
            directory,
            folder,
            described.path,
            output_format,
            is_replaced=is_replaced,
            rules=rules,
            at_ms=at_ms,
        )
        manifest = run_inference(spark, job, settings)
    if as_json:
        click.echo(json.dumps(manifest, indent=2))
        return
    title = f"{manifest['visitors']:,} lists of release {manifest['model_version']} in {out}"
    table = Table(title=title, show_header=False)
    for tier, count in manifest["by_tier"].items():
        table.add_row(f"by {tier}", f"{count:,}")
    table.add_section()
    for what, count in manifest["left_out"].items():
        table.add_row(f"left out: {what}", f"{count:,}")
    table.add_section()
    table.add_row("visitors a second", f"{manifest['visitors_per_second']:,}")
    table.add_row("processor time of a visitor, ms", f"{manifest['cpu_ms_per_visitor']:.2f}")
    Console().print(table)
