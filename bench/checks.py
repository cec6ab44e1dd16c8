"""What `insession release check` finds of a release of two epochs on the generated shop: `python -m bench.checks`.

The clicks after the training are replayed with the shop's catalog, and the release is held against what was answered:
so what `integration` finds is the check's own error.
"""

import json
from contextlib import suppress
from itertools import islice
from pathlib import Path
from subprocess import CalledProcessError

import click
from rich.console import Console
from rich.table import Table

from agents.shop.catalog import catalog
from agents.shop.settings import ShopSettings
from agents.shop.traffic import generate_events
from bench.commands import insession
from bench.release import trained_releases
from bench.traffic import BEGIN
from schemas import wire
from schemas.servable import DEFAULT_MODEL_NAME

CACHE = Path(".bench")


@click.command()
@click.option("--events", default=40_000, show_default=True, help="After the training, to replay.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=CACHE / "checks", show_default=True)
def main(events: int, out: Path) -> None:
    """Train once, generate, replay, check; prints the verdicts."""
    (release,) = trained_releases(CACHE, 1)
    out.mkdir(parents=True, exist_ok=True)
    log, described, replayed, report = (
        out / name for name in ("log.jsonl", "catalog.jsonl", "replayed", "report.json")
    )
    shop = ShopSettings()
    clicks = (event.click for event in islice(generate_events(shop, begin=BEGIN), events))
    for path, records in ((log, clicks), (described, catalog(shop))):
        path.write_bytes(b"".join(wire.encode(record) + b"\n" for record in records))
    models = release.parents[1]
    insession(
        "replay", log, "--format", "jsonl", "--models", models, "--catalog", described, "--out", replayed, "--json"
    )
    ends, sent = replayed / "session-ends.jsonl", replayed / "recommendations.jsonl"
    given = ("--format", "session-ends", "--catalog", described, "--recommendations", sent)
    with suppress(CalledProcessError):  # the verdict; the report is there all the same
        insession("release", "check", release, ends, *given, "--out", out)
    report = out / DEFAULT_MODEL_NAME / "checks" / f"{release.name}.json"
    table = Table("check", "passed", "reason", title=f"{events:,} events")
    for name, result in json.loads(report.read_text())["checks"].items():
        table.add_row(name, str(result["passed"]), result["reason"])
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
