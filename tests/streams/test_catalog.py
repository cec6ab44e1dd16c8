import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from confluent_kafka import Producer
from prometheus_client import CollectorRegistry

from schemas import wire
from schemas.catalog_mapping import CatalogMapping
from schemas.catalog_reader import CatalogReader
from schemas.ids import ItemId
from schemas.places import LocationSettings
from schemas.records import CatalogItem, Sale
from streams.catalog import Catalog, catalog_view
from streams.cluster.producers import producer_config
from streams.local.embedded_broker import EmbeddedBroker
from streams.metrics import CatalogMetrics

TOPIC = "catalog"
NOW_MS = 1_700_000_000_000


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


def test_the_memory_of_what_was_removed_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The latest removals are known; a shop that renews its items for years does not fill the worker."""
    monkeypatch.setattr("streams.catalog.MAX_REMOVED", 2)
    catalog = Catalog()
    for item_id in (b"a", b"b", b"a", b"c"):
        catalog.apply(item_id, None)
    assert [catalog.allowed(ItemId(item_id), None, NOW_MS) for item_id in "abc"] == [False, True, False]


def test_what_the_shop_removed_is_not_recommended() -> None:
    """A tombstone is no absence of a record: a release may still know the item. Described anew it is back."""
    catalog = catalog_of(item("a"))
    catalog.apply(b"a", None)
    catalog.apply(b"compacted", None)
    names = ("a", "compacted", "undescribed")
    assert [catalog.allowed(ItemId(name), None, NOW_MS) for name in names] == [False, False, True]
    catalog.apply(b"a", wire.encode(item("a")))
    assert catalog.allowed(ItemId("a"), None, NOW_MS)


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
    assert catalog_of(item("a", **fields)).allowed(ItemId("a"), location, NOW_MS) is is_allowed


@pytest.mark.parametrize(
    ("sold_at", "location", "is_allowed"),
    [
        ("nl", "nl/nh/ams", True),
        ("nl/nh", "nl/nh/ams", True),
        ("nl/nh/ams", "nl/nh/ams", True),
        ("nl/nh/ams", "nl/nh", False),
        ("nl", "nlx", False),
        ("nl/n", "nl/nh", False),
    ],
)
def test_what_is_sold_at_a_place_is_sold_at_those_in_it(sold_at: str, location: str, *, is_allowed: bool) -> None:
    """A country's items are its cities', a city's are not the country's; beginnings of a name are no levels."""
    assert catalog_of(item("a", locations=[sold_at])).allowed(ItemId("a"), location, NOW_MS) is is_allowed


def test_a_place_is_known_that_the_records_name_or_that_holds_one() -> None:
    """Whether one in a named place is the shop's nobody knows; where no record names a place, nobody knows any."""
    catalog = catalog_of(item("a", locations=["nl/nh", "be"]), item("b", locations=["nl/nh"]))
    assert [catalog.knows_place(place) for place in ("nl/nh", "nl", "be", "nl/nh/ams", "nl/zh", "fr")] == [
        *[True] * 3,
        None,
        *[False] * 2,
    ]
    catalog.apply(b"a", wire.encode(item("a", locations=["be"])))
    catalog.apply(b"b", None)
    assert [catalog.knows_place(place) for place in ("nl/nh", "nl", "be")] == [False, False, True]
    catalog.apply(b"a", None)
    assert [catalog.knows_place(place) for place in ("nl/nh", "be")] == [None, None]


def test_without_a_separator_places_are_flat() -> None:
    """A shop whose names of places hold one for another reason says so."""
    catalog = Catalog(places=LocationSettings(separator=""))
    catalog.apply(b"a", wire.encode(item("a", locations=["nl"])))
    assert [catalog.allowed(ItemId("a"), place, NOW_MS) for place in ("nl", "nl/nh")] == [True, False]


@pytest.mark.parametrize("require_catalog", [True, False])
def test_an_item_without_a_record_is_allowed_unless_one_is_required(*, require_catalog: bool) -> None:
    """`require_catalog` decides on what the shop has not described."""
    assert Catalog(require_catalog=require_catalog).allowed(ItemId("a"), None, NOW_MS) is not require_catalog


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
    assert not catalog.allowed(ItemId("a"), None, NOW_MS)


def test_an_item_is_available_in_its_time() -> None:
    """From its beginning on, and not at its end any more, whether or not another record comes."""
    catalog = catalog_of(item("a", available_from=NOW_MS, available_until=NOW_MS + 1000))
    moments = [NOW_MS - 1, NOW_MS, NOW_MS + 999, NOW_MS + 1000]
    assert [catalog.allowed(ItemId("a"), None, moment) for moment in moments] == [False, True, True, False]
    assert [catalog.available_items(1, moment) for moment in moments] == [[], ["a"], ["a"], []]


def test_a_time_that_is_taken_back_hides_no_item() -> None:
    """By a record without it, by a later one, or by a tombstone and a record anew."""
    over, a = wire.encode(item("a", available_until=NOW_MS)), ItemId("a")
    for values in (
        [item("a")],
        [item("a", available_until=NOW_MS + 1)],
        [item("a", available_from=0)],
        [None, item("a")],
    ):
        catalog = Catalog()
        catalog.apply(b"a", over)
        assert not catalog.allowed(a, None, NOW_MS)
        for value in values:
            catalog.apply(b"a", None if value is None else wire.encode(value))
        assert catalog.allowed(a, None, NOW_MS)


def test_the_end_of_a_sale_hides_no_item() -> None:
    """It is a price: the item goes on at its own."""
    catalog = catalog_of(item("a", sale=Sale(price=5.0, ends_at=NOW_MS)))
    assert catalog.allowed(ItemId("a"), None, NOW_MS)


@pytest.mark.parametrize(
    ("location", "at_ms", "end_ms"),
    [
        (None, 0, 3000),
        ("nl", 0, 5000),
        ("be", 0, 3000),
        ("be/bru", 0, 3000),
        ("be", 999, 3000),
        ("be", 3000, 5000),
        ("be", -1, 5000),
    ],
)
def test_a_list_is_over_with_the_first_item_or_sale(location: str | None, at_ms: int, end_ms: int) -> None:
    """The sale counts where it is and while it is; items without an end, and unknown ones, end no list."""
    sale = Sale(price=5.0, starts_at=NOW_MS, ends_at=NOW_MS + 3000, locations=["be"])
    catalog = catalog_of(item("a", sale=sale), item("b", available_until=NOW_MS + 5000), item("c"))
    items = [ItemId(name) for name in ("c", "a", "b", "unknown")]
    assert catalog.earliest_end_ms(items, location, NOW_MS + at_ms) == NOW_MS + end_ms
    assert catalog.earliest_end_ms(items[:1], location, NOW_MS + at_ms) is None


def test_an_end_that_is_taken_back_ends_nothing() -> None:
    """By a record without it, or a tombstone; one that comes again does."""
    catalog, ends = Catalog(), wire.encode(item("a", available_until=NOW_MS + 1))
    for value, end in ((ends, 1), (wire.encode(item("a")), None), (ends, 1), (ends, 1), (None, None), (ends, 1)):
        catalog.apply(b"a", value)
        found = catalog.earliest_end_ms([ItemId("a")], None, NOW_MS)
        assert found == (None if end is None else NOW_MS + end)


def test_every_record_is_counted() -> None:
    """Whoever keeps lists looks at them again only after one."""
    catalog = catalog_of(item("a"))
    for value in (wire.encode(item("a")), b"nonsense", None):
        before = catalog.records_taken
        catalog.apply(b"a", value)
        assert catalog.records_taken == before + 1


def test_items_share_the_names_of_their_category_and_places() -> None:
    """Of some millions of items each would have its own copy, read from its own record."""
    catalog = Catalog()
    for name in ("a", "b"):
        value = wire.encode(CatalogItem(item_id=ItemId(name), category="Home > Tables", locations=["nl/nh", "nl/zh"]))
        catalog.apply(name.encode(), value)
    one, other = catalog.records()
    assert one.category == "Home > Tables"
    assert one.category is other.category
    assert one.locations == ["nl/nh", "nl/zh"]
    assert all(here is there for here, there in zip(one.locations, other.locations or (), strict=True))


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
        b"[]",
        b"null",
        b'{"sku": "a", "stock": 0}',
        b'{"item_id": "a", "available": "perhaps"}',
        b'{"item_id": "a", "available": null}',
        b'{"item_id": "b"}',
        b'{"item_id": "\xff"}',
        b'{"item_id": "a", "more": ' + b"[" * 100_000,
    ],
)
def test_an_item_whose_last_record_cannot_be_read_is_closed(value: bytes, logged: list[dict[str, Any]]) -> None:
    """It may say that the item is sold out: until one comes that can be read, nobody is shown it."""
    catalog = catalog_of(item("a", title="kept"), item("b"))
    for _ in range(9):
        catalog.apply(b"a", value)
    assert [catalog.allowed(ItemId(name), None, NOW_MS) for name in "ab"] == [False, True]
    assert (catalog.available_items(9, NOW_MS), catalog.records(), catalog.closed_items) == (["b"], [item("b")], 1)
    assert [(entry["event"], entry["item_id"]) for entry in logged] == [("catalog_record_unreadable", "a")]
    catalog.apply(b"a", wire.encode(item("a", title="kept")))
    assert (catalog.allowed(ItemId("a"), None, NOW_MS), catalog.closed_items) == (True, 0)


def test_an_item_that_was_never_described_is_closed_too() -> None:
    """A release may know it; without a readable record it would count as available."""
    catalog = Catalog()
    catalog.apply(b"a", b"garbage")
    assert not catalog.allowed(ItemId("a"), None, NOW_MS)
    catalog.apply(b"a", None)
    assert (catalog.closed_items, catalog.allowed(ItemId("a"), None, NOW_MS)) == (0, False)


def test_what_is_closed_still_has_its_variants() -> None:
    """Who bought the one is not offered the other, whatever its last record says."""
    catalog = catalog_of(item("a", variant_group="g"))
    catalog.apply(b"a", b"garbage")
    assert catalog.variant_group(ItemId("a")) == "g"


def test_what_was_closed_has_a_new_number_when_it_is_back() -> None:
    """Who read all records meanwhile did not see it, though nothing of it has changed."""
    catalog = catalog_of(item("a", title="A"))
    catalog.apply(b"a", b"garbage")
    before = catalog.revision
    catalog.apply(b"a", wire.encode(item("a", title="A")))
    assert catalog.revision != before


@pytest.mark.parametrize("key", [b"", None, b"\xff", b"\x00\x00\x00\x00\x07\x02a", b"x" * 257, b'{"a": 1, "b": 2}'])
def test_a_key_that_names_no_item_closes_none(key: bytes | None, logged: list[dict[str, Any]]) -> None:
    """Compaction and tombstones go by the key, so an item under such a key could never be removed."""
    catalog = Catalog()
    catalog.apply(key, wire.encode(item("a")))
    assert (len(catalog), catalog.closed_items, catalog.allowed(ItemId("a"), None, NOW_MS)) == (0, 0, True)
    assert [(entry["event"], entry["reason"]) for entry in logged] == [("catalog_record_unreadable", "unreadable_key")]


def test_a_shops_own_records_are_read_by_its_mapping() -> None:
    """The sold-out one is not recommended, and neither is one whose stock is not told."""
    mapping = CatalogMapping(paths={"item_id": "sku", "available": "stock"})
    catalog = Catalog(reader=CatalogReader(mapping))
    for key, stock in ((b"a", b"3"), (b"b", b"0"), (b"c", b"null")):
        catalog.apply(key, b'{"sku": "%s", "stock": %s}' % (key, stock))
    assert [catalog.allowed(ItemId(name), None, NOW_MS) for name in "abc"] == [True, False, False]


def test_an_item_is_on_sale_where_and_while_its_record_says() -> None:
    """In the places of the sale and those that lie in them, from its start until before its end."""
    begin = 1_700_000_000_000
    sale = Sale(price=1.0, starts_at=begin, ends_at=begin + 1_000, locations=["nl"])
    catalog = catalog_of(item("a", sale=sale, available_from=begin - 500), item("b"))
    told = [catalog.is_on_sale(ItemId("a"), "nl/ams", begin + after) for after in (-1, 0, 999, 1_000)]
    assert told == [False, True, True, False]
    assert [catalog.is_on_sale(ItemId("a"), place, begin) for place in ("nl", "be", None)] == [True, False, True]
    assert not catalog.is_on_sale(ItemId("b"), "nl", begin)
    assert not catalog.is_on_sale(ItemId("unknown"), "nl", begin)
    assert [catalog.available_from_ms(ItemId(name)) for name in ("a", "b", "unknown")] == [begin - 500, None, None]


def test_available_items_are_the_first_ones_described() -> None:
    """Unavailable items are passed over, and no more are named than asked for."""
    catalog = catalog_of(item("a"), item("b", available=False), item("c"), item("d"))
    assert [catalog.available_items(n, NOW_MS) for n in (0, 2, 9)] == [[], ["a", "c"], ["a", "c", "d"]]


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
        assert all(catalog.available_items(5, NOW_MS) in ([], ["new"]) for _ in range(100))
    finally:
        stop.set()
        writer.join()


def produce(address: str, topic: str, *records: tuple[str, bytes | None]) -> None:
    """Write records to a topic."""
    producer = Producer(producer_config({"bootstrap.servers": address}, client_id="test"))
    for key, value in records:
        producer.produce(topic, key=key.encode(), value=value)
    assert producer.flush(10) == 0


def test_the_view_is_the_catalog_as_its_topic_has_it(broker: str) -> None:
    """Tombstones applied, what cannot be read counted, what was repaired, too."""
    items = [(f"i{n}", wire.encode(item(f"i{n}"))) for n in range(50)]
    odd = [("i8", b'{"item_id": "i8", "available": "perhaps"}'), ("odd", b'{"item_id": "odd", "price": "12,95"}')]
    produce(broker, TOPIC, *items, ("i7", None), *odd)
    catalog, registry = Catalog(), CollectorRegistry()
    view = catalog_view(catalog, TOPIC, {"bootstrap.servers": broker}, CatalogMetrics(registry))
    view.start()
    try:
        assert view.wait_until_caught_up(20)
    finally:
        view.stop()
    assert len(catalog) == 50
    assert registry.get_sample_value("insession_catalog_items") == 50
    assert registry.get_sample_value("insession_catalog_closed_items") == 1
    unreadable = "insession_catalog_unreadable_records_total"
    assert registry.get_sample_value(unreadable, {"reason": "unclear_availability"}) == 1
    assert registry.get_sample_value(unreadable, {"reason": "undecodable"}) == 0
    repaired = {"field": "price", "reason": "reformatted"}
    assert registry.get_sample_value("insession_repaired_catalog_fields_total", repaired) == 1
    assert registry.get_sample_value("insession_catalog_caught_up") == 1
    assert registry.get_sample_value("insession_catalog_last_record_timestamp_seconds") == pytest.approx(
        time.time(), abs=300
    )
    assert catalog.get(ItemId("i7")) is None
    assert registry.get_sample_value("insession_catalog_failed_records_total") == 0


def test_an_item_is_never_allowed_while_it_is_removed_again() -> None:
    """Another thread reads meanwhile: at no moment it is one that was never described."""
    catalog = Catalog()
    catalog.apply(b"gone", None)
    before, stopping, seen = sys.getswitchinterval(), threading.Event(), set[bool]()
    reader = threading.Thread(
        target=lambda: [seen.add(catalog.allowed(ItemId("gone"), "nl", NOW_MS)) for _ in iter(stopping.is_set, True)]
    )
    sys.setswitchinterval(1e-6)
    try:
        reader.start()
        for _ in range(20_000):
            catalog.apply(b"gone", None)
    finally:
        stopping.set()
        reader.join()
        sys.setswitchinterval(before)
    assert seen == {False}


class Interrupted(dict[ItemId, Any]):
    """Lets something come in between, once, behind the first look or change."""

    def __init__(self, of: Any, between: Any) -> None:
        super().__init__(of)
        self._between = [between]

    def get(self, key: ItemId, default: Any = None) -> Any:
        """Look, and be interrupted."""
        return self._interrupted(super().get(key, default))

    def pop(self, key: ItemId, default: Any = None) -> Any:
        """Remove, and be interrupted."""
        return self._interrupted(super().pop(key, default))

    def __setitem__(self, key: ItemId, value: Any) -> None:
        self._interrupted(super().__setitem__(key, value))

    def _interrupted(self, result: Any) -> Any:
        while self._between:
            self._between.pop()()
        return result


OVER, SOLD_OUT = {"available_until": NOW_MS - 1}, {"available": False}
SOLD_OUT_IN_TIME = {**SOLD_OUT, "available_until": NOW_MS + 1}


@pytest.mark.parametrize(
    ("before", "after"), [(SOLD_OUT, OVER), (OVER, SOLD_OUT), (OVER, SOLD_OUT_IN_TIME), (SOLD_OUT_IN_TIME, OVER)]
)
def test_what_neither_of_two_records_allows_is_not_allowed_between_them(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    """One thread writes while others read: the time of one record is not taken with the rest of the other."""
    found = []
    catalog = catalog_of(item("a", **before))
    update = lambda: catalog.apply(b"a", wire.encode(item("a", **after)))  # noqa: E731
    catalog._times_ms = Interrupted(catalog._times_ms, update)
    found.append(catalog.allowed(ItemId("a"), None, NOW_MS))
    catalog = catalog_of(item("a", **before))
    catalog._times_ms = Interrupted(catalog._times_ms, lambda: found.append(catalog.allowed(ItemId("a"), None, NOW_MS)))
    update()
    found.append(catalog.allowed(ItemId("a"), None, NOW_MS))
    assert not any(found)
