from dataclasses import replace
from datetime import UTC, datetime

import pytest
from structlog.testing import capture_logs

from agents.clicks.output_headers import OutputHeaders
from agents.worker.default_list import DefaultListWriter, StoredList, changes, content, default_list
from schemas import wire
from schemas.events import unix_ms
from schemas.ids import ItemId, VisitorId
from schemas.records import DEFAULT_KEY, CatalogItem, DefaultRecommendations, RecommendedItem
from serving.chain import Recommender
from serving.popular import Sighting, StreamPopularity
from serving.support import FOUNDING_VISITORS, MIN_SPAN_MS
from streams.cluster.topics import TopicsError
from streams.records import Delivery, OutputRecord, delivered
from tests.agents.conftest import START_MS, OneWorker

NOW = datetime(2026, 1, 2, tzinfo=UTC)
TOPIC = "default-recommendations"


class CompactedTopic:
    """A topic as its readers see it: the latest value of each key. `is_down` refuses records."""

    def __init__(self) -> None:
        self.latest: dict[str, DefaultRecommendations] = {}
        self.sent: list[str] = []
        self.headers: dict[str, bytes] = {}
        self.is_down = False

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
        return delivered()

    async def lists(self) -> dict[str, StoredList]:
        """Read the lists that there are."""
        return {key: StoredList(items=record.items, source=record.source) for key, record in self.latest.items()}

    def items(self, key: str = DEFAULT_KEY) -> str:
        """Join the items of a list."""
        return "".join(item.item_id for item in self.latest[key].items)


class Writing:
    """A writer over a worker without a release, and the topic that it writes."""

    def __init__(self, worker: OneWorker) -> None:
        self.worker = worker
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


def test_scores_alone_are_no_change() -> None:
    """Order, source and release are what a list says; scores move with every click."""

    def record(items: str, score: float = 1.0) -> DefaultRecommendations:
        ranked = [RecommendedItem(ItemId(item), score) for item in items]
        return DefaultRecommendations(items=ranked, source="popular", updated_at=NOW)

    written = {DEFAULT_KEY: content(record("ab"))}
    assert list(changes({DEFAULT_KEY: record("ab", 0.5)}, written)) == []
    assert list(changes({DEFAULT_KEY: record("ba")}, written)) == [(DEFAULT_KEY, record("ba"))]


def test_the_list_for_everywhere_is_never_removed() -> None:
    """A location's list may go; the one under the default key stays even where nothing is known any more."""
    empty = ("popular", None, ())
    assert list(changes({}, {DEFAULT_KEY: empty, "north": empty})) == [("north", None)]


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
