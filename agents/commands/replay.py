"""`insession replay`: run the live decisions over a log, without a broker."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from agents.commands.data_options import CatalogUrlOrPath, DataUrlOrPath, data_options, format_of, read_options
from agents.commands.models_option import ModelsUrlOrPath, while_it_runs
from agents.progress_bar import counted_progress
from agents.settings import load_settings
from agents.sources.local_data import DataUrl, catalog_here, copied_for_now
from schemas.bus import BusUrl
from schemas.topic_url import TopicUrl
from session_model.data.formats import DataFormat


@click.command(epilog="Example: insession replay clicks.jsonl.gz --format jsonl --models ./models --out ./replayed")
@click.argument("log", type=DataUrlOrPath())
@data_options("LOG")
@click.option(
    "--models",
    "models_url",
    type=ModelsUrlOrPath(),
    required=True,
    help="Models: <serving.model_name>/<version>/, a folder or s3://BUCKET/PREFIX.",
)
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Where records are written."
)
@click.option(
    "--catalog",
    type=CatalogUrlOrPath(),
    help="Catalog records, a topic as kafka://BROKERS/TOPIC or a file, one JSON a line, as on the topic.",
)
@click.option(
    "--rules",
    "rules_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Merchants' rules, as for `insession rules put`; each holds by the time of the events.",
)
@click.option(
    "--trending",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Records of the topic `trending`, one JSON a line; each counts from its event_time on. Without it nothing is "
    "trending.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
def command(  # noqa: PLR0913 - one parameter an option
    *,
    log: Path | DataUrl,
    data_format: DataFormat | None,
    columns: Sequence[str],
    event_types: Sequence[str],
    models_url: BusUrl,
    out: Path,
    catalog: Path | TopicUrl | None,
    rules_file: Path | None,
    trending: Path | None,
    config: Path | None,
    as_json: bool,
) -> None:
    """Replay LOG in event-time order with the release that serves from --models.

    That is the champion, or the newest where nothing was promoted.

    OUT gets recommendations.jsonl, intent-signals.jsonl, outcomes.jsonl, session-ends.jsonl and dead-letters.jsonl,
    byte-identical in every run.
    """
    from agents.merchants.rule_file import read_rule_file
    from agents.replay import replay_log
    from agents.sources.recorded_trending import read_trending
    from serving.embedded.options import ServerOptions
    from serving.embedded_process import EmbeddedServer
    from session_model.data.catalogs import read_catalog
    from session_model.data.formats import read_events
    from session_model.release.files import serving_release

    settings = load_settings(file=config)
    rules = [] if rules_file is None else read_rule_file(rules_file)
    models = while_it_runs(models_url, settings.serving.model_name, that_serve=True)
    serving_release(models / settings.serving.model_name)
    console = Console(stderr=True)
    read, chosen = read_options(columns, event_types, settings), format_of(log, data_format)
    with (
        copied_for_now(log, chosen, settings) as here,
        catalog_here(catalog, settings) as file,
        console.status("reading the log"),
    ):
        events = list(read_events(here.path, chosen, options=read))
        described = [] if file.path is None else read_catalog(file.path, file.mapping)
    lists = [] if trending is None else read_trending(trending)
    out.mkdir(parents=True, exist_ok=True)
    options = ServerOptions(models=models, model_name=settings.serving.model_name, port=0, op_threads=1)
    with EmbeddedServer(options, log_path=out / "model-server.log") as server, counted_progress(console) as progress:
        bar = progress.add_task("replaying", total=len(events))
        serving = replace(settings.serving, address=server.address, models_directory=models)
        settings = replace(settings, serving=serving)
        report = asyncio.run(
            replay_log(
                events, settings, out, lambda n: progress.advance(bar, n), described, rules=rules, trending=lists
            )
        )
    _print(report.as_json(), out, as_json=as_json)


def _print(report: dict[str, object], out: Path, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(report, indent=2))
        return
    table = Table(title=f"records in {out}", show_header=False)
    for name, value in report.items():
        table.add_row(name, f"{value:.4f}" if isinstance(value, float) else str(value))
    Console().print(table)
