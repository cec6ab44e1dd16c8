"""What the observer's lists are worth on the generated shop, and what they cost: `python -m bench.trending`."""

import json
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import Final, NamedTuple
from zlib import crc32

import click
import msgspec
import numpy as np
from msgspec import structs
from rich.console import Console
from rich.table import Table

from agents.settings import Settings
from agents.shop.catalog import build_shelf
from agents.shop.sales import FlashSale, SaleCalendar
from agents.shop.settings import FlashSaleSettings, ShopSettings
from agents.shop.traffic import generate_events
from agents.shop.truth import GeneratedEvent
from agents.wiring import session_rules
from schemas import wire
from schemas.catalog_reader import DescribedItem
from schemas.ids import ItemId, VisitorId
from schemas.places import LocationSettings
from schemas.records import CatalogItem, CountedView
from schemas.state import InputPosition, VisitorState
from streams.availability_history import AvailabilityHistory
from streams.sessions.sessionizer import Arrival
from streams.trending.counts import HALF_LIVES_MS
from streams.trending.fold import EVERYWHERE, ListedItem, ReadRecord, TrendingFold
from streams.trending.lists import TrendingLists
from streams.trending.shares import PlaceShares

STEP: Final = timedelta(minutes=5)
WARM: Final = timedelta(hours=6)
FIRST: Final = 12
"""Rising items that are looked at."""
LISTED: Final = 20
MINUTE_MS: Final = 60_000


class Read(NamedTuple):
    """A record as the observer reads it."""

    value: bytes
    arrived_ms: int


@dataclass(slots=True)
class Rises:
    """How the sales of a shop are seen: of each moment the share of the sale's items among the first that rise."""

    during: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    flagged: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    after: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    in_vain: list[int] = field(default_factory=list)

    def look(self, sales: Sequence[FlashSale], now_ms: int, place: str, shares: PlaceShares, shop: "Shop") -> None:
        """Hold what rises at a place against its sales; shop: names items and places."""
        lifts = np.where(shares.is_public, shares.lift, 0.0)
        first = {shares.items[row] for row in np.argsort(-lifts, kind="stable")[:FIRST].tolist()}
        rising = {shares.items[row] for row in np.flatnonzero(shares.excess).tolist()}
        excused = set[ItemId]()
        for sale in sales:
            if shop.locations[sale.location] != place:
                continue
            items = {shop.items[number] for number in sale.items}
            if sale.start_ms <= now_ms < sale.end_ms + 60 * MINUTE_MS:
                excused |= items
            share = len(items & first) / len(items)
            if now_ms - sale.start_ms > 0 and now_ms <= sale.end_ms:
                minute = (now_ms - sale.start_ms) // (10 * MINUTE_MS) * 10
                self.during[minute].append(share)
                self.flagged[minute].append(len(items & rising) / len(items))
            elif 0 < now_ms - sale.end_ms <= 75 * MINUTE_MS:
                self.after[(now_ms - sale.end_ms) // (15 * MINUTE_MS) * 15].append(share)
        self.in_vain.append(len(rising - excused))


@dataclass(frozen=True, slots=True)
class Shop:
    """The names of what is in the generated shop."""

    locations: Sequence[str]
    items: Sequence[ItemId]


@click.command()
@click.option("--hours", default=30.0, show_default=True, help="Of the shop's time; the first 6 are not looked at.")
@click.option("--sessions-per-hour", default=2_000.0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
def main(hours: float, sessions_per_hour: float, *, as_json: bool) -> None:
    """Count a generated shop's views as the observer does, and hold its lists against what is viewed then.

    Flash sales, one every 3 hours, are the truth for what rises.
    """
    settings = ShopSettings(
        sessions_per_hour=sessions_per_hour,
        n_visitors=max(20_000, int(sessions_per_hour * 8)),
        flash_sales=FlashSaleSettings(every=timedelta(hours=3)),
    )
    shelf = build_shelf(settings)
    shop = Shop(settings.locations, [record.item_id for record in shelf.records])
    sales = SaleCalendar(settings, shelf).between(
        settings.start_ms, settings.start_ms + int((hours + 3) * 60 * MINUTE_MS)
    )
    popularity = dict(zip(shop.items, shelf.popularity, strict=True))
    records = list(counted(settings, popularity, timedelta(hours=hours)))
    report = run(records, settings.start_ms, sales, shop)
    report["microseconds_a_list_held_against_the_catalog"] = look_cost(records, shelf.records, settings.start_ms)
    if as_json:
        click.echo(json.dumps(report, indent=2))
    else:
        show(report)


def counted(settings: ShopSettings, popularity: Mapping[ItemId, float], duration: timedelta) -> Iterator[Read]:
    """Run the session rules over the shop's clicks, and give the records that say what counts, each with a list.

    popularity: of each item, as which it is listed.
    """
    dice, items, weights = Random(1), [ListedItem(item_id) for item_id in popularity], [*popularity.values()]
    events = sorted(generate_events(settings, duration), key=lambda one: one.arrival_ms)
    for record, event in zip(counting(events), events, strict=True):
        listing = structs.replace(record, items=dice.choices(items, weights, k=LISTED))
        yield Read(wire.encode(listing), event.arrival_ms)


def counting(events: Iterable[GeneratedEvent]) -> Iterator[ReadRecord]:
    """Run the session rules over events in the order of their arrival, and say of each what it counts."""
    sessions, states = session_rules(Settings()), dict[VisitorId, VisitorState]()
    for offset, event in enumerate(events):
        clicked = event.click
        arrival = Arrival(InputPosition("clickstream", 0, offset), event.arrival_ms)
        advance = sessions.advance(states.get(clicked.visitor_id), (clicked,), arrival)
        if advance.state is not None:
            states[clicked.visitor_id] = advance.state
        time_ms = min(clicked.event_time_ms, event.arrival_ms)
        views = [
            CountedView(clicked.item_id, time_ms, clicked.location or line.location)
            for line in advance.counted
            if clicked.item_id is not None
        ]
        yield ReadRecord(f"clickstream-0-{offset}", clicked.visitor_id, views)


def run(records: Sequence[Read], start_ms: int, sales: Sequence[FlashSale], shop: Shop) -> dict[str, object]:
    """Fold the records, look every 5 minutes at what rises, and hold each hour's lists against the next hour."""
    places = LocationSettings()
    fold = TrendingFold(places.chain, hash_of)
    lists = TrendingLists(fold, places.chain)
    read = msgspec.json.Decoder(ReadRecord).decode
    rises, hits, views = Rises(), dict[str, float](), 0
    told: dict[str, dict[str, set[ItemId]]] = {}
    step_ms, at, look_ms, fold_seconds, made_seconds, looks = STEP // timedelta(milliseconds=1), 0, 0, 0.0, 0.0, 0
    for number in range(1, (records[-1].arrived_ms - start_ms) // step_ms):
        now_ms, begin = start_ms + number * step_ms, at
        started = time.process_time()
        while at < len(records) and records[at].arrived_ms < now_ms:
            lists.take(read(records[at].value), 0, at, records[at].arrived_ms)
            at += 1
        lists.settle()
        fold_seconds += time.process_time() - started
        for record in map(read, (one.value for one in records[begin:at])):
            for view in record.counts:
                views += 1 if told else 0
                for rule, of_place in told.items():
                    hits[rule] = hits.get(rule, 0) + (view.item_id in of_place.get(view.location or "", ()))
        if now_ms - start_ms < WARM // timedelta(milliseconds=1):
            continue
        started = time.process_time()
        made = lists.shares(list(fold.places))
        made_seconds, looks = made_seconds + time.process_time() - started, looks + 1
        for place in shop.locations:
            rises.look(sales, now_ms, place, made[place], shop)
        if now_ms - look_ms >= 60 * MINUTE_MS:
            look_ms, told = now_ms, rules(made, shop)
    return {
        "records": len(records),
        "views": sum(len(read(one.value).counts) for one in records),
        "microseconds_a_record": 1e6 * fold_seconds / len(records),
        "milliseconds_a_look": 1e3 * made_seconds / max(1, looks),
        "chosen": {depth: lists.choices.chosen(depth) for depth in (0, 1)},
        "recall_at_20_next_hour": {rule: count / views for rule, count in sorted(hits.items())},
        "sales": len([sale for sale in sales if sale.start_ms - start_ms > WARM // timedelta(milliseconds=1)]),
        "sale_items_among_12_by_minute": means(rises.during),
        "sale_items_flagged_by_minute": means(rises.flagged),
        "sale_items_among_12_after_the_end": means(rises.after),
        "in_vain_a_place_and_look": float(np.mean(rises.in_vain)),
    }


def look_cost(records: Sequence[Read], catalog: Sequence[CatalogItem], start_ms: int) -> float:
    """Return the CPU microseconds for which a list is held against the catalog, of which a part is sold at places."""
    history, read = AvailabilityHistory(), msgspec.json.Decoder(ReadRecord).decode
    for item in catalog:
        history.take(DescribedItem(item), start_ms)
    seconds, looked = 0.0, 0
    for begin in range(0, len(records), 1_000):
        some = [(read(one.value), one.arrived_ms) for one in records[begin : begin + 1_000]]
        started = time.process_time()
        for record, arrived_ms in some:
            location = record.counts[0].location if record.counts else None
            history.gone([item.item_id for item in record.items], location, arrived_ms)
        seconds, looked = seconds + time.process_time() - started, looked + len(some)
    return 1e6 * seconds / looked


def means(of: Mapping[int, Sequence[float]]) -> dict[int, float]:
    """Return the mean by minute."""
    return {minute: float(np.mean(values)) for minute, values in sorted(of.items())}


def rules(made: Mapping[str, PlaceShares], shop: Shop) -> dict[str, dict[str, set[ItemId]]]:
    """Return the lists of each place, by the rule that makes them."""
    lists: dict[str, dict[str, set[ItemId]]] = {"chosen while it runs": {}, "chosen, everywhere": {}}
    everywhere = set(made[EVERYWHERE].shares.top[:LISTED])
    for place in shop.locations:
        shares = made[place]
        lists["chosen while it runs"][place] = set(shares.shares.top[:LISTED])
        lists["chosen, everywhere"][place] = everywhere
        for rung, half_life_ms in enumerate(HALF_LIVES_MS):
            name = f"the place's own, half-life {half_life_ms / 3_600_000:g} h"
            best = np.argsort(-shares.counts[:, rung], kind="stable")[:LISTED]
            lists.setdefault(name, {})[place] = {shares.items[row] for row in best.tolist()}
            whole = made[EVERYWHERE]
            best = np.argsort(-whole.counts[:, rung], kind="stable")[:LISTED]
            name = f"everywhere, half-life {half_life_ms / 3_600_000:g} h"
            lists.setdefault(name, {})[place] = {whole.items[row] for row in best.tolist()}
    return lists


def hash_of(visitor_id: VisitorId) -> int:
    """Tell visitors apart."""
    return crc32(visitor_id.encode()) + 1


def show(report: Mapping[str, object]) -> None:
    """Print a table of each kind."""
    console = Console()
    for name, value in report.items():
        if not isinstance(value, dict):
            console.print(f"{name}: {value:.4g}" if isinstance(value, float) else f"{name}: {value}")
            continue
        table = Table(title=name, show_header=False)
        for key, number in value.items():
            table.add_row(str(key), f"{number:.4f}" if isinstance(number, float) else str(number))
        console.print(table)


if __name__ == "__main__":
    main()
