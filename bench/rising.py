"""What is viewed of late in answers: served with and without it, while a generated shop has flash sales.

`python -m bench.rising`. The release knows no sale. The observer's lists are made of the same clicks up to each minute,
and it has counted for `--ahead` hours before the first answer. With a release and a log of a real shop: `--models M
--log FILE --format F`; an observer then begins with the log.
"""

import time
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

import click
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from agents.shop.settings import FlashSaleSettings, ShopSettings
from agents.shop.traffic import generate_events
from bench.release import SMALL, trained_models
from bench.trending import hash_of
from schemas.ids import ItemId, VisitorId
from schemas.places import LocationSettings
from schemas.ranking import Candidates, ModelInput
from schemas.records import TRENDING_KEY, CountedView, RecommendedItem, SessionEvent, Trending
from schemas.servable import DEFAULT_MODEL_NAME
from serving.fakes import FakeCatalog
from serving.filters import named
from serving.parts import OneRelease
from serving.trending import TrendingBoard, Trends, everywhere, with_rising
from serving.vouchers import ShopsOwn
from session_model.data.formats import DATA_FORMATS, DataFormat, read_events
from session_model.metrics.bootstrap import session_intervals
from session_model.networks.exported_model import ExportedModel
from session_model.release.copies import load_release
from session_model.release.files import newest_release
from session_model.release.release import Release
from streams.trending.fold import EVERYWHERE, ReadRecord, TrendingFold
from streams.trending.lists import TrendingLists

K: Final = 20
MINUTE_MS: Final = 60_000
LONGEST: Final = 12
BATCH: Final = 64
WIDTH: Final = 120
ARMS: Final = {
    "as trained": (False, False),
    "what rises has its share": (False, True),
    "trends renewed": (True, False),
    "both": (True, True),
}
"""By name, whether trends are renewed, and whether what rises has its share."""


@dataclass(frozen=True, slots=True)
class Target:
    """A next view: what the session was before it, what was viewed then, and whether it is on sale.

    told: of everywhere; the same object as long as nothing was published.
    """

    session: int
    row: ModelInput
    item_id: ItemId
    told: Trending | None
    rising: dict[ItemId, float]
    is_on_sale: bool


@dataclass(slots=True)
class Figures:
    """Of the targets: (n,) ranks within the first K by arm, 0 = beyond; and us of time a row, by what it went into."""

    ranks: dict[str, NDArray[np.int64]]
    microseconds: dict[str, float] = field(default_factory=dict)

    def values(self, arm: str) -> NDArray[np.float64]:
        """Return whether each target is among the first K, and its reciprocal rank: (n, 2)."""
        ranks = self.ranks[arm]
        return np.stack([ranks > 0, np.where(ranks > 0, 1 / np.maximum(ranks, 1), 0.0)], axis=1)


class View(NamedTuple):
    """A view of a session."""

    time_ms: int
    session: Hashable
    item_id: ItemId
    location: str | None = None
    is_on_sale: bool = False


def of_shop(begin: timedelta, duration: timedelta) -> Iterator[View]:
    """Run a shop with a flash sale every 3 hours, from so long after its opening on."""
    shop = ShopSettings(n_items=SMALL, flash_sales=FlashSaleSettings(every=timedelta(hours=3)))
    for event in generate_events(shop, duration, begin=begin):
        clicked, truth = event.click, event.truth
        is_noise = truth.is_bot or truth.is_duplicate or truth.is_late
        if clicked.event_type == "view" and clicked.item_id is not None and not is_noise:
            session = clicked.visitor_id, truth.session_number
            is_on_sale = truth.flash_sale is not None
            yield View(clicked.event_time_ms, session, clicked.item_id, clicked.location, is_on_sale)


def of_log(log: Path, log_format: DataFormat) -> Iterator[View]:
    """Read the views of a log, in the order of time."""
    for clicked in read_events(log, log_format):
        if clicked.event_type == "view" and clicked.item_id is not None:
            session = clicked.visitor_id, clicked.session_id
            yield View(clicked.event_time_ms, session, clicked.item_id, clicked.location)


def targets(release: Release, views: Iterable[View], ahead: timedelta) -> Iterator[Target]:
    """Count as the observer does, and give what is viewed next, of the views that come so long after the first one."""
    places = LocationSettings()
    lists = TrendingLists(TrendingFold(places.chain, hash_of), places.chain)
    board = TrendingBoard(places, stale_after_seconds=300, max_places=1_000, clock=lambda: now_ms / 1000)
    trends = Trends(board, ShopsOwn(FakeCatalog(), OneRelease(release)))
    prefixes = dict[Hashable, tuple[int, list[SessionEvent]]]()
    now_ms = asked_from_ms = 0
    for offset, view in enumerate(views):
        asked_from_ms = asked_from_ms or view.time_ms + ahead // timedelta(milliseconds=1)
        is_asked = view.time_ms >= asked_from_ms
        if view.time_ms - now_ms >= MINUTE_MS:
            now_ms = view.time_ms
            lists.settle()
            moment = datetime.fromtimestamp(now_ms / 1000, UTC)
            for place, record in lists.records(list(lists.fold.places) if is_asked else [], moment):
                board.put(TRENDING_KEY if place == EVERYWHERE else place, record, now_ms)
        number, session = prefixes.setdefault(view.session, (len(prefixes), []))
        if session and len(session) <= LONGEST and is_asked:
            row, told = release.encode(session), everywhere(board)
            if len(row.items):
                yield Target(number, row, view.item_id, told, trends.rising(view.location), view.is_on_sale)
        if all(one.item_id != view.item_id for one in session):
            counted = CountedView(view.item_id, view.time_ms, view.location)
            visitor = VisitorId(str(view.session))
            lists.take(ReadRecord(f"clickstream-0-{offset}", visitor, [counted]), 0, offset, view.time_ms)
        session.append(SessionEvent("view", view.time_ms, view.item_id))


def some_sessions(asked: Sequence[Target], most: int) -> list[Target]:
    """Keep whole sessions, evenly, with about so many targets."""
    numbers = sorted({target.session for target in asked})
    kept = set(numbers[:: max(1, len(asked) // most)])
    return [target for target in asked if target.session in kept]


class Clock:
    """Adds up what each kind of work takes."""

    def __init__(self) -> None:
        self._taken = defaultdict[str, list[float]](list)
        self._begun = 0.0

    def begin(self) -> None:
        """Begin a piece of work."""
        self._begun = time.perf_counter()

    def end(self, work: str) -> None:
        """Note how long it took."""
        self._taken[work].append(time.perf_counter() - self._begun)

    def microseconds(self) -> dict[str, float]:
        """Return the median of each kind of work: others have the machine, too."""
        return {work: 1e6 * float(np.median(taken)) for work, taken in self._taken.items()}


def served(release: Release, model: ExportedModel, asked: Sequence[Target]) -> Figures:
    """Rank for each target in every arm."""
    ranks, clock = {arm: list[int]() for arm in ARMS}, Clock()
    told: Trending | None = None
    renewed = release
    for at in range(0, len(asked), BATCH):
        targets = asked[at : at + BATCH]
        outputs = model.rank([target.row for target in targets])
        for number, (target, output) in enumerate(zip(targets, outputs, strict=True)):
            if target.told is not told:
                told = target.told
                clock.begin()
                renewed = release.with_trending(told)
                clock.end("taking a record in")
            items = target.row.items
            near = release.neighbours(items)
            rankings = dict[bool, Candidates]()
            for is_renewed in (False, True) if number % 2 else (True, False):  # whoever is second finds memory warm
                clock.begin()
                rankings[is_renewed] = (renewed if is_renewed else release).blend(output, near, items)
                clock.end("ranking with trends renewed" if is_renewed else "ranking as trained")
            for arm, (is_renewed, is_mixed) in ARMS.items():
                ranking = rankings[is_renewed]
                listed = _named(release, ranking)
                if is_mixed and target.rising:
                    clock.begin()
                    own = {item.item_id: item.score for item in listed if item.item_id in target.rising}
                    listed = list(islice(with_rising(listed, float(ranking.scores.sum()), target.rising, own), K))
                    clock.end("giving what rises its share")
                ranks[arm].append(_rank(listed, target.item_id))
    return Figures({arm: np.array(found) for arm, found in ranks.items()}, clock.microseconds())


def _named(release: Release, ranking: Candidates) -> list[RecommendedItem]:
    return list(named(ranking, release.item_id, at_most=200, trained_items=release.trained_items))


def _rank(listed: Sequence[RecommendedItem], item_id: ItemId) -> int:
    return next((place for place, item in enumerate(listed[:K], 1) if item.item_id == item_id), 0)


def told_of(part: NDArray[np.bool_], sessions: NDArray[np.int64], figures: Figures) -> list[list[str]]:
    """Return the rows of a table: of each arm Recall@20 and MRR@20, and what they are more than those of the first."""
    first = figures.values(next(iter(ARMS)))[part]
    rows = list[list[str]]()
    for arm in ARMS:
        values = figures.values(arm)[part]
        changes = session_intervals(sessions[part], values - first)
        row = [arm, *(f"{value:.4f}" for value in values.mean(axis=0))]
        rows.append(row + [f"{one.value:+.4f} [{one.low:+.4f}, {one.high:+.4f}]" for one in changes])
    return rows


@click.command()
@click.option("--hours", default=5.0, show_default=True, help="Of the shop's time.")
@click.option("--ahead", default=12.0, show_default=True, help="Hours that are counted before.")
@click.option("--begin", default=36.0, show_default=True, help="Hour of the shop's time; training ends before.")
@click.option("--most", default=12_000, show_default=True, help="Next views that are asked for, in whole sessions.")
@click.option("--cache", type=click.Path(path_type=Path), default=Path(".bench"), show_default=True)
@click.option("--models", type=click.Path(exists=True, path_type=Path), help="Of the release, in place of the bench's.")
@click.option("--log", type=click.Path(exists=True, path_type=Path), help="Views in place of the generated shop's.")
@click.option("--format", "log_format", type=click.Choice(DATA_FORMATS), default="session-rec", help="Of the log.")
def main(
    hours: float,
    ahead: float,
    begin: float,
    most: int,
    cache: Path,
    models: Path | None,
    log: Path | None,
    log_format: DataFormat,
) -> None:
    """Serve a shop with a flash sale every 3 hours, with the bench's trained release; or a log."""
    release = load_release(newest_release((models or trained_models(cache)) / DEFAULT_MODEL_NAME))
    if log is None:
        before = timedelta(hours=ahead)
        views = of_shop(timedelta(hours=begin) - before, timedelta(hours=hours) + before)
        asked = some_sessions(list(targets(release, views, before)), most)
    else:
        asked = some_sessions(list(targets(release, of_log(log, log_format), timedelta(0))), most)
    figures = served(release, ExportedModel.of(release), asked)
    sessions = np.array([target.session for target in asked])
    on_sale = np.array([target.is_on_sale for target in asked])
    rises = np.array([bool(target.rising) for target in asked])
    Console().print(f"{len(asked):,} next views, {on_sale.sum():,} on sale; something rises for {rises.mean():.1%}")
    parts = {"all": np.ones(len(asked), bool), "on sale": on_sale, "others": ~on_sale}
    parts["others where something rises"] = ~on_sale & rises
    for name, part in parts.items() if on_sale.any() else list(parts.items())[:1]:
        table = Table(name, "Recall@20", "MRR@20", "Recall@20 more, 95 %", "MRR@20 more, 95 %")
        for row in told_of(part, sessions, figures):
            table.add_row(*row)
        Console(width=WIDTH).print(table)
    for work, microseconds in figures.microseconds.items():
        Console().print(f"{work}: {microseconds:.0f} us")


if __name__ == "__main__":
    main()
