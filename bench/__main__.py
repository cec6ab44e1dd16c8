"""Measure the worker against bare Faust, Quix Streams and raw aiokafka on one Kafka node: `make bench`.

Figures of different machines, and of a machine with other work, do not compare; ratios within one run do.
"""

import json
import signal
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.progress import Progress

from agents.progress_bar import counted_progress
from bench import programs
from bench.commands import run_bench
from bench.measure import BACKLOG_WARM_UP, WARM_UP_SECONDS, Bench, Latency, Throughput
from bench.memory import visitors_held
from bench.model_step import model_step, steps_table
from bench.peers import peer_python
from bench.release import SMALL, models_of
from bench.report import Machine, Report
from bench.traffic import Click, clicks
from schemas.errors import InsessionError
from serving.embedded.options import ServerOptions
from serving.embedded_process import EmbeddedServer
from session_model.ranking.item_search import SEARCHED_ITEMS
from streams.local.kafka_node import KafkaNode

CACHE: Final = Path(".bench")
SESSIONS: Final = 100_000
PICTURE: Final = "bench.svg"
WIDTH: Final = 130
"""Of the tables, columns."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured. items: of the releases, each with its server; large_items: of one that has one round."""

    events: int
    rounds: int
    rates: tuple[float, ...]
    seconds: float
    partitions: int
    items: tuple[int, ...]
    large_items: int

    @property
    def searched(self) -> list[int]:
        """Return the sizes of catalogue that are searched."""
        return [number for number in (*self.items, self.large_items) if number >= SEARCHED_ITEMS]


SHORT: Final = {"events": 6_000, "rates": (200.0,), "seconds": 10.0, "items": (SMALL,), "large_items": 0}


class _Numbers(click.ParamType):
    """Numbers with commas between them."""

    name = "n,n"

    def __init__(self, number: Callable[[str], float]) -> None:
        self._number = number

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        """Read them."""
        if isinstance(value, tuple):
            return value
        try:
            found = tuple(map(self._number, str(value).split(",")))
        except ValueError:
            self.fail(f"{value!r} is no list of numbers, as in 200,500", param, ctx)
        if min(found) <= 0:
            self.fail(f"{value!r}: each must be above 0", param, ctx)
        return found


@click.command()
@click.option("--events", type=click.IntRange(min=1000), default=10_000, show_default=True, help="Of each backlog.")
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="The programs take turns.")
@click.option("--rates", type=_Numbers(float), default="50,200,500,1000", show_default=True, help="Events a second.")
@click.option("--seconds", type=click.FloatRange(min=1), default=15, show_default=True, help="Of each steady rate.")
@click.option("--partitions", type=click.IntRange(1, 64), default=8, show_default=True)
@click.option("--items", type=_Numbers(int), default="2000,40000", show_default=True, help="Of the releases.")
@click.option("--large-items", type=click.IntRange(min=0), default=1_000_000, show_default=True, help="Of one round.")
@click.option("--short", is_flag=True, help="A small release, one rate, fewer events; whatever else is given counts.")
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures there.")
@click.pass_context
def command(context: click.Context, /, json_path: Path | None, *, short: bool, **options: Any) -> None:
    """Print events/s of the worker with and without a model, of three baselines, and latency at steady rates."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that everything started here is ended
    if short:
        given = {name for name in SHORT if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT}
        options |= {name: value for name, value in SHORT.items() if name not in given}
    console = Console(stderr=True)
    report = measure(Plan(**options), console)
    output = Console(width=WIDTH)
    output.print(report.throughput_table())
    output.print(report.latency_table())
    if report.model_steps:
        output.print(steps_table(report.model_steps))
    report.draw(CACHE / PICTURE)
    output.print(f"{CACHE / PICTURE} shows it", highlight=False)
    if json_path is not None:
        json_path.write_text(json.dumps(report.as_json(), indent=2) + "\n")


def measure(plan: Plan, console: Console) -> Report:
    """Start the broker, let the programs take turns, then look at latency and memory."""
    CACHE.mkdir(exist_ok=True)
    models = {n_items: models_of(CACHE, n_items) for n_items in (*plan.items, plan.large_items) if n_items}
    quix = _quix(console)
    machine = Machine.here()
    most_rate = max(plan.rates)
    traffic = clicks(max(BACKLOG_WARM_UP + plan.events, round(most_rate * (plan.seconds + WARM_UP_SECONDS))))
    with ExitStack() as stack:
        console.print("starting Kafka and the model servers")
        bench = Bench(stack.enter_context(KafkaNode()).address, plan.partitions)
        progress = stack.enter_context(counted_progress(console))
        run = _Run(plan, bench, traffic, progress)
        with ExitStack() as servers:
            served = {n_items: servers.enter_context(_server(models[n_items], n_items)) for n_items in plan.items}
            subjects = [programs.worker("no_model", "worker, no release", None, {})]
            subjects += [_with_model(n_items, served[n_items], plan) for n_items in reversed(plan.items)]
            subjects += [programs.bare_faust(), programs.raw_aiokafka()]
            subjects += [] if quix is None else [programs.quix_streams(quix)]
            for number in range(1, plan.rounds + 1):
                for subject in subjects:
                    run.throughput_of(subject, f"round {number}: {subject.name}")
            for n_items in plan.items:
                run.latency_of(n_items, served[n_items])
        if plan.large_items:
            with _server(models[plan.large_items], plan.large_items) as server:
                subject = _with_model(plan.large_items, server, plan)
                subjects.append(subject)
                run.throughput_of(subject, subject.name)
    steps = dict(_steps(plan, console))
    ((held,), (open_ones,)) = (visitors_held([SESSIONS], is_open=is_open)["steps"] for is_open in (False, True))
    return Report(
        machine=machine,
        settings=asdict(plan),
        subjects={subject.key: subject for subject in subjects},
        throughput=run.throughput,
        latency=run.latency,
        model_steps=steps,
        bytes_per_session={
            "memory": open_ones["rss_bytes_a_visitor"],
            "disk": open_ones["disk_bytes_a_visitor"],
            "memory_quiet": held["rss_bytes_a_visitor"],
        },
    )


def _steps(plan: Plan, console: Console) -> Iterator[tuple[int, dict[str, Any]]]:
    """Measure the model's step by number of items; what cannot be is told, and what was measured before stays."""
    for number in plan.searched:
        try:
            yield number, model_step(number, CACHE)
        except InsessionError as error:
            console.print(f"the model's step with {number:,} items: {error}", highlight=False)


class _Run:
    """What is measured, one after the other."""

    def __init__(self, plan: Plan, bench: Bench, traffic: list[Click], progress: Progress) -> None:
        self._plan, self._bench, self._traffic, self._progress = plan, bench, traffic, progress
        self.throughput = defaultdict[str, list[Throughput]](list)
        self.latency = defaultdict[int, dict[float, Latency]](dict)

    def throughput_of(self, subject: programs.Subject, told: str) -> None:
        backlog = self._traffic[: BACKLOG_WARM_UP + self._plan.events]
        with self._shown(told, len(backlog)) as on_done:
            self.throughput[subject.key].append(self._bench.throughput(subject, backlog, on_done))

    def latency_of(self, n_items: int, server: programs.ModelServer) -> None:
        for rate in self._plan.rates:
            steady = self._traffic[: round(rate * (self._plan.seconds + WARM_UP_SECONDS))]
            with self._shown(f"{rate:g} events/s, {n_items:,} items", len(steady)) as on_done:
                subject = programs.worker("steady", "worker, model", server, {})
                self.latency[n_items][rate] = self._bench.latency(subject, steady, rate, on_done)

    @contextmanager
    def _shown(self, description: str, total: int) -> Iterator[Callable[[int], None]]:
        task = self._progress.add_task(description, total=total)
        yield lambda done: self._progress.update(task, completed=done)


def _with_model(n_items: int, server: programs.ModelServer, plan: Plan) -> programs.Subject:
    """Describe a worker with a model; `model` is that of the largest release with all rounds."""
    key = "model" if n_items == max(plan.items) else f"model_{n_items}_items"
    return programs.worker(key, f"worker, {n_items:,} items", server, programs.BACKLOG_SETTINGS)


@contextmanager
def _server(models: Path, n_items: int) -> Iterator[programs.ModelServer]:
    options = ServerOptions(models=models, port=0)
    with EmbeddedServer(options, log_path=CACHE / f"model-server-{n_items}.log") as server:
        assert server.pid is not None
        yield programs.ModelServer(server.address, server.pid, models)


def _quix(console: Console) -> Path | None:
    try:
        return peer_python("quix", CACHE)
    except InsessionError as error:
        console.print(f"bench: without Quix Streams: {error}")
        return None


if __name__ == "__main__":
    run_bench(command)
