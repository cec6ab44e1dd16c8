"""`insession tune`: search a recipe for the network of a data set within a time budget."""

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.console import Console
from rich.table import Table

from agents.commands.data_options import DataUrlOrPath, data_options, format_of, read_options
from agents.commands.training_options import input_event_option, seed_option
from agents.durations import DurationType
from agents.interruption import INTERRUPTED, Interruption
from agents.reports.training_bar import training_bar
from agents.settings import load_settings
from agents.sources.local_data import copied_for_job
from session_model.networks.tensorflow_import import import_tensorflow

if TYPE_CHECKING:
    from session_model.training.recipe_search import SearchResult

SHOWN = 5
console = Console(stderr=True)


@click.command(
    epilog="""\b
Example:
  insession tune clicks.jsonl.gz --format jsonl --out tuned --time-budget 30m
  insession train clicks.jsonl.gz --format jsonl --out models --recipe tuned/recipe.toml
"""
)
@click.argument("data", type=DataUrlOrPath())
@data_options("DATA")
@click.option(
    "--out",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Directory of the recipe and the trials.",
)
@click.option(
    "--network",
    type=click.Choice(["gru", "attention"]),
    default="gru",
    show_default=True,
    help="What is shaped and trained; gru competes with the recipes of the default preset, attention with its own.",
)
@click.option(
    "--time-budget", type=DurationType(), metavar="DURATION", default="30m", show_default=True, help="Of this command."
)
@click.option(
    "--trials", "n_trials", type=click.IntRange(min=1), default=100, show_default=True, help="At most, in all."
)
@seed_option
@input_event_option
@click.option("--fresh", "is_fresh", is_flag=True, help="Begin anew, even where the same search was begun.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
def command(*, as_json: bool, **options: Any) -> None:
    """Search shape and training of the network for DATA and write the best to OUT/recipe.toml, for `train --recipe`.

    The recipes of the preset compete with proposed ones (Optuna's TPE) by Recall@20 + MRR@20 on the latest
    tenth of the sessions; what is worse than the median after an epoch is ended there. OUT/runs/<n>/ keeps all trials.
    The same command goes on with the search, for another time budget, also after a kill.
    """
    began = time.monotonic()
    with console.status("loading TensorFlow"):
        import_tensorflow()
        from session_model.training.recipe_search import SearchRequest, search_recipe

    settings, data, bound = load_settings(file=options.pop("config")), options.pop("data"), options.pop("time_budget")
    data_format = format_of(data, options.pop("data_format"))
    with Interruption():
        try:
            with (
                copied_for_job(data, data_format, settings, options["directory"], is_fresh=options["is_fresh"]) as here,
                training_bar(console) as progress,
            ):
                request = SearchRequest(
                    data=here.path,
                    data_format=data_format,
                    options=read_options(options.pop("columns"), options.pop("event_types"), settings),
                    input_event_types=options.pop("input_events"),
                    time_budget_seconds=bound.total_seconds() - (time.monotonic() - began),
                    **options,
                )
                result = search_recipe(request, progress)
        except KeyboardInterrupt:
            click.echo("insession: interrupted; the same command goes on with the search", err=True)
            sys.exit(INTERRUPTED)
    console.print(_table(result))
    console.print(f"all trials: {result.run_directory}\nbest recipe: {result.recipe_path}", soft_wrap=True)
    if as_json:
        click.echo(json.dumps(_summary(result), indent=2))


def _table(result: "SearchResult") -> Table:
    """Show the best trials: the shape as far as it is searched for, and of the training what differs most."""
    ranked = sorted(result.trials, key=lambda trial: -trial.gain)[:SHOWN]
    shapes = [msgspec.to_builtins(trial.recipe.network) for trial in ranked]
    table = Table("trial", "Recall@20 + MRR@20", *result.shape, "learning_rate", "recency_decay")
    for trial, shape in zip(ranked, shapes, strict=True):
        training = trial.recipe.training
        values = [*(shape[name] for name in result.shape), training.learning_rate, training.recency_decay]
        table.add_row(str(result.trials.index(trial) + 1), f"{trial.gain:.4f}", *map(_shown, values))
    return table


def _shown(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value).lower()


def _summary(result: "SearchResult") -> dict[str, Any]:
    return {
        "recipe": str(result.recipe_path),
        "run_directory": str(result.run_directory),
        "best_trial": result.best + 1,
        "gain": result.trials[result.best].gain,
        "trials": [{**msgspec.to_builtins(trial), "gain": trial.gain} for trial in result.trials],
    }
