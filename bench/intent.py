"""How well intent is told, on the generated shop, whose purchases are known: `python -m bench.intent`."""

from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from rich.console import Console

from agents.reports.intent import intent_tables
from agents.shop.catalog import catalog
from agents.shop.settings import ShopSettings
from agents.shop.traffic import generate_events
from schemas import wire
from session_model.data.formats import read_sessions
from session_model.evaluation.intent import evaluate_intent
from session_model.fitting.categories import learn_categories
from session_model.fitting.intent import fit_intent


@click.command()
@click.option("--events", default=300_000, show_default=True, help="To learn from.")
@click.option("--later-events", default=200_000, show_default=True, help="After them, to measure on.")
def main(events: int, later_events: int) -> None:
    """Learn from a log of the shop as training does, and measure on the clicks after it."""
    clicks = (event.click for event in generate_events(ShopSettings()))
    with TemporaryDirectory() as folder:
        logs = []
        for name, n_events in (("earlier", events), ("later", later_events)):
            path = Path(folder, f"{name}.jsonl")
            path.write_bytes(b"".join(wire.encode(one) + b"\n" for one in islice(clicks, n_events)))
            logs.append(read_sessions(path, "jsonl"))
    categories = learn_categories(catalog(ShopSettings()), logs[0])
    model = fit_intent(logs[0], categories.of_session)
    assert model is not None
    for block in intent_tables(evaluate_intent(model, logs[1], categories.for_serving)):
        Console(width=150).print(block)


if __name__ == "__main__":
    main()
