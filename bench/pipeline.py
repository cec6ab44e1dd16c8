"""Rates of the chain from clickstream to release, and what a shop of your size takes by them: `make pipeline-bench`.

Every stage runs at two sizes, in processes of its own, by the product's own commands: the difference is the rate, the
rest is what a start costs. Processor time is that of all processes, and other load on the machine changes it little.
"""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from agents.progress_bar import counted_progress
from bench.commands import ROOT, run_bench
from bench.pipeline_stages import SHOP, STAGES, Bench
from bench.scaling import SIZES, Machine, Rates, Section, Shop, Stage, plan

SMALLER = 5


def measure(folder: Path, n_events: int, items: tuple[int, int], workers: tuple[int, ...]) -> Rates:
    """Measure all of it; `folder` is written over."""
    load = os.getloadavg()[0]
    with counted_progress() as bar:
        task = bar.add_task("", total=STAGES, completed=-1)
        bench = Bench(folder, lambda what: bar.update(task, description=what, advance=1))
        few, many = bench.chain(n_events // SMALLER), bench.chain(n_events)
        small, large = (bench.release(n_items) for n_items in items)
        steps = bench.steps(items[1], workers)
        bar.advance(task)
    load_after = os.getloadavg()[0]
    machine = Machine(f"{datetime.now(UTC):%Y-%m-%d}", os.cpu_count() or 1, (round(load, 1), round(load_after, 1)))
    return Rates(
        machine=machine,
        items=SHOP.n_items,
        events_per_session=many.events_per_session,
        targets_per_session=many.targets_per_session,
        list_bytes=round(many.list_bytes, 1),
        by_records={name: Stage(unit, few.runs[name][1], run) for name, (unit, run) in many.runs.items()},
        by_items={name: Stage("items", small.runs[name], run) for name, run in large.runs.items()},
        release_memory=Stage("items", small.counted, large.counted),
        steps=steps,
    )


def shop_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add an option for each value of `Shop`."""
    for field in reversed(fields(Shop)):
        option = click.option(
            f"--{field.name.replace('_', '-')}",
            type=int if field.type is int else float,
            default=field.default,
            show_default=True,
            help=SIZES[field.name],
        )
        command = option(command)
    return command


@click.command()
@click.option(
    "--events",
    type=click.IntRange(min=100_000),
    default=1_000_000,
    show_default=True,
    help="Of the larger chain; the smaller has a fifth. With fewer, starts hide what a record takes.",
)
@click.option(
    "--items", type=(int, int), default=(100_000, 300_000), show_default=True, help="Products of two releases, rising."
)
@click.option("--workers", type=click.IntRange(2, 64), multiple=True, default=(2,), show_default=True)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=ROOT / "build" / "pipeline")
@click.option(
    "--rates",
    "rates_path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Measure nothing: OUT/rates.json of an earlier run, or its --json.",
)
@click.option("--markdown", "as_markdown", is_flag=True, help="Print the tables as docs/scaling.md has them.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
@shop_options
def main(
    *,
    events: int,
    items: tuple[int, int],
    workers: tuple[int, ...],
    out: Path,
    rates_path: Path | None,
    as_markdown: bool,
    as_json: bool,
    **shop: float,
) -> None:
    """Measure the rates of the pipeline on this machine, and print what a shop takes by them.

    A run writes OUT/rates.json; with --rates it is arithmetic alone.
    """
    if rates_path is None:
        rates = measure(out.resolve(), events, items, workers)
        (out / "rates.json").write_bytes(msgspec.json.format(msgspec.json.encode(rates), indent=2) + b"\n")
    else:
        rates = msgspec.json.decode(rates_path.read_bytes(), type=Rates)
    sections = plan(rates, Shop(**shop))  # type: ignore[arg-type] # cores is an int option
    if as_json:
        click.echo(json.dumps({"rates": msgspec.to_builtins(rates), "plan": msgspec.to_builtins(sections)}, indent=2))
    elif as_markdown:
        click.echo("\n\n".join(f"{section.title}:\n\n{section.markdown()}" for section in sections))
    else:
        _print(sections)


def _print(sections: Sequence[Section]) -> None:
    console = Console()
    for section in sections:
        table = Table(*section.columns, title=section.title, title_justify="left")
        for row in section.rows:
            table.add_row(*row)
        console.print(table)


if __name__ == "__main__":
    run_bench(main)
