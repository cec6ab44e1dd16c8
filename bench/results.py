"""The results table of the README: trains and evaluates by the plain commands, `python -m bench.results DATA`.

DATA holds public research data that are no part of the project: session-rec's `rsc15_100k`, and RSC15 1/64 and
Diginetica in the published splits, as sequences of item numbers to train from and events with times to test on.
"""

import csv
import gzip
import json
import os
import platform
import subprocess
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from bench.commands import ROOT, insession

COLUMNS = ("blend", "gru", "knn", "transitions", "gru4rec")


@dataclass(frozen=True, slots=True)
class _DataSet:
    """Where a data set lies below DATA and in which formats.

    order_column: the test file has this column in place of a time; it is rewritten as sequences, ordered by it.
    published: the preset of GRU4Rec that is trained beside it, where that takes minutes.
    """

    train: str
    train_format: str
    test: str
    test_format: str
    order_column: str | None = None
    published: str | None = None


DATA_SETS = {
    "rsc15": _DataSet(
        "rsc15/rsc15_1_64_train_sessions.txt.gz", "sequences", "rsc15/rsc15_test_events.tsv.gz", "session-rec"
    ),
    "diginetica": _DataSet(
        "diginetica/diginetica_train_sessions.txt.gz",
        "sequences",
        "diginetica/diginetica_test_events.tsv.gz",
        "sequences",
        order_column="TimeframeMs",
    ),
    "rsc15_100k": _DataSet(
        "rsc15_100k/rsc15_100k_train_full.tsv.gz",
        "session-rec",
        "rsc15_100k/rsc15_100k_test.tsv.gz",
        "session-rec",
        published="gru4rec-rsc15",
    ),
}


@click.command()
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--only", type=click.Choice(list(DATA_SETS)), multiple=True, help="Of the data sets; repeat for more.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=ROOT / "build" / "results")
def main(data: Path, only: tuple[str, ...], out: Path) -> None:
    """Train and evaluate on each data set below DATA; the table goes to standard output, all else to OUT."""
    rows = []
    for name in only or DATA_SETS:
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        rows.append(_row(name, *_run(data, DATA_SETS[name], folder)))
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    click.echo(f"\n{datetime.now(UTC):%Y-%m-%d}, commit {commit}, {os.cpu_count()} cores, {platform.machine()}\n")
    header = ["data", "targets", *COLUMNS, "blend minus the best other, 95 %", "seconds: train, evaluate"]
    for row in (header, ["---"] * len(header), *rows):
        click.echo("| " + " | ".join(row) + " |")


def _run(data: Path, data_set: _DataSet, folder: Path) -> tuple[dict[str, Any], float, float]:
    """Train into `folder` and evaluate; returns the evaluation and the seconds of both commands."""
    test, result = data / data_set.test, folder / "evaluation.json"
    if data_set.order_column is not None:
        test = _as_sequences(test, data_set.order_column, folder / "test.txt")
    train = ("train", data / data_set.train, "--format", data_set.train_format, "--fresh")
    models, baselines = folder / "models", list[str | Path]()
    trained = insession(*train, "--out", models, "--json", output=folder / "training.json")
    if data_set.published is not None:
        baselines = ["--baseline", f"gru4rec={folder / 'gru4rec'}"]
        insession(*train, "--out", folder / "gru4rec", "--preset", data_set.published)
    page = folder / "page.html"
    asked = ("evaluate", models, test, "--format", data_set.test_format, "--html", page, *baselines)
    evaluated = insession(*asked, "--json", output=result)
    return json.loads(result.read_text()), trained, evaluated


def _as_sequences(source: Path, order_column: str, target: Path) -> Path:
    """Write one session a line, clicks ordered by `order_column`, sessions as they come."""
    sessions = defaultdict[str, list[tuple[float, str]]](list)
    with gzip.open(source, "rt") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            sessions[row["SessionId"]].append((float(row[order_column]), row["ItemId"]))
    lines = (" ".join(item for _, item in sorted(clicks, key=lambda click: click[0])) for clicks in sessions.values())
    target.write_text("\n".join(lines) + "\n")
    return target


def _row(name: str, result: dict[str, Any], trained_seconds: float, evaluated_seconds: float) -> list[str]:
    models = result["models"]
    best = max((one for one in models if one != "blend"), key=lambda one: models[one]["mrr_at_20"])
    margin = result["differences"][best]
    minus = (f"{margin[m]['low']:+.4f} to {margin[m]['high']:+.4f}" for m in ("recall_at_20", "mrr_at_20"))
    return [
        name,
        f"{result['targets']:,}",
        *(_pair(models[one]) if one in models else "-" for one in COLUMNS),
        f"{best}: {' / '.join(minus)}",
        f"{trained_seconds:.0f}, {evaluated_seconds:.0f}",
    ]


def _pair(metrics: dict[str, float]) -> str:
    return f"{metrics['recall_at_20']:.4f} / {metrics['mrr_at_20']:.4f}"


if __name__ == "__main__":
    main()
