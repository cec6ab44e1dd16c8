"""What the demo feeds, and what a model for it is trained on: the generated shop, or a log."""

import gzip
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from agents.shop.catalog import catalog
from agents.shop.catalog_changes import ShopCatalog
from agents.shop.settings import FlashSaleSettings, ShopSettings
from agents.shop.traffic import generate_events
from agents.shop.training_data import write_training_data
from agents.shop.truth import Truth
from schemas import wire
from schemas.errors import InsessionError
from schemas.events import ClickEvent
from schemas.ids import RuleId
from schemas.records import CatalogItem, CountedView
from schemas.rules import MerchantRule
from session_model.data.formats import AS_IT_IS, DataFormat, ReadOptions, read_events
from session_model.data.training_data import sha256_of
from streams.trending.fold import ReadRecord

LIVE_BEGIN: Final = timedelta(hours=36)
"""Where the live traffic of the generated shop starts: behind the training data, at noon."""
PLACES: Final = ("nl/nh/ams", "de/be/ber", "nl/zh/rtm", "de/by/muc", "pt/li/lis")
HISTORY: Final = timedelta(hours=2)
"""Of the shop before it goes live, as an observer that has been running has counted it: what rises is what is more than
usual, and that nobody knows after ten minutes."""
_LIVE: Final = timedelta(days=1)
_MILLISECOND: Final = timedelta(milliseconds=1)
_KEY_LENGTH: Final = 12

CatalogChange = tuple[int, CatalogItem]
"""A record of the catalog and when it is due, both on the source's own clock, Unix milliseconds."""
CountEvents = Callable[[int], None]
"""Hears how many events were written so far."""


class FedEvent(NamedTuple):
    """One event to feed; `due_ms` is its time on the source's own clock, Unix milliseconds."""

    click: ClickEvent
    due_ms: int
    truth: Truth | None


@dataclass(frozen=True, slots=True)
class TrainingPart:
    """What a model is trained on.

    key: names the data by what they are, so that a model is trained once for each.
    write: writes them as JSON lines of ClickEvents, gzipped. catalog: what the shop says of its items, if it does.
    is_fed_too: the same events are in the stream, so their counts must not be given to the popularity baseline.
    """

    key: str
    description: str
    n_events: int
    write: Callable[[Path, CountEvents], None]
    is_fed_too: bool
    catalog: Sequence[CatalogItem] = ()


@dataclass(frozen=True, slots=True)
class Source:
    """What is fed. scored_from_ms: views before this event time are no targets, since the model has seen them.

    training: None where the caller brings the model. catalog: as it stands at the first event; changes: from then on.
    rule: what a merchant puts while it is fed. history: what was counted before, as the observer reads it.
    """

    description: str
    events: Callable[[], Iterator[FedEvent]]
    training: TrainingPart | None
    catalog: Sequence[CatalogItem] = ()
    scored_from_ms: int = 0
    changes: Callable[[], Iterator[CatalogChange]] = lambda: iter(())
    rule: MerchantRule | None = None
    history: Callable[[], Iterator[ReadRecord]] = lambda: iter(())


@dataclass(frozen=True, slots=True, kw_only=True)
class ShopOptions:
    """The generated shop of the demo: one in which a minute of training is enough.

    live_sales: instead of those of `settings` once it is live, one that a minute shows from its start to its end.
    """

    settings: ShopSettings = field(default_factory=lambda: ShopSettings(n_items=1_000, locations=PLACES))
    training_events: int = 60_000
    live_sales: FlashSaleSettings = field(
        default_factory=lambda: FlashSaleSettings(
            every=timedelta(minutes=30), duration=timedelta(minutes=10), n_items=4, surge=0.05, sells_out=True
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOptions:
    """A log to feed.

    options: what else the log is read by. train_share: of its events, the earliest, to train on.
    """

    path: Path
    data_format: DataFormat
    options: ReadOptions = AS_IT_IS
    train_share: float = 0.5


def shop_source(shop: ShopOptions, *, with_training: bool, is_timed: bool = True) -> Source:
    """Feed simulated shoppers for as long as is asked for; train on earlier traffic of the same shop.

    is_timed: in time with the shop's clock. Where they are not, nobody could say when by the wall's clock a sale ends:
    the catalog stays as it is.
    """
    settings = replace(shop.settings, flash_sales=shop.live_sales if is_timed else None)

    def live() -> Iterator[FedEvent]:
        for event in generate_events(settings, begin=LIVE_BEGIN):
            yield FedEvent(event.click, event.arrival_ms, event.truth)

    def changes() -> Iterator[CatalogChange]:
        return ShopCatalog(settings).changes(_LIVE, LIVE_BEGIN)

    def write(path: Path, progress: CountEvents) -> None:
        write_training_data(shop.settings, path, shop.training_events, progress)

    opening = shop.settings.start + LIVE_BEGIN
    described = catalog(shop.settings, opening)
    training = TrainingPart(
        key="shop-" + _key(repr((shop.settings, shop.training_events)).encode()),
        description=f"the first {shop.training_events:,} events of the generated shop",
        n_events=shop.training_events,
        write=write,
        is_fed_too=False,
        catalog=described,
    )
    return Source(
        description=f"simulated shoppers of the generated shop from {opening:%Y-%m-%d %H:%M} UTC on",
        events=live,
        training=training if with_training else None,
        catalog=described,
        changes=changes if is_timed else lambda: iter(()),
        rule=_rule(settings, described),
        history=lambda: _history(shop.settings),
    )


def _history(settings: ShopSettings) -> Iterator[ReadRecord]:
    """Return what counts of the time before the shop goes live: of people, an item once a session."""
    begin, opening_ms = LIVE_BEGIN - HISTORY, settings.start_ms + LIVE_BEGIN // _MILLISECOND
    seen = set[tuple[str, int, str]]()
    for number, event in enumerate(generate_events(replace(settings, flash_sales=None), begin=begin)):
        click, truth = event.click, event.truth
        if event.arrival_ms >= opening_ms:
            return
        if click.event_type != "view" or click.item_id is None or truth.is_bot or truth.is_late:
            continue
        view = (click.visitor_id, truth.session_number, click.item_id)
        if view not in seen:
            seen.add(view)
            counted = CountedView(click.item_id, click.event_time_ms, click.location)
            yield ReadRecord(f"history-0-{number}", click.visitor_id, [counted])


def _rule(settings: ShopSettings, described: Sequence[CatalogItem]) -> MerchantRule:
    """Pin an item that is sold everywhere where the fewest shoppers are, so that it costs the others nothing."""
    country = settings.locations[-1].split("/")[0]
    item = next(item for item in described if item.available and item.locations is None)
    return MerchantRule(
        rule_id=RuleId("demo-pin"),
        action="pin",
        items=(item.item_id,),
        position=1,
        where=(country,),
        author="demo",
        note=f"{item.title or item.item_id} stands first in {country}",
    )


def log_source(log: LogOptions, *, with_training: bool) -> Source:
    """Feed all of a log in event-time order; train on its earliest part.

    The whole log is held in memory, some 500 bytes an event. Raises UsageError and InsessionError as `read_events`.
    """
    events = list(read_events(log.path, log.data_format, options=log.options))

    def fed() -> Iterator[FedEvent]:
        return (FedEvent(event, event.event_time_ms, None) for event in events)

    if not with_training:
        return Source(f"all {len(events):,} events of {log.path}", fed, None)
    until_ms = events[min(int(log.train_share * len(events)), len(events) - 1)].event_time_ms
    earlier = [event for event in events if event.event_time_ms < until_ms]
    if not earlier:
        raise InsessionError(
            f"{log.path}: its first {log.train_share:.0%} is one moment, no part to train on; raise --train-share or "
            "bring a model with --models"
        )
    until = datetime.fromtimestamp(until_ms / 1000, UTC)
    training = TrainingPart(
        key="log-"
        + _key(sha256_of(log.path).encode(), *map(str.encode, (log.data_format, repr(log.options), str(until_ms)))),
        description=f"its first {len(earlier):,} events, those before {until:%Y-%m-%d %H:%M:%S} UTC",
        n_events=len(earlier),
        write=lambda path, progress: _write(earlier, path, progress),
        is_fed_too=True,
    )
    return Source(f"all {len(events):,} events of {log.path}", fed, training, scored_from_ms=until_ms)


def _write(events: Sequence[ClickEvent], path: Path, progress: CountEvents) -> None:
    with gzip.open(path, "wb", compresslevel=3) as file:
        for number, event in enumerate(events, start=1):
            file.write(wire.encode(event) + b"\n")
            progress(number)


def _key(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:_KEY_LENGTH]
