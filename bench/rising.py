"""What rises in answers: served with and without it, while a generated shop has flash sales: `python -m bench.rising`.

The release knows no sale. The observer's lists are made of the same clicks up to each minute.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from agents.shop.settings import FlashSaleSettings, ShopSettings
from agents.shop.traffic import generate_events
from bench.reasons import blended
from bench.release import SMALL, trained_models
from bench.trending import hash_of
from schemas.ids import ItemId
from schemas.places import LocationSettings
from schemas.ranking import Candidates, ModelInput
from schemas.records import TRENDING_KEY, CountedView, RecommendedItem, SessionEvent
from schemas.servable import DEFAULT_MODEL_NAME
from serving.filters import named
from serving.trending import TrendingBoard, Trends, with_rising
from session_model.networks.exported_model import ExportedModel
from session_model.release.copies import load_release
from session_model.release.files import newest_release
from session_model.release.release import Release
from streams.trending.fold import EVERYWHERE, ReadRecord, TrendingFold
from streams.trending.lists import TrendingLists

K: Final = 20
MINUTE_MS: Final = 60_000
BEGIN: Final = timedelta(hours=36)
"""Of the shop's time: the training data end before."""
WARM: Final = timedelta(minutes=45)
LONGEST: Final = 12


@dataclass(frozen=True, slots=True)
class Target:
    """A next view: what the session was before it, what was rising then, and whether it is on sale."""

    row: ModelInput
    item_id: ItemId
    rising: dict[ItemId, float]
    is_on_sale: bool


@dataclass(frozen=True, slots=True)
class Figures:
    """Of the targets: (n,) ranks within the first K, 0 = beyond, and which of them are on sale."""

    ranks: np.ndarray
    on_sale: np.ndarray

    def told(self, part: np.ndarray) -> tuple[float, float]:
        """Return Recall@20 and MRR@20 of a part."""
        ranks = self.ranks[part]
        hits = ranks > 0
        return float(hits.mean()), float(np.where(hits, 1 / np.maximum(ranks, 1), 0).mean())


def targets(release: Release, shop: ShopSettings, duration: timedelta) -> Iterator[Target]:
    """Run the shop, count as the observer does, and give what is viewed next."""
    places = LocationSettings()
    lists = TrendingLists(TrendingFold(places.chain, hash_of), places.chain)
    board = TrendingBoard(places, stale_after_seconds=300, max_places=1_000, clock=lambda: now_ms / 1000)
    trends, prefixes = Trends(board), dict[object, list[SessionEvent]]()
    now_ms = began_ms = 0
    for offset, event in enumerate(generate_events(shop, duration, begin=BEGIN)):
        clicked, truth = event.click, event.truth
        if (
            clicked.event_type != "view"
            or clicked.item_id is None
            or truth.is_bot
            or truth.is_duplicate
            or truth.is_late
        ):
            continue
        time_ms = clicked.event_time_ms
        began_ms = began_ms or time_ms
        if time_ms - now_ms >= MINUTE_MS:
            now_ms = time_ms
            lists.settle()
            moment = datetime.fromtimestamp(now_ms / 1000, UTC)
            for place, record in lists.records(list(lists.fold.places), moment):
                board.put(TRENDING_KEY if place == EVERYWHERE else place, record, now_ms)
        session = prefixes.setdefault((clicked.visitor_id, truth.session_number), [])
        if session and len(session) <= LONGEST and time_ms - began_ms >= WARM // timedelta(milliseconds=1):
            row = release.encode(session)
            if len(row.items):
                yield Target(row, clicked.item_id, trends.rising(clicked.location), truth.flash_sale is not None)
        if all(one.item_id != clicked.item_id for one in session):
            view = CountedView(clicked.item_id, time_ms, clicked.location)
            lists.take(ReadRecord(f"clickstream-0-{offset}", clicked.visitor_id, [view]), 0, offset, time_ms)
        session.append(SessionEvent("view", time_ms, clicked.item_id))


def served(release: Release, model: ExportedModel, asked: Sequence[Target]) -> tuple[Figures, Figures, float]:
    """Rank for each target without and with what rises; the last is what that takes, microseconds where it does."""
    plain, mixed, spent, times = list[int](), list[int](), 0.0, 0
    rankings = blended(release, model, [target.row for target in asked])
    for target, ranking in zip(asked, rankings, strict=True):
        listed = _named(release, ranking)
        plain.append(_rank(listed, target.item_id))
        if target.rising:
            begun = time.perf_counter()
            listed = with_rising(iter(listed), float(ranking.scores.sum()), target.rising)
            spent, times = spent + time.perf_counter() - begun, times + 1
        mixed.append(_rank(listed, target.item_id))
    on_sale = np.array([target.is_on_sale for target in asked])
    return Figures(np.array(plain), on_sale), Figures(np.array(mixed), on_sale), 1e6 * spent / max(1, times)


def _named(release: Release, ranking: Candidates) -> list[RecommendedItem]:
    return list(named(ranking, release.item_id, at_most=200, trained_items=release.trained_items))


def _rank(listed: Sequence[RecommendedItem], item_id: ItemId) -> int:
    return next((place for place, item in enumerate(listed[:K], 1) if item.item_id == item_id), 0)


@click.command()
@click.option("--hours", default=5.0, show_default=True, help="Of the shop's time.")
@click.option("--most", default=12_000, show_default=True, help="Next views that are asked for, evenly.")
@click.option("--cache", type=click.Path(path_type=Path), default=Path(".bench"), show_default=True)
def main(hours: float, most: int, cache: Path) -> None:
    """Serve a shop with a flash sale every 3 hours, with the bench's trained release."""
    release = load_release(newest_release(trained_models(cache) / DEFAULT_MODEL_NAME))
    shop = ShopSettings(n_items=SMALL, flash_sales=FlashSaleSettings(every=timedelta(hours=3)))
    asked = list(targets(release, shop, timedelta(hours=hours)))
    asked = asked[:: max(1, len(asked) // most)]
    plain, mixed, microseconds = served(release, ExportedModel.of(release), asked)
    rises = np.mean([bool(target.rising) for target in asked])
    parts = {"all": np.ones(len(asked), bool), "on sale": plain.on_sale, "others": ~plain.on_sale}
    table = Table("Recall@20 / MRR@20", *parts, title=f"{len(asked):,} next views; something rises for {rises:.1%}")
    for name, figures in {"as trained": plain, "what rises has its share": mixed}.items():
        table.add_row(name, *(" / ".join(f"{one:.4f}" for one in figures.told(part)) for part in parts.values()))
    Console().print(table)
    change = (mixed.ranks > 0).astype(float) - (plain.ranks > 0)
    for name, part in parts.items():
        error = change[part].std() / np.sqrt(part.sum())
        Console().print(f"{name}: Recall@20 {change[part].mean():+.4f} (+-{1.96 * error:.4f} at 95 %)")
    Console().print(f"{microseconds:.0f} us where something rises; {int(plain.on_sale.sum()):,} of them are on sale")


if __name__ == "__main__":
    main()
