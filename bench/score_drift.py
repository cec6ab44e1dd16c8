"""How far the scores of first places shift, of good and of broken releases: `python -m bench.score_drift`.

Of each generated shop a release is trained on one day and one on two, and both are checked on the day after. Then the
later one is broken: its network is silent, or says the same of all that it lists, or the neighbours are missing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import click
import numpy as np
from msgspec import structs
from rich.console import Console
from rich.table import Table

from agents.shop.traffic import generate_events
from agents.upkeep.simulation import EVENTS_PER_SESSION, shop_for
from bench.commands import insession, run_bench
from schemas import wire
from schemas.ranking import Candidates, ModelInput
from schemas.servable import DEFAULT_MODEL_NAME
from session_model.checks.contender import Contender
from session_model.checks.contract import CheckData, Evidence
from session_model.checks.run import DEFAULTS, run_checks
from session_model.data.formats import read_sessions
from session_model.networks.exported_model import ExportedModel, NextItemModel
from session_model.release.copies import load_release
from session_model.release.files import newest_release
from session_model.release.versions import claim_above

N_ITEMS: Final = 300
EVENTS_PER_DAY: Final = 9_000
_DAY_MS: Final = 86_400_000
_NOW: Final = datetime(2026, 1, 31, tzinfo=UTC)


class Silent:
    """A network that lists nothing."""

    def rank(self, inputs: Sequence[ModelInput]) -> list[Candidates]:
        """Rank."""
        return [Candidates.none() for _ in inputs]


class Flat:
    """A network that cannot tell the items that it lists apart."""

    def __init__(self, model: NextItemModel) -> None:
        self._model = model

    def rank(self, inputs: Sequence[ModelInput]) -> list[Candidates]:
        """Rank."""
        return [
            Candidates(one.item_indices, np.full(len(one), 1 / max(len(one), 1), np.float32))
            for one in self._model.rank(inputs)
        ]


class Alone(Contender):
    """A release whose neighbours are missing."""

    def answers(self, rows: Sequence[ModelInput]) -> list[Candidates]:
        """Rank."""
        return [
            self.release.blend(ranking, Candidates.none(), row.items) if len(row.items) else self.release.popular()
            for row, ranking in zip(rows, self.model.rank(rows), strict=True)
        ]


def write_days(folder: Path, seed: int) -> Iterator[tuple[Path, Path]]:
    """Write clicks to learn from, one day and two, each with those of the day after."""
    shop = replace(shop_for(1.0, seed, N_ITEMS), sessions_per_hour=EVENTS_PER_DAY / 24 / EVENTS_PER_SESSION)
    days: list[list[bytes]] = [[], [], []]
    for event in generate_events(shop, duration=timedelta(days=len(days))):
        day = (event.click.event_time_ms - shop.start_ms) // _DAY_MS
        if day < len(days):
            days[day].append(wire.encode(event.click) + b"\n")
    for n_days in (1, 2):
        learned, after = folder / f"{n_days}-learned.jsonl", folder / f"{n_days}-after.jsonl"
        learned.write_bytes(b"".join(chain(*days[:n_days])))
        after.write_bytes(b"".join(days[n_days]))
        yield learned, after


def trained(data: Path, version: int) -> Contender:
    """Train a small release, and load it."""
    models = data.with_suffix("")
    claim_above(models / DEFAULT_MODEL_NAME, version - 1)
    insession("train", data, "--format", "jsonl", "--out", models, "--preset", "small", "--epochs", "3")
    release = load_release(newest_release(models / DEFAULT_MODEL_NAME))
    return Contender(release, ExportedModel.of(release))


def drifts(seed: int) -> dict[str, float]:
    """Return the score drift of the good release and of the broken ones, as the check has it."""
    with TemporaryDirectory(prefix="score-drift-") as folder:
        days = list(write_days(Path(folder), seed))
        (before, after_before), (good, after_good) = (
            (trained(learned, version), CheckData(read_sessions(after, "jsonl"), ""))
            for version, (learned, after) in enumerate(days, 1)
        )
        report = structs.replace(run_checks(before, after_before, made_at=_NOW), checks={})
        candidates = {
            "good": good,
            "network silent": Contender(good.release, Silent()),
            "network flat": Contender(good.release, Flat(good.model)),
            "no neighbours": Alone(good.release, good.model),
        }
        return {
            name: run_checks(candidate, after_good, Evidence(history=[report]), made_at=_NOW)
            .checks["self_drift"]
            .figures["score_drift"]
            for name, candidate in candidates.items()
        }


@click.command()
@click.option("--shops", default=12, show_default=True, help="Each takes a minute.")
def main(shops: int) -> None:
    """Print the index of each shop's releases, and the bounds of each kind."""
    found = [drifts(seed) for seed in range(1, shops + 1)]
    table = Table("shop", *found[0], title=f"score drift; checks.max_score_drift is {DEFAULTS.max_score_drift:g}")
    for seed, row in enumerate(found, 1):
        table.add_row(str(seed), *(f"{value:.2f}" for value in row.values()))
    for name, bound in (("least", min), ("most", max)):
        table.add_row(name, *(f"{bound(row[kind] for row in found):.2f}" for kind in found[0]))
    Console().print(table)


if __name__ == "__main__":
    run_bench(main)
