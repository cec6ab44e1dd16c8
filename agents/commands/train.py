"""`insession train`: learn from past sessions and publish a model release."""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.console import Console

from agents.commands.data_options import (
    CatalogUrlOrPath,
    DataUrlOrPath,
    FilesUrlOrPath,
    data_options,
    format_of,
    read_options,
)
from agents.commands.release_options import registry_option
from agents.commands.training_options import input_event_option, seed_option
from agents.commands.worker_options import trainer_of, worker_options
from agents.durations import DurationType
from agents.interruption import INTERRUPTED, Interruption
from agents.reports.training_bar import training_bar
from agents.settings import Settings, load_settings
from agents.sources.local_data import LocalCatalog, LocalData, catalog_here, copied_for_job, vectors_here
from schemas.errors import InsessionError, UsageError
from schemas.release_signature import read_key
from session_model.networks.tensorflow_import import import_tensorflow
from session_model.training.presets import PRESETS

if TYPE_CHECKING:
    from session_model.networks.trainer import Effort
    from session_model.training.train_release import TrainRequest, TrainResult

console = Console(stderr=True)


@click.command(
    epilog="""\b
Examples:
  insession train clicks.jsonl.gz --format jsonl --out models --preset small
  insession train sessions.txt --format sequences --out models --seed 7 --json > training.json
  insession train "logs/2026-1*.csv.zst" --format csv --columns session=sid,item=sku,time=ts --out models
  insession train sessions.txt --format sequences --out published --preset gru4rec-rsc15
  insession train clicks.jsonl.gz --format jsonl --out models --recipe tuned/recipe.toml
  insession train clicks.jsonl.gz --format jsonl --out models --workers 2
  insession train clicks.jsonl.gz --format jsonl --out models --catalog catalog.jsonl --item-vectors looks.npy
  insession train "kafka://kafka:9092/session-ends?from=2026-01-01" --config worker.toml --out models
"""
)
@click.argument("data", type=DataUrlOrPath())
@data_options("DATA")
@click.option("--out", "models_dir", type=click.Path(path_type=Path), required=True, help="Directory of the models.")
@click.option(
    "--catalog",
    type=CatalogUrlOrPath(),
    help="Catalog records, a topic as kafka://BROKERS/TOPIC or a file, one JSON a line, maybe compressed: so items "
    "with no or few clicks are listed, too.",
)
@click.option(
    "--item-vectors",
    type=FilesUrlOrPath(),
    help="Vectors of items from a model of texts or pictures: NAME.npy with NAME.ids.txt, or Parquet with item_id and "
    "vector; a file, a folder or s3://BUCKET/PREFIX. What is alike is listed together.",
)
@click.option(
    "--preset",
    type=click.Choice(list(PRESETS)),
    default="default",
    show_default=True,
    help="default: tries a recipe where sessions of all ages teach alike and one where fashions pass, and keeps the "
    "better. small: one small GRU and few kNN trials, minutes on a laptop. attention: a network of self-attention "
    "(SASRec) in place of the GRU. gru4rec-*: GRU4Rec as published, named by the data set it was tuned on, to compare "
    "with.",
)
@click.option(
    "--recipe",
    "recipe_paths",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    help="Recipe that `insession tune` wrote, instead of those of the preset; repeat to let several compete.",
)
@click.option("--epochs", type=click.IntRange(1, 1000), help="Planned epochs; early stopping may end before.")
@seed_option
@input_event_option
@click.option(
    "--time-budget", type=DurationType(), metavar="DURATION", default="55m", show_default=True, help="See above."
)
@click.option("--fresh", "is_fresh", is_flag=True, help="Begin anew, even where the same training was interrupted.")
@click.option(
    "--sign-key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    envvar="INSESSION_SERVING__RELEASE_KEY_FILE",
    help="File with the key that signs the release: serving.release_key of the workers.",
)
@registry_option("Register the release in MLflow, too", is_required=False)
@worker_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
def command(*, registry: str | None, as_json: bool, **options: Any) -> None:
    """Learn from the sessions in DATA and publish a release in OUT/<serving.model_name>/<version>/.

    DATA is a file, a folder of parts or a glob in quotes, plain, .gz, .zst, .bz2 or .xz; or it lies elsewhere:
    kafka://BROKERS/TOPIC?from=...&to=... (docs/training.md) or files below s3://BUCKET/PREFIX.

    The latest tenth of the sessions chooses the recipe, the epochs, the kNN settings and the blend; then all of DATA is
    learned. OUT/runs/<n>/ keeps settings, curve and result. After an interruption, a kill included, the same command
    goes on where it stopped.

    The whole command takes about --time-budget at most. Where that is short, epochs are left out, then later recipes
    and kNN trials, then the final training on all sessions; it says which.

    With --workers, the networks are trained by that many processes, each on its share of every batch. When one dies or
    hangs, all start again from the last checkpoint, and the weights are those of a training without a loss.
    """
    began = time.monotonic()
    with console.status("loading TensorFlow"):
        import_tensorflow()
        from session_model.training.train_release import train_release

    settings, data = load_settings(file=options.pop("config")), options.pop("data")
    data_format = format_of(data, options.pop("data_format"))
    described, vectors = options.pop("catalog"), options.pop("item_vectors")
    directory, is_fresh = options["models_dir"], options["is_fresh"]
    with Interruption():
        try:
            with (
                copied_for_job(data, data_format, settings, directory, is_fresh=is_fresh) as here,
                catalog_here(described, settings, directory, is_fresh=is_fresh) as catalog,
                vectors_here(vectors, settings, directory, is_fresh=is_fresh) as item_vectors,
                training_bar(console) as progress,
            ):
                loading_seconds = time.monotonic() - began
                request = _request(
                    settings=settings,
                    data=here,
                    data_format=data_format,
                    catalog=catalog,
                    item_vectors=item_vectors,
                    loading_seconds=loading_seconds,
                    **options,
                )
                result = train_release(request, progress)
        except KeyboardInterrupt:
            click.echo("insession: interrupted; the same command goes on from the last checkpoint", err=True)
            sys.exit(INTERRUPTED)
    _print_result(result)
    if registry is not None:
        _register(result, request, registry)
    if as_json:
        click.echo(json.dumps(_summary(result), indent=2))


def _register(result: "TrainResult", request: "TrainRequest", registry: str) -> None:
    from session_model.registry.mlflow_registry import MlflowRegistry

    try:
        models = MlflowRegistry(registry, request.model_name)
        registered = models.register(result.directory, request.sign_key)
    except InsessionError as error:
        raise InsessionError(
            f"version {result.version} is published and not registered: {error}: insession release register "
            f"{result.directory}"
        ) from error
    console.print(f"registered as version {registered.number} of {request.model_name}", highlight=False)


def _print_result(result: "TrainResult") -> None:
    if result.left_out:
        console.print(f"no time for: {', '.join(result.left_out)}")
    phases = ", ".join(f"{name} {seconds:.0f}" for name, seconds in result.phase_seconds.items())
    speed = result.metrics["clicks_per_second"]
    console.print(f"{_seconds(result):.0f} s ({phases}); {speed:,.0f} clicks/s", highlight=False)
    if result.effort.workers > 1:
        console.print(_effort_line(result.effort), highlight=False)
    console.print(f"run {result.run_directory}: settings, curve and result", highlight=False, soft_wrap=True)
    console.print(f"version {result.version} is in {result.directory}", soft_wrap=True)


def _effort_line(effort: "Effort") -> str:
    return (
        f"{effort.workers} workers: {effort.seconds_per_step * 1000:,.1f} ms a step, "
        f"{effort.cpu_seconds_per_step * 1000:,.1f} ms CPU of all, {effort.bytes_per_step / 1e6:,.2f} MB sent by each; "
        f"{effort.restarts} restarts, {effort.seconds_lost:,.0f} s lost"
    )


def _seconds(result: "TrainResult") -> float:
    return round(sum(result.phase_seconds.values()), 1)


def _request(
    *,
    settings: Settings,
    data: LocalData,
    catalog: LocalCatalog,
    preset: str,
    epochs: int | None,
    seed: int,
    **options: Any,
) -> "TrainRequest":
    from session_model.training.recipe_files import read_recipe
    from session_model.training.train_release import TrainRequest

    chosen, reading = PRESETS[preset], read_options(options["columns"], options["event_types"], settings)
    if chosen.gru4rec is not None and options["recipe_paths"]:
        raise UsageError(f"--preset {preset} has no recipe to replace; leave out --recipe or the preset")
    recipes = tuple(
        replace(recipe, training=replace(recipe.training, seed=seed, epochs=epochs or recipe.training.epochs))
        for recipe in [read_recipe(path) for path in options["recipe_paths"]] or chosen.recipes
    )
    published = chosen.gru4rec and replace(chosen.gru4rec, seed=seed, epochs=epochs or chosen.gru4rec.epochs)
    trainer = trainer_of(options, is_published=chosen.gru4rec is not None)
    return TrainRequest(
        data=data.path,
        data_format=options["data_format"],
        options=msgspec.structs.replace(reading, catalog_mapping=catalog.mapping),
        models_dir=options["models_dir"],
        model_name=settings.serving.model_name,
        catalog=catalog.path,
        item_vectors=options["item_vectors"],
        preset=replace(chosen, recipes=recipes, gru4rec=published),
        input_event_types=options["input_events"],
        time_budget_seconds=options["time_budget"].total_seconds(),
        is_fresh=options["is_fresh"],
        loading_seconds=options["loading_seconds"],
        sign_key=None if options["sign_key"] is None else read_key(options["sign_key"]),
        trainer=trainer,
        checkpoint_every_seconds=options["checkpoint_every"].total_seconds(),
        training_source=data.source,
    )


def _summary(result: "TrainResult") -> dict[str, Any]:
    return {
        "version": result.version,
        "directory": str(result.directory),
        "run_directory": str(result.run_directory),
        "seconds": _seconds(result),
        "phase_seconds": {name: round(seconds, 1) for name, seconds in result.phase_seconds.items()},
        "clicks_per_second": result.metrics["clicks_per_second"],
        "left_out": result.left_out,
        "workers": result.effort.workers,
        "restarts": result.effort.restarts,
        "seconds_lost": round(result.effort.seconds_lost, 1),
        "bytes_per_step": round(result.effort.bytes_per_step),
        "training_source": msgspec.to_builtins(result.training_source, str_keys=True),
        "metrics": result.metrics,
        "epochs": [
            {
                "epoch": report.epoch,
                "loss": report.loss,
                "recall_at_20": report.recall_at_20,
                "mrr_at_20": report.mrr_at_20,
                "seconds": round(report.seconds, 3),
                "clicks_per_second": round(report.clicks_per_second, 1),
            }
            for report in result.reports
        ],
    }
