"""Clicks/s of training steps on bucketed and padded batches: `python -m bench.training DATA --format F`.

Both take turns in one run and go through the same step of the same model; trust the ratio.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from agents.progress_bar import counted_progress
from session_model.data.formats import DATA_FORMATS, DataFormat, read_sessions
from session_model.data.item_sequences import ItemSequences, item_sequences
from session_model.data.training_data import popular_first
from session_model.networks.batches import Batch
from session_model.networks.training_run import TrainingRun
from session_model.networks.training_task import TrainingTask
from session_model.training.presets import PRESETS

WARM_UP_STEPS = 3


def padded_batches(
    sequences: ItemSequences, max_length: int, batch_targets: int, rng: np.random.Generator
) -> Iterator[Batch]:
    """Return every target once, sessions in random order and each padded to `max_length`: the plain way to batch."""
    n_targets = np.minimum(np.diff(sequences.starts) - 1, max_length)
    order = rng.permutation(np.flatnonzero(n_targets > 0))
    group = (np.cumsum(n_targets[order]) - 1) // batch_targets
    for sessions in np.split(order, np.flatnonzero(np.diff(group)) + 1):
        lengths = n_targets[sessions]
        real = np.arange(max_length) < lengths[:, None]
        rows = (sequences.starts[sessions + 1] - 1 - lengths)[:, None] + np.arange(max_length)
        inputs = np.where(real, sequences.items[np.where(real, rows, 0)], 0)
        yield Batch(
            inputs.astype(np.int32), np.flatnonzero(real).astype(np.int32), sequences.items[rows[real] + 1].astype(int)
        )


@dataclass(slots=True)
class Tally:
    """What the steps on one kind of batches came to; cells are inputs, padding included."""

    clicks: int = 0
    cells: int = 0
    seconds: float = 0.0

    def measure(self, run: TrainingRun, batches: Iterator[Batch]) -> None:
        """Train on the batches against the clock; making them is part of it."""
        begun = time.perf_counter()
        for batch in batches:
            run.train(batch)
            self.clicks += len(batch.targets)
            self.cells += batch.inputs.size
        self.seconds += time.perf_counter() - begun

    def as_json(self) -> dict[str, Any]:
        """Return the figures by name."""
        return {
            "clicks": self.clicks,
            "seconds": round(self.seconds, 3),
            "clicks_per_second": round(self.clicks / self.seconds, 1),
            "padding_share": round(1 - self.clicks / self.cells, 4),
        }


@click.command()
@click.argument("data", type=click.Path(exists=True, path_type=Path))
@click.option("--format", "data_format", type=click.Choice(DATA_FORMATS), required=True)
@click.option(
    "--preset",
    type=click.Choice([name for name, preset in PRESETS.items() if preset.recipes]),
    default="default",
    show_default=True,
)
@click.option("--steps", type=click.IntRange(min=1), default=60, show_default=True, help="Of each kind a round.")
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="The kinds take turns.")
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures there.")
def main(*, data: Path, data_format: DataFormat, preset: str, steps: int, rounds: int, json_path: Path | None) -> None:
    """Train the first recipe of the preset on DATA for some steps, bucketed and padded in turns."""
    sessions = read_sessions(data, data_format)
    vocabulary = popular_first(sessions, ("view",))
    sequences = item_sequences(sessions, vocabulary, ("view",))
    recipe = PRESETS[preset].recipes[0]
    run = TrainingRun(TrainingTask(sequences, len(vocabulary)), recipe.network, recipe.training)
    rng = np.random.default_rng(0)

    def batches(kind: str) -> Iterator[Batch]:
        if kind == "bucketed":
            return run.plan.epoch(rng)
        return padded_batches(sequences, recipe.network.max_length, recipe.training.batch_targets, rng)

    tallies = {"bucketed": Tally(), "padded": Tally()}
    with counted_progress() as progress:
        task = progress.add_task("rounds", total=rounds)
        for kind in tallies:
            Tally().measure(run, islice(batches(kind), WARM_UP_STEPS))
        for _ in range(rounds):
            for kind, tally in tallies.items():
                tally.measure(run, islice(batches(kind), steps))
            progress.advance(task)
    _print(tallies, json_path)


def _print(tallies: dict[str, Tally], json_path: Path | None) -> None:
    figures = {kind: tally.as_json() for kind, tally in tallies.items()}
    ratio = round(figures["bucketed"]["clicks_per_second"] / figures["padded"]["clicks_per_second"], 2)
    table = Table("batches", "clicks", "seconds", "clicks/s", "padding", title=f"bucketed / padded: {ratio} times")
    for kind, row in figures.items():
        table.add_row(
            kind,
            f"{row['clicks']:,}",
            f"{row['seconds']:.1f}",
            f"{row['clicks_per_second']:,.0f}",
            f"{row['padding_share']:.1%}",
        )
    Console().print(table)
    if json_path is not None:
        json_path.write_text(json.dumps(figures | {"ratio": ratio}, indent=2) + "\n")


if __name__ == "__main__":
    main()
