"""What a Predict takes by its rows, for the worker and for the embedded model server: `python -m bench.predict_call`.

One call after the other, as a worker with `serving.max_concurrent_calls` of 1 sends them.
"""

import asyncio
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from bench.commands import run_bench
from bench.release import SMALL, models_of
from bench.thread_cpu import cpu_seconds
from schemas.ids import ModelVersion
from schemas.ranking import ModelInput
from serving.client import PredictClient
from serving.embedded.options import ServerOptions
from serving.embedded_process import EmbeddedServer
from serving.settings import ServingSettings
from session_model.intent.prefix_features import FEATURE_NAMES

CACHE: Final = Path(".bench")
BATCHES: Final = (1, 4, 16, 32, 128)
SECONDS: Final = 3.0
"""Of each batch size."""
MOST_ITEMS: Final = 12
CLICKED: Final = 1_000
"""Items; every release has as many."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of a call; microseconds of processor time, and of the clock."""

    worker_us: float
    server_us: float
    wall_us: float


def drawn_rows(number: int) -> list[ModelInput]:
    """Draw sessions."""
    rng = np.random.default_rng(1)
    return [
        ModelInput(
            rng.integers(1, CLICKED, rng.integers(1, MOST_ITEMS + 1)).astype(np.int32),
            rng.random(len(FEATURE_NAMES)).astype(np.float32),
        )
        for _ in range(number)
    ]


async def measured(client: PredictClient, version: ModelVersion, rows: list[ModelInput], pid: int) -> Cost:
    """Send calls of these rows for a while."""
    for _ in range(3):
        await client.predict(version, rows, float("inf"))
    server, worker, began, calls = sum(cpu_seconds(pid).values()), time.process_time(), time.perf_counter(), 0
    while time.perf_counter() - began < SECONDS:
        await client.predict(version, rows, float("inf"))
        calls += 1
    wall, worker = time.perf_counter() - began, time.process_time() - worker
    server = sum(cpu_seconds(pid).values()) - server
    return Cost(*(1e6 * seconds / calls for seconds in (worker, server, wall)))


async def by_batch(address: str, pid: int) -> dict[int, Cost]:
    """Measure each batch size."""
    settings = replace(ServingSettings(), address=address)
    async with PredictClient(settings) as client:
        version = max(await client.loaded_versions())
        rows = drawn_rows(max(BATCHES))
        return {batch: await measured(client, version, rows[:batch], pid) for batch in BATCHES}


@click.command()
@click.option("--items", "n_items", default=SMALL, show_default=True, help="Of the release.")
def main(n_items: int) -> None:
    """Print microseconds a call."""
    options = ServerOptions(models=models_of(CACHE, n_items), port=0)
    with EmbeddedServer(options, log_path=CACHE / "model-server.log") as server:
        assert server.pid is not None
        costs = asyncio.run(by_batch(server.address, server.pid))
    table = Table("rows", "worker CPU", "server CPU", "wall", "server CPU a row", title=f"us a call, {n_items:,} items")
    for batch, cost in costs.items():
        figures = (cost.worker_us, cost.server_us, cost.wall_us, cost.server_us / batch)
        table.add_row(str(batch), *(f"{figure:,.0f}" for figure in figures))
    Console().print(table)


if __name__ == "__main__":
    run_bench(main)
