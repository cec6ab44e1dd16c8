import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from random import Random
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from agents.clicks.output_headers import OutputHeaders
from agents.worker.default_list import DefaultListWriter, StoredList, _stored, default_list
from schemas import wire
from schemas.events import from_unix_ms, unix_ms
from schemas.ids import ItemId, VisitorId
from schemas.records import DEFAULT_KEY, CatalogItem, DefaultRecommendations, RecommendedItem, Sale
from schemas.rules import MerchantRule, RuleId
from serving.chain import Recommender
from serving.popular import Sighting, StreamPopularity
from serving.support import FOUNDING_VISITORS, MIN_SPAN_MS
from streams.availability_history import AvailabilityHistory
from streams.cluster.topics import TopicsError
from streams.records import Delivery, OutputRecord, delivered
from tests.agents.conftest import START_MS, OneWorker

NOW = datetime(2026, 1, 2, tzinfo=UTC)
TOPIC = "default-recommendations"


class CompactedTopic:
    """A topic as its readers see it: the latest value of each key.

    is_down: refuses records. is_slow: acknowledges none before `let_go`.
    """

    def __init__(self) -> None:
        self.latest: dict[str, DefaultRecommendations] = {}
        self.sent: list[str] = []
        self.headers: dict[str, bytes] = {}
        self.is_down = False
        self.is_slow = False
        self.pending: list[Delivery] = []

    def send(self, record: OutputRecord) -> Delivery:
        """See `RecordSink`."""
        assert record.topic == TOPIC
        assert record.key is not None
        if self.is_down:
            raise ConnectionError("no broker")
        key = record.key.decode(errors="surrogateescape")
        self.sent.append(key)
        self.headers = dict(record.headers)
        if record.value is None:
            self.latest.pop(key, None)
        else:
            self.latest[key] = wire.decode_default_recommendations(record.value)
        if self.is_slow:
            self.pending.append(Delivery(record.topic, record.key))
            return self.pending[-1]
        return delivered()

    def let_go(self, error: Exception | None = None) -> None:
        """Acknowledge what is on the way, or fail it."""
        self.is_slow = False
        while self.pending:
            self.pending.pop().settle(error)

    async def lists(self) -> dict[str, StoredList]:
        """Read the lists that there are."""
        return {
            key: StoredList(record.items, record.source, record.location, record.model_version, record.valid_until)
            for key, record in self.latest.items()
        }

    def items(self, key: str = DEFAULT_KEY) -> str:
        """Join the items of a list."""
        return "".join(item.item_id for item in self.latest[key].items)


class Writing:
    """A writer over a worker without a release, and the topic that it writes."""

    def __init__(self, worker: OneWorker) -> None:
        self.worker = worker
        self.now_ms = START_MS
        worker.recommender = replace(worker.recommender, wall_ms=lambda: self.now_ms)
        self.topic = CompactedTopic()
        self.writer = self.another_writer()
        self.visitors = 0

    def another_writer(self) -> DefaultListWriter:
        """Make the writer of another worker, or of another life of this one."""
        return DefaultListWriter(
            self.worker.recommender,
            TOPIC,
            self.topic,
            OutputHeaders("always"),
            self.worker.metrics,
            self.topic.lists,
        )

    def restart(self) -> None:
        """Forget what is popular, as a new process does; the topic stays."""
        popularity = StreamPopularity(half_life_seconds=6 * 3600, max_items=2000, max_locations=64)
        self.worker.recommender = replace(self.worker.recommender, popularity=popularity)
        self.writer = self.another_writer()

    def click(self, items: str, location: str | None = None) -> None:
        """Let each letter be clicked once, by a visitor of its own."""
        for item in items:
            self.click_once(item, location)

    def click_once(self, item: str, location: str | None, *, at_ms: int = 0) -> None:
        """Let a new visitor click."""
        self.visitors += 1
        visitor_id = VisitorId(f"visitor-{self.visitors}")
        time_ms = START_MS + at_ms
        sighting = Sighting(
            visitor_id=visitor_id,
            item_id=ItemId(item),
            location=location,
            event_time_ms=time_ms,
            arrived_ms=time_ms,
        )
        self.worker.recommender.observe(sighting)

    async def renew(self, *, is_ours: bool = True) -> list[str]:
        """Let the timer fire; gives the keys written by it."""
        before = len(self.topic.sent)
        await self.writer.renew(is_ours=lambda: is_ours)
        return self.topic.sent[before:]

    async def drop_gone(self, *, is_ours: bool = True) -> list[str]:
        """Let the worker look whether an item has gone; gives the keys written by it."""
        before = len(self.topic.sent)
        await self.writer.drop_gone(is_ours=lambda: is_ours)
        return self.topic.sent[before:]

    def describe(self, item_id: str, **fields: Any) -> None:
        """Write a record of the catalog."""
        item = CatalogItem(item_id=ItemId(item_id), **fields)
        self.worker.catalog.apply(item_id.encode(), wire.encode(item))

    def counted(self, result: str) -> float:
        """Read the counter."""
        return self.worker.count("insession_default_lists_total", result=result)


@pytest.fixture
def writing(worker: OneWorker) -> Writing:
    """Make a writer."""
    return Writing(worker)


async def test_what_is_popular_is_written_once(writing: Writing) -> None:
    """The list is what the popular tier answers; while its order stays, nothing more is written."""
    writing.click("aab")
    assert await writing.renew() == [DEFAULT_KEY]
    assert (writing.topic.items(), writing.topic.latest[DEFAULT_KEY].source) == ("ab", "popular")
    writing.click("aaab")
    assert await writing.renew() == []
    writing.click("bbbbbb")
    assert await writing.renew() == [DEFAULT_KEY]
    assert writing.topic.items() == "ba"
    assert writing.counted("written") == 2


async def test_an_unavailable_item_leaves_the_list(writing: Writing) -> None:
    """The lists pass the same filters as an answer."""
    writing.click("aab")
    await writing.renew()
    writing.worker.catalog.apply(b"b", wire.encode(CatalogItem(item_id=ItemId("b"))))
    writing.worker.catalog.apply(b"a", wire.encode(CatalogItem(item_id=ItemId("a"), available=False)))
    await writing.renew()
    assert writing.topic.items() == "b"


async def test_nothing_known_writes_nothing(writing: Writing) -> None:
    """A list is never empty: without clicks, catalog and default items there is none, and an old one stays."""
    assert await writing.renew() == []
    writing.click("a")
    await writing.renew()
    writing.worker.catalog.apply(b"a", wire.encode(CatalogItem(item_id=ItemId("a"), available=False)))
    assert await writing.renew() == []
    assert writing.topic.items() == "a"


async def test_the_catalog_gives_the_first_list(writing: Writing) -> None:
    """Before anything is popular the default tier is written, and says so."""
    writing.worker.catalog.apply(b"c", wire.encode(CatalogItem(item_id=ItemId("c"))))
    await writing.renew()
    assert (writing.topic.items(), writing.topic.latest[DEFAULT_KEY].source) == ("c", "default")


async def test_a_location_has_a_list_where_it_differs(writing: Writing) -> None:
    """A location gets a key of its own, with its name inside, unless everywhere the same is recommended."""
    writing.click("aab", "north")
    assert await writing.renew() == [DEFAULT_KEY]
    writing.click("cccc", "south")
    assert sorted(await writing.renew()) == [DEFAULT_KEY, "north", "south"]
    assert [writing.topic.items(key) for key in (DEFAULT_KEY, "north", "south")] == ["cab", "ab", "c"]
    assert writing.topic.latest["south"].location == "south"


async def test_a_location_that_is_like_the_rest_again_is_removed(writing: Writing) -> None:
    """A tombstone sends the readers back to the list that counts everywhere."""
    writing.click("a", "north")
    writing.click("bb")
    await writing.renew()
    assert sorted(writing.topic.latest) == [DEFAULT_KEY, "north"]
    writing.click("bbbba", "north")
    assert await writing.renew() == ["north"]
    assert sorted(writing.topic.latest) == [DEFAULT_KEY]
    assert writing.counted("removed") == 1


async def test_a_location_called_like_the_default_key_overwrites_nothing(writing: Writing) -> None:
    """Locations are the shop's own words; this one has no list of its own."""
    writing.click("aab")
    writing.click("c", DEFAULT_KEY)
    assert await writing.renew() == [DEFAULT_KEY]
    assert writing.topic.items() == "abc"


async def test_a_list_is_a_cloud_event_where_all_outputs_are(writing: Writing) -> None:
    """Topic, key and moment make the event's id; a tombstone is no event."""
    writing.click("a", "north")
    writing.click("bb")
    await writing.renew()
    moment_ms = unix_ms(writing.topic.latest["north"].updated_at)
    assert writing.topic.headers["ce_id"] == f"{TOPIC}-north-{moment_ms}".encode()
    assert writing.topic.headers["ce_type"] == b"insession.default-recommendation.v1"
    writing.click("bbbba", "north")
    assert await writing.renew() == ["north"]
    assert writing.topic.headers == {}


async def test_only_the_owner_writes_and_a_new_owner_writes_all(writing: Writing) -> None:
    """Without the first partition nothing is written; when it comes back, what another wrote is written over."""
    writing.click("a")
    assert await writing.renew(is_ours=False) == []
    assert await writing.renew() == [DEFAULT_KEY]
    assert await writing.renew(is_ours=False) == []
    assert await writing.renew() == [DEFAULT_KEY]


async def test_a_failed_write_is_counted_logged_and_retried(writing: Writing) -> None:
    """A broker that refuses the list never ends the worker; the next time the list is written."""
    writing.click("a")
    writing.topic.is_down = True
    with capture_logs() as logs:
        assert await writing.renew() == []
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("default_list_not_written", "warning")]
    assert writing.counted("failed") == 1
    writing.topic.is_down = False
    assert await writing.renew() == [DEFAULT_KEY]


def test_a_list_is_what_an_unknown_visitor_is_answered(worker: OneWorker) -> None:
    """The record carries what the recommender's impersonal tiers answer, and is not counted as an answer."""
    recommender: Recommender = worker.recommender
    sighting = Sighting(
        visitor_id=VisitorId("v"), item_id=ItemId("a"), location="north", event_time_ms=START_MS, arrived_ms=START_MS
    )
    recommender.observe(sighting)
    record = default_list(recommender, "north", NOW)
    assert record is not None
    assert (record.items, record.location, record.updated_at) == (recommender.impersonal("north").items, "north", NOW)
    assert worker.count("insession_answers_total", tier="popular", reason="cheap") == 0


def shop(writing: Writing) -> None:
    """Let 200 visitors click on seven items in five cities."""
    for number in range(200):
        writing.click_once(f"i{number % 7}", f"city{number % 5}")


def said(writing: Writing) -> dict[str, str]:
    """Return what all lists say."""
    return {key: writing.topic.items(key) for key in writing.topic.latest}


@pytest.mark.parametrize("has_catalog", [False, True])
async def test_invented_clicks_change_no_list(writing: Writing, *, has_catalog: bool) -> None:
    """Seventy invented locations, then invented items at ever new locations: what everybody sees stays as it is."""
    if has_catalog:
        cities = [f"city{number}" for number in range(5)]
        for number in range(7):
            item = CatalogItem(item_id=ItemId(f"i{number}"), locations=cities)
            writing.worker.catalog.apply(item.item_id.encode(), wire.encode(item))
    shop(writing)
    await writing.renew()
    before = said(writing)
    assert {"city0", "city4", DEFAULT_KEY} <= before.keys()
    for number in range(70):
        writing.click_once(f"spam{number % 3}", f"evil\n<script>{number}")
    await writing.renew()
    for number in range(256):
        writing.click_once(f"spam{number % 3}", f"evil{number}", at_ms=number * 1000)
    assert await writing.renew() == []
    assert said(writing) == before


async def test_one_visitor_counts_once(writing: Writing) -> None:
    """However often somebody clicks, two others outweigh it."""
    clicks = [("v1", "a")] * 50 + [("v2", "b"), ("v3", "b")]
    for visitor, item in clicks:
        await writing.worker.click(visitor, item_id=item)
    await writing.renew()
    assert writing.topic.items() == "ba"


async def test_what_a_release_or_a_catalog_does_not_know_is_not_listed(writing: Writing) -> None:
    """From the catalog's first record on, also what was counted before it; what it describes later is listed then."""
    writing.click("aaab")
    writing.worker.catalog.apply(b"b", wire.encode(CatalogItem(item_id=ItemId("b"))))
    writing.click("c")
    await writing.renew()
    assert writing.topic.items() == "b"
    writing.worker.catalog.apply(b"c", wire.encode(CatalogItem(item_id=ItemId("c"))))
    writing.click("ccc")
    await writing.renew()
    assert writing.topic.items() == "cb"


async def test_strangers_locations_that_are_left_are_removed_at_the_start(writing: Writing) -> None:
    """Who takes over reads the keys: what it does not list goes, but what the catalog names."""
    writing.click("a", "north")
    writing.click("bb")
    await writing.renew()
    for stranger in ("evil<script>", "evil\udcff", "south"):
        writing.topic.latest[stranger] = writing.topic.latest["north"]
    south = CatalogItem(item_id=ItemId("a"), locations=["south", "north"])
    writing.worker.catalog.apply(b"a", wire.encode(south))
    writing.writer = writing.another_writer()
    await writing.renew()
    assert writing.topic.latest.keys() == {DEFAULT_KEY, "north", "south"}
    assert {"evil<script>", "evil\udcff"} <= set(writing.topic.sent)
    assert await writing.renew() == []


async def test_keys_that_cannot_be_read_hold_up_no_list(writing: Writing) -> None:
    """The lists are written all the same, and the keys are looked at the next time."""
    writing.click("a" * FOUNDING_VISITORS)
    lists = writing.topic.lists
    writing.topic.latest["evil"] = default_list(writing.worker.recommender, None, NOW)  # type: ignore[assignment]
    writing.writer = writing.another_writer()
    writing.writer._stored_lists = unreadable
    with capture_logs() as logs:
        assert await writing.renew() == [DEFAULT_KEY]
    assert [entry["event"] for entry in logs] == ["default_lists_not_read"]
    writing.writer._stored_lists = lists
    assert await writing.renew() == ["evil"]


@pytest.mark.parametrize("valid_until", [START_MS * 1000, "2023-11-14T22:13:21"])
def test_a_list_whose_end_is_no_moment_says_nothing(valid_until: int | str) -> None:
    """Somebody else's record: microseconds, which no calendar has, or a time without a zone; no worker ends by it."""
    stored = {"items": [{"item_id": "a", "score": 1.0}], "source": "popular", "valid_until": valid_until}
    assert _stored(msgspec.json.encode(stored), msgspec.json.decode) == StoredList()


async def unreadable() -> dict[str, StoredList]:
    """Fail as a topic does that nobody may read."""
    raise TopicsError("the brokers hide it")


async def test_a_restart_believes_nobody_for_being_early(writing: Writing) -> None:
    """Where there were lists, the first visitors after a start are strangers as all later ones are."""
    shop(writing)
    await writing.renew()
    before = said(writing)
    writing.restart()
    for number in range(70):
        writing.click_once("spam", f"evil{number}", at_ms=number * 1000)
    await writing.writer.begin()
    assert await writing.renew() == []
    assert said(writing) == before
    shop(writing)
    await writing.renew()
    assert said(writing).keys() == before.keys()
    assert "spam" not in "".join(said(writing).values())


async def test_what_early_visitors_brought_up_may_get_support_later(writing: Writing) -> None:
    """It is not counted twice, and not held against a real new item that it was new just after a start."""
    shop(writing)
    await writing.renew()
    writing.restart()
    for number in range(30):
        writing.click_once("new", None, at_ms=number * MIN_SPAN_MS // 29)
        if not number:
            await writing.writer.begin()
    writing.click_once("i0", None, at_ms=MIN_SPAN_MS)
    await writing.renew()
    assert writing.topic.items() == "newi0"


async def test_a_restart_removes_no_list_before_its_visitors_came(writing: Writing) -> None:
    """With nothing counted yet all lists stay; after enough visitors those go that nobody asked for."""
    shop(writing)
    await writing.renew()
    cities = set(writing.topic.latest)
    writing.topic.latest["gone"] = writing.topic.latest["city0"]
    writing.restart()
    assert await writing.renew() == []
    assert writing.topic.latest.keys() == {*cities, "gone"}
    shop(writing)
    assert "gone" in await writing.renew()
    assert writing.topic.latest.keys() == cities


async def test_a_partition_that_goes_between_two_writes_is_not_written_for(writing: Writing) -> None:
    """A rebalance may last longer than the lease: what is not written yet is the next owner's."""
    writing.click("aab", "north")
    writing.click("cccc", "south")
    await writing.writer.renew(is_ours=lambda: not writing.topic.sent)
    assert writing.topic.sent == [DEFAULT_KEY]


async def test_what_is_sold_out_leaves_its_lists_at_once(writing: Writing) -> None:
    """Those that hold it are written, the others are not; what was left in them is what the filters leave."""
    writing.click("aab", "north")
    writing.click("ccccdd", "south")
    await writing.renew()
    assert await writing.drop_gone() == []
    for item in "abcd":
        writing.describe(item)
    assert await writing.drop_gone() == []
    writing.describe("b", available=False)
    assert await writing.drop_gone() == [DEFAULT_KEY, "north"]
    assert said(writing) == {DEFAULT_KEY: "cad", "north": "a", "south": "cd"}
    writing.describe("d", locations=["north"])
    assert await writing.drop_gone() == ["south"]
    writing.worker.catalog.apply(b"c", b"nonsense")
    writing.worker.catalog.apply(b"a", None)
    assert await writing.drop_gone() == [DEFAULT_KEY, "north", "south"]
    assert said(writing) == {DEFAULT_KEY: "d"}
    assert await writing.drop_gone() == []


async def test_what_ends_leaves_its_lists_without_a_record(writing: Writing) -> None:
    """At its moment, not before; the list says the moment."""
    writing.click("aab")
    writing.describe("a", available_until=START_MS + 1000)
    writing.describe("b")
    await writing.renew()
    assert writing.topic.latest[DEFAULT_KEY].valid_until == from_unix_ms(START_MS + 1000)
    writing.now_ms = START_MS + 999
    assert await writing.drop_gone() == []
    writing.now_ms = START_MS + 1000
    assert await writing.drop_gone() == [DEFAULT_KEY]
    assert (writing.topic.items(), writing.topic.latest[DEFAULT_KEY].valid_until) == ("b", None)


async def test_a_sale_that_ends_leaves_the_item_and_ends_the_list(writing: Writing) -> None:
    """What says that the item is on sale is over; the list that comes then holds it all the same."""
    writing.click("aab")
    writing.describe("a", sale=Sale(price=1.0, ends_at=START_MS + 1000))
    writing.describe("b")
    await writing.renew()
    assert writing.topic.latest[DEFAULT_KEY].valid_until == from_unix_ms(START_MS + 1000)
    writing.now_ms = START_MS + 1000
    assert await writing.drop_gone() == [DEFAULT_KEY]
    assert (writing.topic.items(), writing.topic.latest[DEFAULT_KEY].valid_until) == ("ab", None)


async def test_an_end_that_is_told_later_is_told_to_readers(writing: Writing) -> None:
    """Caches drop a list at its `valid_until` without us, so it must be the one that the catalog says now."""
    writing.click("aab")
    await writing.renew()
    for item in "ab":
        writing.describe(item, available_until=START_MS + 1000)
    assert await writing.drop_gone() == [DEFAULT_KEY]
    assert writing.topic.latest[DEFAULT_KEY].valid_until == from_unix_ms(START_MS + 1000)


async def test_a_list_of_which_nothing_is_left_is_removed(writing: Writing) -> None:
    """Rather none than one of items that are gone; it is written again when there is something to list."""
    writing.click("a")
    writing.describe("a")
    await writing.renew()
    writing.describe("a", available=False)
    assert await writing.drop_gone() == [DEFAULT_KEY]
    assert (said(writing), writing.counted("removed")) == ({}, 1)
    writing.describe("a")
    assert await writing.renew() == [DEFAULT_KEY]


async def test_lists_of_an_earlier_life_are_cut(writing: Writing) -> None:
    """Before anything is popular again nothing better is known, and what is gone leaves them all the same."""
    shop(writing)
    for number in range(7):
        writing.describe(f"i{number}")
    await writing.renew()
    before = said(writing)
    writing.restart()
    await writing.writer.begin()
    writing.describe("i3", available=False)
    assert sorted(await writing.drop_gone()) == sorted(before)
    assert said(writing) == {key: items.replace("i3", "") for key, items in before.items()}


@pytest.mark.parametrize("spelled", [START_MS + 1000, "2023-11-14T22:13:21Z"])
async def test_a_list_of_an_earlier_life_holds_until_what_it_says(writing: Writing, spelled: Any) -> None:
    """In JSON a text, in Avro a number: where it is right nothing is written."""
    stored = {"items": [{"item_id": "a", "score": 1.0}], "source": "popular", "valid_until": spelled}
    writing.writer._stored_lists = lambda: asyncio.sleep(0, {DEFAULT_KEY: msgspec.convert(stored, StoredList)})
    writing.describe("a", available_until=START_MS + 1000)
    assert await writing.drop_gone() == []
    writing.now_ms = START_MS + 1000
    assert await writing.drop_gone() == [DEFAULT_KEY]


async def test_a_new_owner_watches_over_the_lists_of_the_last_one(writing: Writing) -> None:
    """From its first look on, long before it writes lists of its own."""
    writing.click("aab")
    writing.describe("a")
    writing.describe("b")
    await writing.renew()
    writing.writer = writing.another_writer()
    assert await writing.drop_gone(is_ours=False) == []
    writing.describe("a", available=False)
    assert await writing.drop_gone(is_ours=False) == []
    assert await writing.drop_gone() == [DEFAULT_KEY]
    assert writing.topic.items() == "b"


async def test_a_worker_that_comes_back_watches_over_what_another_wrote(writing: Writing) -> None:
    """What it wrote itself is of no account: another had its turn meanwhile, if only for a moment."""
    writing.click("aab")
    for item in "abc":
        writing.describe(item)
    await writing.renew()
    await writing.drop_gone(is_ours=False)
    other = [RecommendedItem(ItemId(item), 1.0) for item in "cb"]
    writing.topic.latest[DEFAULT_KEY] = DefaultRecommendations(items=other, source="popular", updated_at=NOW)
    writing.describe("c", available=False)
    assert await writing.drop_gone() == [DEFAULT_KEY]
    assert writing.topic.items() == "b"


async def test_a_thousand_records_write_a_list_once(writing: Writing) -> None:
    """However many come between two looks: readers of the topic do not see each of them."""
    items = [f"i{number}" for number in range(100)]
    for item in items:
        writing.click_once(item, None)
        writing.describe(item)
    await writing.renew()
    for number in range(1000):
        writing.describe(items[number % 90], available=False)
    assert await writing.drop_gone() == [DEFAULT_KEY]
    assert {item.item_id for item in writing.topic.latest[DEFAULT_KEY].items} == set(items[90:])


async def test_a_list_that_could_not_be_written_is_tried_again_after_a_second(writing: Writing) -> None:
    """And not ten times a second: brokers that are down get neither load nor a log full of warnings."""
    writing.click("ab")
    writing.describe("a")
    writing.describe("b")
    await writing.renew()
    writing.describe("a", available=False)
    writing.topic.is_down = True
    with capture_logs() as logs:
        for _ in range(9):
            assert await writing.drop_gone() == []
    assert [entry["event"] for entry in logs] == ["default_list_not_written"]
    writing.topic.is_down = False
    writing.now_ms += 1000
    assert await writing.drop_gone() == [DEFAULT_KEY]
    assert writing.topic.items() == "b"


async def test_nobody_waits_for_brokers_that_are_slow(writing: Writing) -> None:
    """An item that goes while its list is on the way leaves it with the next one; of one list four are on the way."""
    writing.click("ab")
    writing.describe("a")
    writing.describe("b")
    writing.topic.is_slow = True
    await writing.renew()
    written = list[list[str]]()
    for number in range(6):
        writing.describe("ba"[number % 2], available=False)
        writing.describe("ab"[number % 2])
        written.append(await writing.drop_gone())
    assert written == [*[[DEFAULT_KEY]] * 3, *[[]] * 3]
    writing.topic.let_go()
    assert await writing.drop_gone() == [DEFAULT_KEY]
    assert writing.topic.items() == "b"


async def test_a_list_that_the_brokers_did_not_take_is_written_again(writing: Writing) -> None:
    """Until then what was there before is what readers see."""
    writing.click("ab")
    writing.describe("a")
    writing.describe("b")
    await writing.renew()
    writing.topic.is_slow = True
    writing.describe("a", available=False)
    assert await writing.drop_gone() == [DEFAULT_KEY]
    with capture_logs() as logs:
        writing.topic.let_go(ConnectionError("no broker"))
    assert [entry["event"] for entry in logs] == ["default_list_not_written"]
    assert (await writing.drop_gone(), writing.counted("failed")) == ([], 1)
    writing.now_ms += 1000
    assert await writing.drop_gone() == [DEFAULT_KEY]


async def test_a_tombstone_that_the_brokers_did_not_take_is_written_again(writing: Writing) -> None:
    """A location's own list would stay for ever."""
    writing.click("a", "north")
    writing.click("bb")
    await writing.renew()
    writing.topic.is_slow = True
    writing.click("bbbba", "north")
    assert await writing.renew() == ["north"]
    writing.topic.let_go(ConnectionError("no broker"))
    assert await writing.renew() == ["north"]


async def test_lists_obey_a_rule_at_once_and_its_end(writing: Writing) -> None:
    """Not within the minute after which lists are renewed: put, changed, over or removed."""
    writing.click("abc")
    writing.click("ab")
    await writing.renew()
    assert writing.topic.items() == "abc"
    writing.worker.put("r", "block", items=["a"], ends_at=from_unix_ms(START_MS + 5_000))
    assert await writing.drop_gone() == [DEFAULT_KEY]
    assert writing.topic.items() == "bc"
    writing.worker.put("p", "pin", items=["c"], position=1)
    await writing.drop_gone()
    assert writing.topic.items() == "cb"
    assert writing.topic.latest[DEFAULT_KEY].items[0].rule == "p"
    assert await writing.drop_gone() == []
    writing.now_ms += 5_000
    await writing.drop_gone()
    assert writing.topic.items() == "cab"
    writing.worker.rules.apply(b"p", None)
    await writing.drop_gone()
    assert writing.topic.items() == "abc"


async def test_a_place_that_a_rule_names_has_a_list_while_it_does(writing: Writing) -> None:
    """Nobody has clicked there yet; a rule that changes nothing there makes no list."""
    writing.click("abc")
    await writing.renew()
    writing.worker.put("r", "block", items=["a"], where=["nl/ams"])
    writing.worker.put("s", "block", items=["z"], where=["be"])
    assert await writing.drop_gone() == ["nl/ams"]
    assert (writing.topic.items("nl/ams"), writing.topic.items()) == ("bc", "abc")
    writing.worker.rules.apply(b"r", None)
    assert await writing.drop_gone() == ["nl/ams"]
    assert list(writing.topic.latest) == [DEFAULT_KEY]


async def test_rules_do_not_make_a_worker_write_before_it_knows_what_is_popular(writing: Writing) -> None:
    """The lists of the worker before stay until this one's turn."""
    writing.click("abc")
    await writing.renew()
    writing.restart()
    writing.worker.put("r", "block", items=["a"])
    assert await writing.drop_gone() == []


@pytest.mark.parametrize("seed", range(30))
async def test_no_list_holds_what_has_been_gone_for_a_second(writing: Writing, seed: int) -> None:
    """Whatever the shop says when, whoever clicks and whichever worker writes: answers hold nothing that is gone."""
    dice, history = Random(seed), AvailabilityHistory()
    items, places = [f"i{number}" for number in range(30)], ["nl", "nl/nh", "nl/nh/ams", "be", None]

    def tell(item: str) -> None:
        at_ms = writing.now_ms
        fields: dict[str, Any] = dice.choice(
            [
                {},
                {},
                {"available": False},
                {"available_until": at_ms + dice.randrange(3_000)},
                {"available_from": at_ms + dice.randrange(2_000)},
                {"locations": [dice.choice(["nl", "nl/nh", "be"])]},
                {"sale": Sale(price=1.0, ends_at=at_ms + dice.randrange(1, 3_000))},
            ]
        )
        value = wire.encode(CatalogItem(item_id=ItemId(item), **fields))
        value = dice.choice([value] * 8 + [b"nonsense", None])
        history.take(writing.worker.catalog.apply(item.encode(), value, at_ms), at_ms)

    for item in items:
        writing.describe(item)
        writing.click_once(item, dice.choice(places))
    for step in range(300):
        for _ in range(dice.randrange(4)):
            tell(dice.choice(items))
        for _ in range(dice.randrange(3)):
            writing.click_once(dice.choice(items), dice.choice(places), at_ms=writing.now_ms - START_MS)
        place = dice.choice(places)
        answer = writing.worker.recommender.impersonal(place)
        assert history.gone([item.item_id for item in answer.items], place, writing.now_ms, -1) == []
        if dice.random() < 0.02:
            writing.writer = writing.another_writer()
        if step % 100 == 10:
            await writing.renew()
        await writing.drop_gone()
        for shown in writing.topic.latest.values():
            items_of = [item.item_id for item in shown.items]
            assert history.gone(items_of, shown.location, writing.now_ms, -1) == []
            end_ms = writing.worker.catalog.earliest_end_ms(items_of, shown.location, writing.now_ms)
            assert shown.valid_until == (None if end_ms is None else from_unix_ms(end_ms))
        writing.now_ms += dice.randrange(1, 300)
    assert len(writing.topic.sent) > 20


async def test_a_block_reaches_the_lists_once_the_brokers_are_back(writing: Writing) -> None:
    """The lists that they refused meanwhile are made again, at once and not with the next renewal."""
    writing.click("aaab")
    await writing.renew()
    await writing.drop_gone()
    writing.worker.rules.apply(
        b"r", wire.encode(MerchantRule(rule_id=RuleId("r"), action="block", items=(ItemId("a"),)))
    )
    writing.topic.is_down = True
    writing.now_ms += 100
    await writing.drop_gone()
    writing.topic.is_down = False
    for _ in range(20):
        writing.now_ms += 100
        await writing.drop_gone()
    assert writing.topic.items() == "b"


async def test_a_sale_that_begins_says_at_once_until_when_the_list_is_valid(writing: Writing) -> None:
    """Though no record of the catalog comes at that moment."""
    begins, ends = START_MS + 60_000, START_MS + 120_000
    writing.describe("a", sale=Sale(price=1, starts_at=begins, ends_at=ends))
    writing.describe("b")
    writing.click("aab")
    await writing.renew()
    await writing.drop_gone()
    assert writing.topic.latest[DEFAULT_KEY].valid_until is None
    writing.now_ms = begins
    assert await writing.drop_gone() == [DEFAULT_KEY]
    assert writing.topic.latest[DEFAULT_KEY].valid_until == from_unix_ms(ends)
    writing.now_ms = ends
    assert await writing.drop_gone() == [DEFAULT_KEY]
    assert writing.topic.latest[DEFAULT_KEY].valid_until is None
