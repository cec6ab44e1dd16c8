"""What lists for all visitors take, on the generated shop: `python -m bench.inference`.

A small model is trained on the first events, and the sessions of all of them are answered.
"""

import json
from itertools import islice
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from agents.shop.catalog import catalog
from agents.shop.settings import ShopSettings
from agents.shop.traffic import generate_events
from bench.commands import ROOT, insession
from schemas import wire

SHOP = ShopSettings(n_items=10_000, n_visitors=200_000, sessions_per_hour=10_000)


@click.command()
@click.option("--events", default=500_000, show_default=True, help="Of the sessions that are answered.")
@click.option("--trained", default=100_000, show_default=True, help="Of them, the first, that are learned from.")
@click.option("--master", default="local[2]", show_default=True, help="Where Spark runs.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=ROOT / "build" / "inference")
def main(events: int, trained: int, master: str, out: Path) -> None:
    """Generate, train, sessionize, answer; what lies in OUT from before is taken as it is, but for the answers."""
    out.mkdir(parents=True, exist_ok=True)
    log, learned, described, models, sessions = (
        out / name for name in ("log.jsonl", "learned.jsonl", "catalog.jsonl", "models", "sessions")
    )
    if not sessions.exists():
        described.write_bytes(b"".join(wire.encode(record) + b"\n" for record in catalog(SHOP)))
        lines = (wire.encode(event.click) + b"\n" for event in islice(generate_events(SHOP), events))
        with log.open("wb") as every, learned.open("wb") as first:
            for number, line in enumerate(lines):
                every.write(line)
                if number < trained:
                    first.write(line)
        data = ("--format", "jsonl")
        insession("train", learned, *data, "--out", models, "--preset", "small", "--catalog", described)
        insession("sessions", log, *data, "--out", sessions, "--master", master)
    options = ("--release", models, "--catalog", described, "--master", master, "--overwrite", "--json")
    insession("infer", sessions, *options, "--out", out / "lists", output=out / "result.json")
    _print(json.loads((out / "result.json").read_text()))


def _print(result: dict[str, object]) -> None:
    table = Table(show_header=False)
    for name in ("visitors", "sessions", "seconds", "visitors_per_second", "cpu_ms_per_visitor", "task_cpu_seconds"):
        table.add_row(name.replace("_", " "), f"{result[name]:,}")
    Console().print(table)


if __name__ == "__main__":
    main()
