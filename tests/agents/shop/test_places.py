"""Tastes that differ by place, and what is trending there held against them."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import islice
from zlib import crc32

import pytest
from msgspec.structs import replace as with_fields

from agents.shop.catalog import build_shelf
from agents.shop.settings import ShopSettings
from agents.shop.tastes import popularity_at
from agents.shop.traffic import generate_events
from agents.shop.truth import GeneratedEvent
from schemas.events import from_unix_ms
from schemas.places import LocationSettings
from schemas.records import CountedView
from streams.trending.fold import ReadRecord, TrendingFold
from streams.trending.lists import TrendingLists

CITIES = ("nl/nh/ams", "de/be/ber", "nl/zh/rtm", "de/by/muc", "pt/li/lis")
APART = ShopSettings(n_items=600, locations=CITIES, place_taste=0.5, flash_sales=None)
NOON = timedelta(hours=12)


@pytest.fixture(scope="module")
def trending() -> TrendingLists:
    """Count an hour of a shop whose places like different things, as the observer does."""
    chain = LocationSettings().chain
    lists = TrendingLists(TrendingFold(chain, lambda visitor_id: crc32(visitor_id.encode()) + 1), chain)
    for offset, event in enumerate(generate_events(APART, timedelta(hours=1), NOON)):
        click = event.click
        views = []
        if click.event_type == "view" and click.item_id is not None and not event.truth.is_bot:
            views.append(CountedView(click.item_id, click.event_time_ms, click.location))
        record = ReadRecord(f"clickstream-0-{offset}", click.visitor_id, views)
        lists.take(record, 0, offset, click.event_time_ms)
        if offset % 100 == 0:
            lists.settle()
    return lists


def test_what_is_trending_at_a_place_follows_its_taste(trending: TrendingLists) -> None:
    """Of a city's views its taste explains half as many again among the 20 listed there as any other city's does."""
    shelf = build_shelf(APART)
    number = {record.item_id: item for item, record in enumerate(shelf.records)}
    tastes = {city: popularity_at(city, shelf, APART) for city in CITIES}
    for city, record in trending.records(CITIES, from_unix_ms(trending.fold.now_ms)):
        assert record is not None
        listed = [number[item.item_id] for item in record.items[:20]]
        liked = {other: float(taste[listed].sum()) for other, taste in tastes.items()}
        own = liked.pop(city)
        assert own > 1.5 * max(liked.values()), city


def test_places_of_one_country_are_more_alike_than_others() -> None:
    """What is liked in the country is a part of what is liked in each of its cities."""
    shelf = build_shelf(APART)
    everywhere = popularity_at("", shelf, APART)
    ratios = {city: popularity_at(city, shelf, APART) / everywhere for city in CITIES}
    distance = {other: float(abs(ratios["nl/nh/ams"] - ratios[other]).mean()) for other in CITIES[1:]}
    assert min(distance, key=distance.__getitem__) == "nl/zh/rtm"
    assert popularity_at("nl", shelf, APART).sum() == pytest.approx(everywhere.sum())


def test_without_tastes_of_their_own_places_are_names_only() -> None:
    """The same shoppers do the same whatever their places are called, and every place likes the same."""

    def told(settings: ShopSettings) -> Iterator[GeneratedEvent]:
        for event in islice(generate_events(settings), 5_000):
            yield with_fields(event, click=with_fields(event.click, location=None))

    named = ShopSettings(locations=CITIES)
    assert list(told(named)) == list(told(ShopSettings()))
    shelf = build_shelf(named)
    assert popularity_at("nl/nh/ams", shelf, named).tolist() == shelf.popularity
