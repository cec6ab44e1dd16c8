"""`insession train`: learn from past sessions and publish a model release."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from agents.durations import DurationType
from schemas.events import ITEM_EVENT_TYPES
from session_model.datasets import DATA_FORMATS
from session_model.tensorflow_import import import_tensorflow

if TYPE_CHECKING:
    from session_model.train_release import TrainRequest, TrainResult
    from session_model.training_progress import EpochReport

console = Console(stderr=True)


@click.command(
    epilog="""\b
Examples:
  insession train clicks.jsonl.gz --format jsonl --out models --preset small
  insession train sessions.txt --format sequences --out models --seed 7 --json training.json
"""
)
@click.argument("data", type=click.Path(exists=True, path_type=Path))
@click.option("--format", "data_format", type=click.Choice(DATA_FORMATS), required=True, help="Format of DATA.")
@click.option("--out", "models_dir", type=click.Path(path_type=Path), required=True, help="Directory of the models.")
@click.option(
    "--catalog",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Catalog records, one JSON a line, maybe gzipped: so items with no or few clicks are listed, too.",
)
@click.option("--preset", type=click.Choice(["small", "default"]), default="default", show_default=True, help="Sizes.")
@click.option("--epochs", type=click.IntRange(1, 1000), help="Planned epochs; early stopping may end before.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 4), default=1, show_default=True, help="Of all randomness.")
@click.option(
    "--input-event",
    "input_events",
    type=click.Choice(sorted(ITEM_EVENT_TYPES)),
    multiple=True,
    default=("view",),
    show_default=True,
    help="Event type whose items the model reads and predicts; repeat for more.",
)
@click.option("--time-budget", type=DurationType(), metavar="DURATION", help="Like 40m; begin no epoch beyond it.")
@click.option(
    "--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write the result there as JSON."
)
def command(json_path: Path | None, **options: Any) -> None:
    """Learn from the sessions in DATA and publish a release in OUT/session_gru/<version>/.

    The latest tenth of the sessions chooses the recipe, the epochs, the kNN settings and the blend; then all of DATA is
    learned.
    """
    with console.status("loading TensorFlow"):
        import_tensorflow()
        from session_model.train_release import train_release  # noqa: PLC0415 - --help must not pay for TensorFlow

    with _bar() as progress:
        result = train_release(_request(**options), progress)
    console.print(f"version {result.version} is in {result.directory}")
    if json_path is not None:
        json_path.write_text(json.dumps(_summary(result), indent=2) + "\n")


def _request(*, preset: str, epochs: int | None, seed: int, **options: Any) -> "TrainRequest":
    from session_model.presets import PRESETS  # noqa: PLC0415 - as above
    from session_model.train_release import TrainRequest  # noqa: PLC0415 - as above

    recipes = tuple(
        replace(recipe, training=replace(recipe.training, seed=seed, epochs=epochs or recipe.training.epochs))
        for recipe in PRESETS[preset].recipes
    )
    return TrainRequest(
        data=options["data"],
        data_format=options["data_format"],
        models_dir=options["models_dir"],
        catalog=options["catalog"],
        preset=replace(PRESETS[preset], recipes=recipes),
        input_event_types=options["input_events"],
        time_budget_seconds=None if options["time_budget"] is None else options["time_budget"].total_seconds(),
    )


def _summary(result: "TrainResult") -> dict[str, Any]:
    return {
        "version": result.version,
        "directory": str(result.directory),
        "metrics": result.metrics,
        "epochs": [
            {
                "epoch": report.epoch,
                "loss": report.loss,
                "recall_at_20": report.recall_at_20,
                "mrr_at_20": report.mrr_at_20,
            }
            for report in result.reports
        ],
    }


class _ProgressBar:
    """Shows training as one bar a phase; implements session_model.training_progress.TrainingProgress."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._phase: TaskID | None = None

    def started(self, phase: str, n_steps: int) -> None:
        """Open the bar of `phase`; that before is done, maybe early."""
        if self._phase is not None:
            self._progress.update(self._phase, total=self._progress.tasks[self._phase].completed)
        self._phase = self._progress.add_task(phase, total=n_steps)

    def stepped(self) -> None:
        """Move the bar."""
        if self._phase is not None:
            self._progress.advance(self._phase)

    def epoch_ended(self, report: "EpochReport") -> None:
        """Print a line above the bar."""
        line = f"epoch {report.epoch}: loss {report.loss:.3f}"
        if report.recall_at_20 is not None:
            line += f", validation Recall@20 {report.recall_at_20:.4f}, MRR@20 {report.mrr_at_20:.4f}"
        self._progress.console.print(line)


@contextmanager
def _bar() -> Iterator[_ProgressBar]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        yield _ProgressBar(progress)
