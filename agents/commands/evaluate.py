"""`insession evaluate`: how good is a release on sessions it has not seen."""

from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from agents.commands.progress import counted_progress
from agents.evaluation_report import headline, markdown, page, terminal_tables
from schemas.errors import InsessionError
from schemas.release import MANIFEST_PATH
from session_model.catalogs import read_catalog
from session_model.datasets import DATA_FORMATS, DataFormat, read_sessions
from session_model.evaluation import FIRST_TARGET, HeldOut, Protocol, Unseen, evaluate
from session_model.exported_model import ExportedModel
from session_model.intent_evaluation import evaluate_intent
from session_model.intent_metrics import IntentQuality
from session_model.release import load_release, newest_release

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(
    epilog="""\b
Example:
  insession evaluate models test.tsv --format session-rec --json evaluation.json --html evaluation.html
"""
)
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("test", type=click.Path(exists=True, path_type=Path))
@click.option("--format", "data_format", type=click.Choice(DATA_FORMATS), required=True, help="Format of TEST.")
@click.option(
    "--catalog",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Catalog records, one JSON a line, as on the topic: items in it that are new since training can be listed.",
)
@click.option(
    "--unseen",
    type=click.Choice(["miss", "drop"]),
    default="miss",
    show_default=True,
    help="Targets that training has not seen: count them as misses, or take such clicks out of TEST first.",
)
@click.option(
    "--first-target",
    type=click.IntRange(min=FIRST_TARGET),
    default=FIRST_TARGET,
    show_default=True,
    metavar="N",
    help="Position in the session of the first item to predict.",
)
@click.option("--json", "json_path", type=_FILE, help="Write the result there as JSON.")
@click.option("--markdown", "markdown_path", type=_FILE, help="Write tables there, the slices among them.")
@click.option("--html", "html_path", type=_FILE, help="Write a page with tables and plots there.")
def command(  # noqa: PLR0913 - one parameter an option
    *,
    directory: Path,
    test: Path,
    data_format: DataFormat,
    catalog: Path | None,
    unseen: Unseen,
    first_target: int,
    json_path: Path | None,
    markdown_path: Path | None,
    html_path: Path | None,
) -> None:
    """Score a release on the sessions of TEST: blend, GRU, kNN and two baselines side by side.

    DIRECTORY is the models directory (the newest release in it is taken) or one release. The GRU is the exported
    SavedModel itself. Every item after a session's first is a target, ranked over the full catalogue.
    """
    try:
        release = load_release(directory if (directory / MANIFEST_PATH).exists() else newest_release(directory))
        if catalog is not None:
            release = release.with_catalog(read_catalog(catalog))
        held_out = HeldOut(test.name, read_sessions(test, data_format))
        model = ExportedModel(release.directory, release.manifest.max_length)
        with counted_progress() as bar:
            task = bar.add_task("sessions", total=len(held_out.sessions))
            result = evaluate(
                release, model, held_out, Protocol(unseen, first_target), lambda done: bar.update(task, completed=done)
            )
        if json_path is not None:
            json_path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")
        if markdown_path is not None:
            markdown_path.write_text(markdown(result))
        if html_path is not None:
            html_path.write_text(page(result))
    except OSError as error:
        raise InsessionError(f"evaluate: {error}; check the path, its rights and the disk") from error
    click.echo(f"{release.directory} on {headline(result)}")
    for table in terminal_tables(result):
        Console().print(table)
    if release.parts.intent is not None:
        Console().print(_intent_table(evaluate_intent(release.parts.intent, held_out.sessions)))


def _intent_table(qualities: dict[str, IntentQuality]) -> Table | str:
    if not qualities:
        return "intent: the test sessions have no purchase to predict"
    table = Table("intent", caption="P(a purchase later in the session); calibration: mean |predicted - observed|")
    for heading in ("prefixes", "base rate", "PR-AUC", "ROC-AUC", "calibration"):
        table.add_column(heading, justify="right")
    for name, quality in qualities.items():
        figures = (quality.base_rate, quality.pr_auc, quality.roc_auc, quality.calibration_error)
        table.add_row(name, f"{quality.examples}", *(f"{figure:.4f}" for figure in figures))
    return table
