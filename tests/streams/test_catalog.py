import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from confluent_kafka import Producer
from prometheus_client import CollectorRegistry

from schemas import wire
from schemas.ids import ItemId
from schemas.records import CatalogItem
from streams.catalog import Catalog, CatalogFollower
from streams.embedded_broker import EmbeddedBroker
from streams.metrics import CatalogMetrics
from streams.producers import producer_config

TOPIC = "catalog"
NOBODY = "127.0.0.1:1"
METRICS = CatalogMetrics(CollectorRegistry())


@pytest.fixture(autouse=True)
def logged() -> Any:
    """Catch the log lines."""
    with structlog.testing.capture_logs() as entries:
        yield entries


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    """Run the embedded broker and give its address."""
    with EmbeddedBroker() as broker:
        yield broker.address


def catalog_of(*items: CatalogItem, require_catalog: bool = False) -> Catalog:
    """Make a catalog that was told of these items."""
    catalog = Catalog(require_catalog=require_catalog)
    for item in items:
        catalog.apply(item.item_id.encode(), wire.encode(item))
    return catalog


def item(item_id: str, **fields: Any) -> CatalogItem:
    """Describe an item."""
    return CatalogItem(item_id=ItemId(item_id), **fields)


def test_every_change_has_its_number() -> None:
    """Who reads all records need not read them again while the number stays: what is unreadable, or stock, is none."""
    catalog = catalog_of(item("a"), item("b", title="B"))
    assert catalog.records() == [item("a"), item("b", title="B")]
    before = catalog.revision
    catalog.apply(b"a", b"nonsense")
    catalog.apply(b"b", wire.encode(item("b", title="B", available=False)))
    catalog.apply(b"a", None)
    assert catalog.revision == before
    assert catalog.records() == [item("b", title="B", available=False)]
    catalog.apply(b"b", wire.encode(item("b", title="A better B")))
    assert catalog.revision != before


def test_what_the_shop_removed_is_not_recommended() -> None:
    """A tombstone is no absence of a record: a release may still know the item. Described anew it is back."""
    catalog = catalog_of(item("a"))
    catalog.apply(b"a", None)
    catalog.apply(b"compacted", None)
    assert [catalog.allowed(ItemId(name), None) for name in ("a", "compacted", "undescribed")] == [False, False, True]
    catalog.apply(b"a", wire.encode(item("a")))
    assert catalog.allowed(ItemId("a"), None)


@pytest.mark.parametrize(
    ("fields", "location", "is_allowed"),
    [
        ({}, None, True),
        ({}, "Oslo", True),
        ({"available": False}, None, False),
        ({"available": False, "locations": ["Oslo"]}, "Oslo", False),
        ({"locations": ["Oslo"]}, "Oslo", True),
        ({"locations": ["Oslo"]}, "Rome", False),
        ({"locations": ["Oslo"]}, None, True),
        ({"locations": []}, "Oslo", False),
    ],
)
def test_an_item_is_allowed_where_it_is_sold(fields: dict[str, Any], location: str | None, *, is_allowed: bool) -> None:
    """An available item is allowed at its locations; without any it is sold everywhere."""
    assert catalog_of(item("a", **fields)).allowed(ItemId("a"), location) is is_allowed


@pytest.mark.parametrize("require_catalog", [True, False])
def test_an_item_without_a_record_is_allowed_unless_one_is_required(*, require_catalog: bool) -> None:
    """`require_catalog` decides on what the shop has not described."""
    assert Catalog(require_catalog=require_catalog).allowed(ItemId("a"), None) is not require_catalog


def test_the_latest_record_counts() -> None:
    """A later record of an item replaces the earlier one as a whole."""
    catalog = catalog_of(item("a", title="old", price=3.0), item("a", title="new", available=False))
    assert catalog.get(ItemId("a")) == item("a", title="new", available=False)
    assert len(catalog) == 1


def test_a_tombstone_removes_the_item() -> None:
    """After it the item is as if the shop had never described it; one for an unknown item changes nothing."""
    catalog = catalog_of(item("a", variant_group="g"), require_catalog=True)
    catalog.apply(b"a", None)
    catalog.apply(b"never seen", None)
    catalog.apply(None, None)
    assert (catalog.get(ItemId("a")), catalog.variant_group(ItemId("a")), len(catalog)) == (None, None, 0)
    assert not catalog.allowed(ItemId("a"), None)


def test_variants_share_a_group() -> None:
    """The group is the record's; an item without a record has none."""
    catalog = catalog_of(item("a", variant_group="g"), item("b"))
    assert [catalog.variant_group(ItemId(i)) for i in ("a", "b", "c")] == ["g", None, None]


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"no json",
        b"{}",
        b'{"item_id": ""}',
        b'{"item_id": "a", "price": -1}',
        b'{"item_id": "\xff"}',
        b'{"item_id": "a", "more": ' + b"[" * 100_000,
    ],
)
def test_an_unreadable_record_changes_nothing_and_is_logged(value: bytes, logged: list[dict[str, Any]]) -> None:
    """What the shop said before still holds, whatever the bytes are."""
    catalog = catalog_of(item("a", title="kept"))
    catalog.apply(b"a", value)
    assert catalog.get(ItemId("a")) == item("a", title="kept")
    assert [(entry["event"], entry["item_id"]) for entry in logged] == [("catalog_record_unreadable", "a")]


@pytest.mark.parametrize("key", [b"b", b"", None, b"\xff"])
def test_a_record_under_another_key_changes_nothing_and_is_logged(
    key: bytes | None, logged: list[dict[str, Any]]
) -> None:
    """Compaction and tombstones go by the key, so an item under a foreign key could never be removed."""
    catalog = Catalog()
    catalog.apply(key, wire.encode(item("a")))
    assert len(catalog) == 0
    assert [entry["event"] for entry in logged] == ["catalog_key_mismatch"]


def test_available_items_are_the_first_ones_described() -> None:
    """Unavailable items are passed over, and no more are named than asked for."""
    catalog = catalog_of(item("a"), item("b", available=False), item("c"), item("d"))
    assert [catalog.available_items(n) for n in (0, 2, 9)] == [[], ["a", "c"], ["a", "c", "d"]]


def test_items_can_be_named_while_the_follower_writes() -> None:
    """The follower's thread may add and remove items while an answer goes through them."""
    catalog = catalog_of(*(item(f"i{n}", available=False) for n in range(20_000)))
    stop = threading.Event()

    def write() -> None:
        value, n = wire.encode(item("new")), 0
        while not stop.is_set():
            catalog.apply(b"new", None if n % 2 else value)
            n += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert all(catalog.available_items(5) in ([], ["new"]) for _ in range(100))
    finally:
        stop.set()
        writer.join()


def produce(address: str, topic: str, *records: tuple[str, bytes | None]) -> None:
    """Write records to a topic."""
    producer = Producer(producer_config({"bootstrap.servers": address}, client_id="test"))
    for key, value in records:
        producer.produce(topic, key=key.encode(), value=value)
    assert producer.flush(10) == 0


def test_the_follower_catches_up_from_the_beginning(broker: str) -> None:
    """It is caught up when every partition's end is reached, tombstones applied; stopped, it leaves no thread."""
    items = [(f"i{n}", wire.encode(item(f"i{n}"))) for n in range(50)]
    produce(broker, TOPIC, *items, ("i7", None))
    catalog, registry = Catalog(), CollectorRegistry()
    follower = CatalogFollower(catalog, TOPIC, {"bootstrap.servers": broker}, CatalogMetrics(registry))
    follower.start()
    try:
        assert follower.wait_until_caught_up(20)
    finally:
        follower.stop()
    assert len(catalog) == 49
    assert registry.get_sample_value("insession_catalog_items") == 49
    assert registry.get_sample_value("insession_catalog_caught_up") == 1
    assert registry.get_sample_value("insession_catalog_last_record_timestamp_seconds") == pytest.approx(
        time.time(), abs=300
    )
    assert catalog.get(ItemId("i7")) is None
    assert "catalog" not in {thread.name for thread in threading.enumerate()}


def test_the_follower_of_an_empty_topic_is_caught_up(broker: str) -> None:
    """A shop that has not described anything holds up no worker."""
    Producer({"bootstrap.servers": broker}).list_topics("nothing-yet", timeout=10)  # makes the topic
    follower = CatalogFollower(Catalog(), "nothing-yet", {"bootstrap.servers": broker}, METRICS)
    follower.start()
    try:
        assert follower.wait_until_caught_up(20)
    finally:
        follower.stop()


def test_the_follower_survives_brokers_that_do_not_answer(logged: list[dict[str, Any]]) -> None:
    """It says so and asks again, the wait times out, and it can be stopped at any time."""
    follower = CatalogFollower(Catalog(), TOPIC, {"bootstrap.servers": NOBODY, "log_level": 0}, METRICS)
    follower.start()
    try:
        assert not follower.wait_until_caught_up(1.5)
        assert follower._thread.is_alive()
    finally:
        follower.stop()
    assert not follower._thread.is_alive()
    assert {entry["event"] for entry in logged} == {"catalog_brokers_do_not_answer"}


def test_a_stop_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for the whole catalog hears at once that it will not come."""
    monkeypatch.setattr("streams.catalog.Consumer", TopiclessConsumer)
    follower = CatalogFollower(Catalog(), TOPIC, {}, METRICS)
    follower.start()
    follower.stop()
    assert not follower.wait_until_caught_up(3600)


def test_the_follower_waits_for_a_topic_that_is_missing(
    monkeypatch: pytest.MonkeyPatch, logged: list[dict[str, Any]]
) -> None:
    """A topic that the brokers do not have is asked for again until told to stop."""
    monkeypatch.setattr("streams.catalog.Consumer", TopiclessConsumer)
    follower = CatalogFollower(Catalog(), TOPIC, {}, METRICS)
    follower.start()
    assert TopiclessConsumer.asked.wait(10)
    follower.stop()
    assert not follower.wait_until_caught_up(0)
    assert {entry["event"] for entry in logged} == {"catalog_topic_missing"}
    assert TopiclessConsumer.closed.is_set()


def test_a_follower_that_was_never_started_can_be_stopped() -> None:
    """Stopping is safe whatever happened before."""
    CatalogFollower(Catalog(), TOPIC, {}, METRICS).stop()


class TopiclessConsumer:
    """A consumer of a cluster without the topic."""

    asked = threading.Event()
    closed = threading.Event()

    def __init__(self, config: dict[str, Any]) -> None:
        self.topics: dict[str, Any] = {}
        assert config["enable.partition.eof"]

    def list_topics(self, _topic: str, timeout: float) -> "TopiclessConsumer":
        """Show no topic."""
        assert timeout > 0
        self.asked.set()
        return self

    def close(self) -> None:
        """Note it."""
        self.closed.set()
