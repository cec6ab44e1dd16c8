"""What workers bring on this machine: `python -m bench.distributed DATA --format F --workers 2 --workers 4`.

Each number of workers trains the same steps of the first recipe of a preset; 1 is the process of `insession train`.
Efficiency is the time of one process over n times that of n workers: 1 where n workers are n times as fast. On one
machine they share its cores, of which one process uses several already; on n machines each has its own.
"""

import json
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from agents.reports.training_bar import training_bar
from bench.steps import Step, recommended
from session_model.data.formats import DATA_FORMATS, DataFormat, read_sessions
from session_model.data.item_sequences import item_sequences
from session_model.data.training_data import popular_first
from session_model.distributed.relay import Relay, add_effort
from session_model.distributed.supervisor import Limits, Supervisor
from session_model.distributed.worker import SentProgress
from session_model.networks.network_training import train_network
from session_model.networks.trainer import Effort
from session_model.networks.training_run import TrainingRun
from session_model.networks.training_task import TrainingTask
from session_model.runs.progress import TrainingProgress
from session_model.training.presets import PRESETS, Recipe


def measure(task: TrainingTask, recipe: Recipe, n_workers: int, progress: TrainingProgress) -> Effort:
    """Train the task and say what a step took."""
    if n_workers > 1:
        supervisor = Supervisor(n_workers, Limits(max_restarts=0))
        supervisor.train(task, recipe.network, recipe.training, progress)
        return supervisor.effort
    relay = Relay(progress)
    sent = SentProgress(relay)
    train_network(task, recipe.network, recipe.training, sent)
    return add_effort(Effort(), relay, [sent.finished(0.0)])


@click.command()
@click.argument("data", type=click.Path(exists=True, path_type=Path))
@click.option("--format", "data_format", type=click.Choice(DATA_FORMATS), required=True)
@click.option(
    "--preset",
    type=click.Choice([name for name, preset in PRESETS.items() if preset.recipes]),
    default="default",
    show_default=True,
)
@click.option("--workers", type=click.IntRange(2, 64), multiple=True, default=(2,), show_default=True)
@click.option("--steps", type=click.IntRange(min=50), default=150, show_default=True, help="Of each number of workers.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
def main(
    *, data: Path, data_format: DataFormat, preset: str, workers: tuple[int, ...], steps: int, as_json: bool
) -> None:
    """Train some steps of the preset's first recipe on DATA by one process and by workers, and recommend a number."""
    sessions = read_sessions(data, data_format)
    vocabulary = popular_first(sessions, ("view",))
    sequences = item_sequences(sessions, vocabulary, ("view",))
    recipe = PRESETS[preset].recipes[0]
    n_batches = TrainingRun(TrainingTask(sequences, len(vocabulary)), recipe.network, recipe.training).plan.n_batches
    task = TrainingTask(
        sequences, len(vocabulary), planned_epochs=steps / n_batches, checkpoint_every_seconds=float("inf")
    )
    efforts = dict[int, Effort]()
    with training_bar(Console(stderr=True)) as progress:
        for n_workers in sorted({1, *workers}):
            with tempfile.TemporaryDirectory() as folder:
                phase = f"{n_workers} workers" if n_workers > 1 else "one process"
                mine = replace(task, checkpoints=Path(folder), phase=phase)
                efforts[n_workers] = measure(mine, recipe, n_workers, progress)
    alone = efforts[1].seconds_per_step
    rows = [
        Step(
            n_workers,
            round(1000 * one.seconds_per_step, 2),
            round(1000 * one.cpu_seconds_per_step, 2),
            round(one.bytes_per_step),
            round(alone / one.seconds_per_step / n_workers, 2),
        )
        for n_workers, one in efforts.items()
    ]
    _print(rows, as_json=as_json)


def _print(rows: list[Step], *, as_json: bool) -> None:
    best = recommended({row.workers: row.wall_ms for row in rows})
    if as_json:
        click.echo(json.dumps({"rows": [asdict(row) for row in rows], "recommended": best}, indent=2))
        return
    table = Table("workers", "ms a step", "ms CPU of all", "bytes sent by each", "efficiency")
    for row in rows:
        table.add_row(
            str(row.workers),
            f"{row.wall_ms:,.1f}",
            f"{row.cpu_ms:,.1f}",
            f"{row.bytes_per_step:,}",
            f"{row.efficiency:.2f}",
        )
    console = Console()
    console.print(table)
    console.print(f"recommended on this machine: --workers {best}")


if __name__ == "__main__":
    main()
