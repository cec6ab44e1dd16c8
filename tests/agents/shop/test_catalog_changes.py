"""How the catalog of the generated shop changes while it runs, and what is true of its stock."""

from collections import defaultdict
from dataclasses import replace
from datetime import timedelta
from itertools import islice, pairwise

import pytest

from agents.shop.catalog import build_shelf, catalog
from agents.shop.catalog_changes import ShopCatalog
from agents.shop.sales import SaleCalendar
from agents.shop.settings import FlashSaleSettings, ShopSettings, StockOutSettings
from agents.shop.stock import Stock
from agents.shop.traffic import generate_events
from schemas.availability import is_available, sale_at
from schemas.ids import ItemId
from schemas.places import LocationSettings
from schemas.records import CatalogItem

SETTINGS = ShopSettings()
OFTEN_OUT = ShopSettings(stock_outs=StockOutSettings(share=0.3, given_up_share=0.2))
SELLING_OUT = replace(OFTEN_OUT, flash_sales=FlashSaleSettings(every=timedelta(hours=3), sells_out=True))
DAY = timedelta(days=1)
DAY_MS = 86_400_000
PLACES = LocationSettings()


@pytest.fixture(scope="module")
def changes() -> list[tuple[int, CatalogItem]]:
    """Run a day in which much sells out."""
    return list(ShopCatalog(OFTEN_OUT).changes(DAY))


def test_a_sale_is_named_with_its_place_and_end_and_taken_back() -> None:
    """Over a day each sale item is published with its sale and again without; its own price stays."""
    changes = list(ShopCatalog(SETTINGS).changes(DAY))
    assert [moment for moment, _ in changes] == sorted(moment for moment, _ in changes)
    own = {item.item_id: item.price for item in catalog(SETTINGS, SETTINGS.start + timedelta(days=7))}
    assert all(record.price == own[record.item_id] for _, record in changes)
    on_sale = [(moment, record) for moment, record in changes if record.sale is not None]
    assert len(on_sale) > 12
    for moment, record in on_sale:
        sale = record.sale
        assert sale is not None
        assert sale.price < (record.price or 0)
        assert isinstance(sale.ends_at, int)
        assert sale.starts_at == moment < sale.ends_at
        assert sale.locations is not None
        assert sale_at(record, sale.locations[0], sale.ends_at - 1, PLACES) == sale
        assert sale_at(record, sale.locations[0], sale.ends_at, PLACES) is None
    final = {record.item_id: record for _, record in changes}
    assert all(final[record.item_id].sale is None for _, record in on_sale[:12])


@pytest.mark.parametrize("settings", [OFTEN_OUT, SELLING_OUT])
def test_the_records_say_what_is_true_at_every_moment(settings: ShopSettings) -> None:
    """Whoever reads them in time knows of each item whether it can be bought, to the millisecond."""
    shop, shelf = ShopCatalog(settings), build_shelf(settings)
    number = {record.item_id: item for item, record in enumerate(shelf.records)}
    known = {record.item_id: record for record in shop.at(settings.start_ms)}
    due, wrong, looked = list(reversed(list(shop.changes(DAY)))), 0, 0
    for moment in range(OFTEN_OUT.start_ms, OFTEN_OUT.start_ms + DAY_MS, 7 * 60_000):
        while due and due[-1][0] <= moment:
            _, record = due.pop()
            known[record.item_id] = record
        for item_id, record in known.items():
            looked += 1
            wrong += is_available(record, None, moment, PLACES) != shop.stock.has(number[item_id], moment)
    assert (wrong, looked > 300_000) == (0, True)


def test_items_sell_out_and_come_back_or_are_given_up(changes: list[tuple[int, CatalogItem]]) -> None:
    """What sells out is back within its slot; what is given up says so from its first record on."""
    says = defaultdict[ItemId, list[tuple[int, bool]]](list)
    for moment, record in changes:
        says[record.item_id].append((moment, record.available))
    outs = [
        later - moment
        for told in says.values()
        for (moment, is_there), (later, is_back) in pairwise(told)
        if not is_there and is_back
    ]
    assert len(outs) > 1_000
    assert 20 * 60_000 < sum(outs) / len(outs) < 60 * 60_000
    at_start = ShopCatalog(OFTEN_OUT).at(OFTEN_OUT.start_ms)
    assert 0.15 < sum(record.available_until is not None for record in at_start) / len(at_start) < 0.25


def test_without_stock_outs_the_shop_is_as_it_was() -> None:
    """They have dice of their own, and where there are none every record is that of the shelf."""
    shelf, stock = build_shelf(SETTINGS), Stock(SETTINGS, build_shelf(SETTINGS))
    assert all(stock.has(item, SETTINGS.start_ms) is record.available for item, record in enumerate(shelf.records))
    assert stock.between(SETTINGS.start_ms, SETTINGS.start_ms + DAY_MS) == []
    assert [record.item_id for record in ShopCatalog(SETTINGS).at(SETTINGS.start_ms)] == [
        record.item_id for record in catalog(SETTINGS)
    ]
    assert build_shelf(OFTEN_OUT).records == shelf.records


def test_nobody_buys_what_is_sold_out() -> None:
    """Shoppers look at it now and then, and put nothing into the cart that is not there; the truth says so."""
    events = list(islice(generate_events(OFTEN_OUT), 20_000))
    sold_out = [event.click.event_type for event in events if event.truth.is_sold_out and not event.truth.is_bot]
    assert "cart" not in sold_out
    assert len(sold_out) > 50


def test_what_a_sale_leaves_sold_out_ends_with_it_by_its_record_alone() -> None:
    """The record of its start names the end; nothing has to come for the item to be gone, and it is back in time."""
    settings = ShopSettings(flash_sales=FlashSaleSettings(sells_out=True))
    shop = ShopCatalog(settings)
    (sale, *_) = SaleCalendar(settings, build_shelf(settings)).between(settings.start_ms, settings.start_ms + DAY_MS)
    for item in sale.items:
        record = shop.record(item, sale.start_ms)
        assert is_available(record, None, sale.end_ms - 1, PLACES)
        assert not is_available(record, None, sale.end_ms, PLACES)
        assert not shop.stock.has(item, sale.back_ms - 1)
        assert shop.stock.has(item, sale.back_ms)
    after_it = timedelta(milliseconds=sale.end_ms + 1 - settings.start_ms)
    back = [record for moment, record in shop.changes(DAY, after_it) if moment == sale.back_ms]
    assert [record.available for record in back] == [True] * len(sale.items)
