"""What the shop's own people do while the demo runs."""

import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from confluent_kafka import Consumer, TopicPartition

from agents.demo.feeder import Clock, embedded_producer
from agents.demo.merchant import Merchant, on_the_wall
from agents.demo.source import ShopOptions, shop_source
from schemas import wire
from schemas.ids import ItemId, RuleId
from schemas.records import CatalogItem, Sale
from schemas.rules import MerchantRule
from streams.cluster.topics import Topic
from streams.local.embedded_broker import PARTITIONS, EmbeddedBroker

PATIENCE_SECONDS = 20
CLOCK = Clock(first_ms=1_000_000, started_ms=5_000_000, speed=30.0)
RULE = MerchantRule(rule_id=RuleId("pin"), action="pin", items=(ItemId("a"),), position=1, note="a is first")
PLAIN = CatalogItem(item_id=ItemId("a"))
SALE = CatalogItem(
    item_id=ItemId("b"),
    available_until=1_120_000,
    sale=Sale(price=1.0, starts_at=1_060_000, ends_at=1_120_000, locations=["de"]),
)


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    """Give an embedded broker that has the topics."""
    with EmbeddedBroker() as broker:
        client = embedded_producer(broker.address)
        for topic in (Topic.CATALOG, Topic.MERCHANT_RULES):
            client.list_topics(topic, timeout=PATIENCE_SECONDS)
        yield broker


def _read(brokers: str, topic: Topic) -> list[bytes]:
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "test", "enable.partition.eof": True})
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
    try:
        values, ends, until = list[bytes](), 0, time.monotonic() + PATIENCE_SECONDS
        while ends < PARTITIONS and time.monotonic() < until:
            message = consumer.poll(1.0)
            if message is not None and message.error() is None:
                values.append(message.value())
            else:
                ends += message is not None
        return values
    finally:
        consumer.close()


def test_the_catalog_changes_when_the_wall_has_come_to_it(broker: EmbeddedBroker) -> None:
    """Two seconds of the wall's clock are a minute of the shop's; a sale is told once, whatever it has of items."""
    changes = [(1_030_000, PLAIN), (1_060_000, SALE), (1_060_000, SALE), (1_120_000, PLAIN)]
    merchant = Merchant(broker.address, iter(changes), None, 0.0)
    assert merchant.act(CLOCK, 5_000_999) == []
    assert merchant.act(CLOCK, 5_001_999) == []
    (said,) = merchant.act(CLOCK, 5_002_000)
    assert "flash sale in de begins: 2 s" in said
    values = _read(broker.address, Topic.CATALOG)
    assert sorted(values) == sorted(wire.encode(record) for record in (PLAIN, *[on_the_wall(SALE, CLOCK)] * 2))


def test_moments_of_records_are_moved_to_the_walls_clock() -> None:
    """By which a worker goes; what names none stays."""
    moved = on_the_wall(SALE, CLOCK)
    assert moved.available_until == 5_004_000
    assert moved.sale == Sale(price=1.0, starts_at=5_002_000, ends_at=5_004_000, locations=["de"])
    assert on_the_wall(PLAIN, CLOCK) == PLAIN


def test_a_rule_is_put_once_when_its_time_has_come(broker: EmbeddedBroker) -> None:
    """So many seconds after the first event."""
    merchant = Merchant(broker.address, iter(()), RULE, 30.0)
    assert merchant.act(CLOCK, 5_029_999) == []
    assert merchant.act(CLOCK, 5_030_000) == ["rule put: a is first"]
    assert merchant.act(CLOCK, 5_031_000) == []
    assert _read(broker.address, Topic.MERCHANT_RULES) == [wire.encode(RULE)]


def test_a_minute_of_the_demo_has_a_whole_sale_and_a_rule_that_names_what_is_sold_everywhere() -> None:
    """Thirty minutes of the shop: the sale begins and ends in them, and ends with its items gone."""
    source = shop_source(ShopOptions(), with_training=False)
    opening_ms = next(source.events()).due_ms
    until_ms = opening_ms + timedelta(minutes=30) // timedelta(milliseconds=1)
    named = [record for moment_ms, record in source.changes() if moment_ms < until_ms]
    on_sale = [record for record in named if record.sale is not None]
    assert len(on_sale) == 4
    assert len({record.sale.ends_at for record in on_sale if record.sale}) == 1
    gone = {record.item_id for record in named if not record.available}
    assert gone == {record.item_id for record in on_sale}
    assert source.rule is not None
    assert source.rule.items is not None
    described = {record.item_id: record for record in source.catalog}
    assert described[source.rule.items[0]].locations is None
    assert source.rule.items[0] not in gone


def test_without_the_shops_clock_nothing_changes() -> None:
    """As fast as answers come, nobody can say when by the wall's clock a sale ends."""
    source = shop_source(ShopOptions(), with_training=False, is_timed=False)
    assert list(source.changes()) == []


def test_what_was_counted_before_ends_where_the_live_traffic_begins() -> None:
    """An observer reads it as its own: ids ascend, an item counts once a session, the last is of just now."""
    source = shop_source(ShopOptions(), with_training=False)
    opening_ms = next(source.events()).due_ms
    history = list(source.history())
    assert len(history) > 10_000
    numbers = [int(record.id.rpartition("-")[2]) for record in history]
    assert numbers == sorted(set(numbers))
    times_ms = [record.counts[0].time_ms for record in history]
    assert opening_ms - 10_000 < max(times_ms) <= opening_ms
