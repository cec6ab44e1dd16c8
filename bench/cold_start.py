"""What catalog and item vectors are worth for items that are new since training: `python -m bench.cold_start`."""

import json
from collections.abc import Collection
from itertools import islice
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from agents.shop.catalog import Shelf, build_shelf
from agents.shop.settings import ShopSettings
from agents.shop.traffic import generate_events
from bench.commands import ROOT, insession
from schemas import wire
from schemas.ids import ItemId

SHOP = ShopSettings(n_items=1_000)
NEW_SHARE = 0.06
DIMENSIONS = 128


@click.command()
@click.option("--events", default=60_000, show_default=True, help="Of the training; a third of them is tested on.")
@click.option(
    "--noise",
    default=1.0,
    show_default=True,
    help="Of the vectors, against what items of one taste have in common; very much = vectors that tell nothing.",
)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=ROOT / "build" / "cold-start")
def main(events: int, noise: float, out: Path) -> None:
    """Keep some items from training, clicks and records, and evaluate on later clicks of all.

    It trains without a catalog, with one, and with item vectors beside it. They are as a model of pictures might give
    them: items of one taste, which no record names, look alike, and each has something of its own.
    """
    out.mkdir(parents=True, exist_ok=True)
    shelf = build_shelf(SHOP)
    records = shelf.records
    is_new = np.random.default_rng(5).random(len(records)) < NEW_SHARE
    new = {record.item_id for record, drawn in zip(records, is_new.tolist(), strict=True) if drawn}
    _write(out / "catalog.jsonl", records)
    _write(out / "earlier-catalog.jsonl", [record for record in records if record.item_id not in new])
    clicks = [event.click for event in islice(generate_events(SHOP), events + events // 3)]
    _write(out / "train.jsonl", [one for one in clicks[:events] if one.item_id not in new])
    _write(out / "test.jsonl", clicks[events:])
    known, later = ("--catalog", out / "earlier-catalog.jsonl"), ("--catalog", out / "catalog.jsonl")
    results = {
        "clicks alone": _evaluated(out, "without", (), ()),
        "with a catalog": _evaluated(out, "with", known, later),
        "and item vectors": _evaluated(
            out, "vectors", (*known, "--item-vectors", _write_vectors(out, shelf, noise)), later
        ),
    }
    Console().print(_table(results, new))


def _write(path: Path, records: Collection[Any]) -> None:
    path.write_bytes(b"".join(wire.encode(record) + b"\n" for record in records))


def _write_vectors(out: Path, shelf: Shelf, noise: float) -> Path:
    rng, tastes = np.random.default_rng(7), np.array(shelf.clusters)
    of_tastes = rng.normal(size=(tastes.max() + 1, DIMENSIONS))
    vectors = of_tastes[tastes] + noise * rng.normal(size=(len(shelf), DIMENSIONS))
    path = out / "vectors.npy"
    np.save(path, vectors.astype(np.float32), allow_pickle=False)
    path.with_suffix(".ids.txt").write_text("".join(f"{record.item_id}\n" for record in shelf.records))
    return path


def _evaluated(
    out: Path, name: str, trained_by: tuple[str | Path, ...], asked_by: tuple[str | Path, ...]
) -> dict[str, Any]:
    models, result = out / name, out / f"{name}.json"
    data = ("--format", "jsonl")
    insession("train", out / "train.jsonl", *data, "--out", models, "--preset", "small", "--fresh", *trained_by)
    insession("evaluate", models, out / "test.jsonl", *data, "--json", *asked_by, output=result)
    return dict(json.loads(result.read_text()))


def _table(results: dict[str, dict[str, Any]], new: Collection[ItemId]) -> Table:
    table = Table("Recall@20 / MRR@20 of the blend", "targets", *results)
    table.title = f"{len(new)} of {SHOP.n_items} items are new since training"
    parts: list[tuple[str, str | None, str | None]] = [("all", None, None)]
    for sliced in ("item clicks in training", "prefix"):
        names = dict.fromkeys(part for result in results.values() for part in result["slices"][sliced])
        parts += [(f"{sliced}: {part}", sliced, part) for part in names]
    for label, kind, part in parts:
        found = [_figures(result, kind, part) for result in results.values()]
        table.add_row(label, " / ".join(targets for targets, _ in found), *(figures for _, figures in found))
    return table


def _figures(result: dict[str, Any], kind: str | None, part: str | None) -> tuple[str, str]:
    if kind is None:
        targets, blend = result["targets"], result["models"]["blend"]
    elif part in result["slices"][kind]:
        targets, blend = result["slices"][kind][part]["targets"], result["slices"][kind][part]["models"]["blend"]
    else:
        return "-", "-"
    return f"{targets:,}", f"{blend['recall_at_20']:.4f} / {blend['mrr_at_20']:.4f}"


if __name__ == "__main__":
    main()
