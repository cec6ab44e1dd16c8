"""The generated shop's clicks as vendors write them."""

from collections import Counter
from itertools import islice

import pytest
from msgspec import structs

from agents.demo.shapes import SHAPES, FedRecord, Shape, as_records
from agents.demo.source import FedEvent, ShopOptions, shop_source
from agents.shop.settings import ShopSettings
from schemas.click_reader import ClickReader, Clicks
from schemas.events import ClickEvent
from schemas.mapping import FieldMapping
from schemas.validation import Ignored
from tests.agents.demo.builders import click

SHOP = ShopOptions(settings=ShopSettings(n_items=240))
EVENTS = 4_000


def _events() -> list[FedEvent]:
    return list(islice(shop_source(SHOP, with_training=False).events(), EVENTS))


def _records(shape: Shape) -> list[FedRecord]:
    return list(as_records(_events(), shape))


def _known_to(shape: Shape, click: ClickEvent) -> ClickEvent:
    """Leave out what the vendor's events do not have."""
    return structs.replace(click, event_id=None) if shape == "ga4" and click.event_type != "purchase" else click


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_written_in_a_shape_is_read_as_the_same_clicks(shape: Shape) -> None:
    """Line by line, by the format's name alone; pages and lists between are ignored."""
    reader = ClickReader(FieldMapping(format=shape))
    for record in _records(shape):
        found = reader.read(record.key, record.value, record.due_ms)
        if record.clicks:
            assert isinstance(found, Clicks), found
            assert found.events == tuple(_known_to(shape, one) for one in record.clicks)
        else:
            assert isinstance(found, Ignored), found


@pytest.mark.parametrize("shape", SHAPES)
def test_no_interaction_is_left_out_of_a_shape(shape: Shape) -> None:
    """But for the ends of sessions, favorites that Snowplow has no word for, and resends."""
    left_out = {"session_end"} | ({"favorite"} if shape == "snowplow" else set())
    expected = Counter(
        event.click.event_type
        for event in _events()
        if event.click.event_type not in left_out
        and event.truth is not None
        and not (event.truth.is_duplicate and (shape == "ga4" or event.click.event_type == "purchase"))
    )
    assert Counter(one.event_type for record in _records(shape) for one in record.clicks) == expected


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_has_orders_of_several_lines_and_pages_between(shape: Shape) -> None:
    """In the order of their time, so that they can be fed."""
    records = _records(shape)
    assert any(len(record.clicks) > 1 for record in records)
    assert sum(not record.clicks for record in records) > len(records) / 4
    assert [record.due_ms for record in records] == sorted(record.due_ms for record in records)


def test_without_a_shape_records_are_our_own() -> None:
    """One click each, by its visitor."""
    (record,) = as_records([FedEvent(click("a"), 7, None)])
    assert (record.key, record.clicks, record.due_ms) == (b"v", (click("a"),), 7)
