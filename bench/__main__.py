"""Measure the worker against bare Faust and raw aiokafka on one Kafka node: `python -m bench` or `make bench`.

Figures of different machines, and of a machine with other work, do not compare; ratios within one run do.
"""

import json
import signal
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from agents.progress_bar import counted_progress
from bench import programs
from bench.commands import run_bench
from bench.measure import BACKLOG_WARM_UP, WARM_UP_SECONDS, Bench, Throughput
from bench.release import trained_models
from bench.report import Report
from bench.traffic import Click, clicks
from serving.embedded.options import ServerOptions
from serving.embedded_process import EmbeddedServer
from streams.local.kafka_node import KafkaNode

CACHE = Path(".bench")


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    events: int
    rounds: int
    rate: float
    seconds: float
    partitions: int


@click.command()
@click.option("--events", type=click.IntRange(min=1000), default=10_000, show_default=True, help="Of each backlog.")
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="The programs take turns.")
@click.option("--rate", type=click.FloatRange(min=1), default=200, show_default=True, help="Steady events a second.")
@click.option("--seconds", type=click.FloatRange(min=1), default=30, show_default=True, help="Of the steady rate.")
@click.option("--partitions", type=click.IntRange(1, 64), default=8, show_default=True)
@click.option(
    "--models",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="What `insession train --out` made; by default a small model is trained once into .bench/.",
)
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures there.")
def command(models: Path | None, json_path: Path | None, **options: Any) -> None:
    """Print events/s of the worker with and without a model, of two baselines, and latency at a steady rate."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that everything started here is ended
    plan, console = Plan(**options), Console(stderr=True)
    report = measure(plan, models or trained_models(CACHE), console)
    output = Console()
    output.print(report.throughput_table())
    output.print(report.latency_table())
    if json_path is not None:
        json_path.write_text(json.dumps(report.as_json(), indent=2) + "\n")


def measure(plan: Plan, models: Path, console: Console) -> Report:
    """Start broker and model server, then let the programs take turns."""
    with ExitStack() as stack:
        console.print("starting Kafka and the model server")
        node = stack.enter_context(KafkaNode())
        CACHE.mkdir(exist_ok=True)
        options = ServerOptions(models=models, port=0)
        server = stack.enter_context(EmbeddedServer(options, log_path=CACHE / "model-server.log"))
        served = programs.ModelServer(server.address, models)
        traffic = clicks(max(BACKLOG_WARM_UP + plan.events, round(plan.rate * (plan.seconds + WARM_UP_SECONDS))))
        return _take_turns(plan, Bench(node.address, plan.partitions), served, traffic, console)


def _take_turns(
    plan: Plan, bench: Bench, server: programs.ModelServer, traffic: list[Click], console: Console
) -> Report:
    subjects = (
        programs.worker("worker, no release", None, {}),
        programs.worker("worker, model", server, programs.BACKLOG_SETTINGS),
        programs.bare_faust(),
        programs.raw_aiokafka(),
    )
    throughput: dict[str, list[Throughput]] = {subject.name: [] for subject in subjects}
    with counted_progress(console) as progress:

        def shown(description: str, total: int) -> Callable[[int], None]:
            task = progress.add_task(description, total=total)
            return lambda done: progress.update(task, completed=done)

        backlog = traffic[: BACKLOG_WARM_UP + plan.events]
        for number in range(1, plan.rounds + 1):
            for subject in subjects:
                on_done = shown(f"round {number}: {subject.name}", len(backlog))
                throughput[subject.name].append(bench.throughput(subject, backlog, on_done))
        steady = traffic[: round(plan.rate * (plan.seconds + WARM_UP_SECONDS))]
        on_done = shown(f"{plan.rate:g} events/s: worker, model", len(steady))
        latency = bench.latency(programs.worker("worker, model", server, {}), steady, plan.rate, on_done)
    return Report(asdict(plan), throughput, latency)


if __name__ == "__main__":
    run_bench(command)
