import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import msgspec
import pytest
import structlog
from prometheus_client import CollectorRegistry

from agents.observer.availability import PATIENCE_SECONDS, AvailabilityWatch
from agents.observer.metrics import ObserverMetrics
from agents.observer.observer import ALL_EVERY_SECONDS, Observer, visitor_hash
from schemas import wire
from schemas.catalog_mapping import OURS
from schemas.catalog_reader import CatalogReader
from schemas.events import from_unix_ms
from schemas.ids import EventId, ItemId, VisitorId
from schemas.places import LocationSettings
from schemas.records import CatalogItem, CountedView, RecommendationSet, RecommendedItem, Trending
from schemas.state import InputPosition
from streams.records import InputRecord, OutputRecord
from streams.trending.counts import PlaceCounts, StoredCounts
from streams.trending.fold import ReadRecord, StoredPlace
from streams.trending.snapshots import MAX_BYTES, PROGRESS_KEY, decode_place, encode_place
from tests.streams.trending.logs import DAMAGES, damaged

START_MS = 1_700_000_000_000
NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def logged() -> Any:
    """Catch the log lines."""
    with structlog.testing.capture_logs() as entries:
        yield entries


class Watched:
    """An observer between lists of records."""

    def __init__(
        self, encode: Any = wire.encode, decode: Any = None, max_places: int = 256, max_items: int = 2_000
    ) -> None:
        self.registry = CollectorRegistry()
        self.written: list[OutputRecord] = []
        self.seconds = 0.0
        metrics, places = ObserverMetrics(self.registry), LocationSettings()
        reader = CatalogReader(OURS)
        self.watch = AvailabilityWatch(reader, places, metrics, lambda: True, lambda: self.seconds)
        self.observer = Observer(
            trending="trending",
            state="observer-state",
            send=self.written.append,
            secret=b"secret",
            metrics=metrics,
            places=places,
            watch=self.watch,
            max_places=max_places,
            max_items=max_items,
            encode=encode,
            decode=decode,
        )
        self.offset = 0

    def take(self, value: bytes | None, key: bytes = b"v") -> None:
        """Take a record of `recommendations`, written long after what it counts."""
        position = InputPosition("recommendations", 0, self.offset)
        self.offset += 1
        self.observer.take(InputRecord(position, key, value, START_MS + 100 * 86_400_000))

    def erase(self, visitor: str) -> None:
        """Take the tombstone of an erased visitor; input offsets go on as if it were none."""
        self.take(None, visitor.encode())
        self.offset -= 1

    def describe(self, item: CatalogItem, time_ms: int = START_MS - 60_000) -> None:
        """Take a record of the catalog."""
        position = InputPosition("catalog", 0, 0)
        self.watch.take(InputRecord(position, item.item_id.encode(), wire.encode(item), time_ms))

    def unavailable(self) -> float:
        """Let the time of doubt pass, and return how many answers held what was gone."""
        self.seconds += PATIENCE_SECONDS
        self.observer.settle()
        return self.count("insession_observer_unavailable_lists_total", kind="answer")

    def view(self, item: str, place: str | None = None, *, visitors: int = 1, first: int = 0) -> None:
        """Let so many visitors view an item."""
        for number in range(first, first + visitors):
            self.take(wire.encode(answer(self.offset, item, place, f"v{number}")))

    def lists(self, seconds: float = 0.0) -> dict[str, list[str] | None]:
        """Publish, and return what was written."""
        self.written.clear()
        self.observer.publish(NOW, seconds)
        return self._told()

    def _told(self) -> dict[str, list[str] | None]:
        return {
            (record.key or b"").decode(): None
            if record.value is None
            else [item.item_id for item in wire.decode_trending(record.value).items]
            for record in self.written
        }

    def dropped(self, now: datetime = NOW) -> dict[str, list[str] | None]:
        """Drop what is gone from the lists, and return what was written."""
        self.written.clear()
        self.observer.drop_gone(now)
        return self._told()

    def count(self, name: str, **labels: str) -> float:
        """Read a metric."""
        return self.registry.get_sample_value(name, labels) or 0.0


def answer(offset: int, item: str, place: str | None, visitor: str, time_ms: int = START_MS) -> RecommendationSet:
    """Make the answer to a view that counts."""
    return RecommendationSet(
        id=f"clickstream-0-{offset}",
        status="answered",
        visitor_id=VisitorId(visitor),
        event_id=EventId("e"),
        event_time=from_unix_ms(START_MS),
        items=[],
        counts=[CountedView(ItemId(item), time_ms, place)],
    )


def listing(offset: int, *items: str, place: str | None = None) -> bytes:
    """Make an answer that lists items."""
    listed = [RecommendedItem(ItemId(item), 1.0) for item in items]
    return wire.encode(msgspec.structs.replace(answer(offset, "a", place, "v"), items=listed))


def as_input(records: Iterable[OutputRecord]) -> list[InputRecord]:
    """Read back what was written."""
    return [
        InputRecord(InputPosition(record.topic, 0, offset), record.key, record.value, START_MS)
        for offset, record in enumerate(records)
    ]


def test_lists_are_written_by_place_once_enough_visitors_viewed_an_item() -> None:
    """One shopper's view is nobody's business; what has not changed is not written again."""
    watched = Watched()
    watched.view("a", "nl/ams", visitors=3)
    watched.view("b", "nl/ams", visitors=2)
    watched.view("b", "nl/rot", first=7)
    assert watched.lists(1) == {"__all__": ["a", "b"], "nl": ["a", "b"], "nl/ams": ["a", "b"]}
    (everywhere,) = [wire.decode_trending(r.value) for r in watched.written if r.key == b"__all__" and r.value]
    assert everywhere.positions == {"clickstream-0": 5}
    assert everywhere.support_long == 6.0
    assert [(item.item_id, item.visitors) for item in everywhere.items] == [("a", 3), ("b", 3)]
    assert watched.lists(2) == {}
    watched.view("b", "nl/rot", visitors=2, first=8)
    assert watched.lists(3).keys() == {"__all__", "nl", "nl/rot"}


def test_everywhere_says_how_many_views_there_are_by_every_half_life() -> None:
    """Of all items together, of those that may be told by themselves; the list of a place says shares only."""
    watched = Watched()
    watched.view("a", "nl", visitors=6)
    watched.view("b", "nl", visitors=2)
    watched.lists()
    everywhere, place = (wire.decode_trending(record.value) for record in watched.written if record.value)
    assert everywhere.half_lives_seconds == (600, 1_800, 5_400, 16_200, 48_600, 145_800)
    assert everywhere.views == (8.0,) * 6
    assert [(item.item_id, item.views) for item in everywhere.items] == [("a", (6.0,) * 6)]
    assert (place.half_lives_seconds, place.views, place.items[0].views) == ((), (), ())


def test_an_item_with_too_few_visitors_at_a_place_is_told_there_as_it_is_around_it() -> None:
    """Two of nl/ams viewed `b`: it is in the list as if nobody had, and `c`, which nobody else viewed, is not."""
    watched = Watched()
    watched.view("a", "nl/ams", visitors=3)
    watched.view("b", "nl/ams", visitors=2)
    watched.view("c", "nl/ams", visitors=2)
    watched.view("b", "nl/rot", visitors=20)
    watched.lists()
    record = next(wire.decode_trending(r.value) for r in watched.written if r.key == b"nl/ams" and r.value)
    assert [(item.item_id, item.visitors, item.rising) for item in record.items] == [("b", 0, 0.0), ("a", 3, 0.0)]


@pytest.mark.parametrize("place", ["__all__", "__all__/", "__all__/x", "nl/__all__", "__all__/__all__"])
def test_no_place_has_the_key_of_everywhere(place: str) -> None:
    """A click's place is the client's to choose: it must not write everybody's list."""
    watched = Watched()
    watched.view("a", "nl", visitors=30)
    watched.view("b", place, visitors=5)
    assert watched.lists()["__all__"] == ["a", "b"]
    everywhere = [wire.decode_trending(r.value) for r in watched.written if r.key == b"__all__" and r.value]
    assert [(record.location, record.support_long) for record in everywhere] == [(None, 35.0)]


def test_an_erased_visitors_hash_is_kept_nowhere() -> None:
    """A tombstone takes it from items that too few have viewed; what is counted stays."""
    watched = Watched()
    watched.take(wire.encode(answer(0, "a", "nl", "ann")))
    watched.take(wire.encode(answer(1, "a", "nl", "bob")))
    watched.erase("ann")
    hashes = [visitor_hash(b"secret", VisitorId(name)).to_bytes(8, "little") for name in ("ann", "bob")]
    watched.written.clear()
    watched.observer.store(NOW)
    stored = [decode_place(record.value) for record in watched.written if record.value]
    assert [place.place for place in stored] == ["", "nl"]
    for place in stored:
        assert [name in place.counts.visitors for name in hashes] == [False, True]
    watched.take(wire.encode(answer(2, "a", "nl", "ann")))
    assert watched.lists().get("nl") is None
    watched.take(wire.encode(answer(3, "a", "nl", "eve")))
    assert watched.lists()["nl"] == ["a"]


def test_the_first_visitors_of_an_item_are_forgotten_after_a_month() -> None:
    """Where nobody erased them either: their place is stored without them, though nobody has viewed anything there."""
    watched = Watched()
    watched.view("rare", "nl/village", visitors=2)
    for days, is_known, is_stored in ((29, True, True), (34, False, True), (35, False, False)):
        watched.take(wire.encode(answer(watched.offset, "a", None, "v9", START_MS + days * 86_400_000)))
        watched.lists(days * ALL_EVERY_SECONDS)
        watched.written.clear()
        watched.observer.store(NOW)
        visitors = watched.observer.fold.places["nl/village"].stored().visitors
        assert bool(visitors.strip(b"\0")) is is_known
        assert (b"place:nl/village" in {record.key for record in watched.written}) is is_stored


BAD_RECORDS = {
    "an offset of too many digits": {"id": "clickstream-0-" + "9" * 5_000},
    "an offset beyond 64 bits": {"id": f"clickstream-0-{2**64}"},
    "a time before all times": {"counts": [{"item_id": "a", "time_ms": -(10**400)}]},
    "a time beyond 64 bits": {"counts": [{"item_id": "a", "time_ms": 10**30}]},
    "an item of lone surrogates": {"counts": [{"item_id": "\ud800", "time_ms": START_MS}]},
}


@pytest.mark.parametrize("bad", BAD_RECORDS)
def test_no_record_ends_the_observer(bad: str) -> None:
    """Whoever else writes to the topic; what comes behind it counts."""
    watched = Watched()
    record = {"id": "clickstream-0-0", "visitor_id": "v", "counts": []} | BAD_RECORDS[bad]
    watched.take(json.dumps(record).encode())
    watched.offset = 1
    watched.view("b", visitors=3)
    assert watched.lists() == {"__all__": ["b"]}
    watched.observer.store(NOW)
    watched.observer.store_progress()


def test_readers_hear_of_places_that_are_gone_before_those_that_are_new() -> None:
    """One that is full has room then."""
    watched = Watched(max_places=3)
    for place in ("x", "y"):
        watched.view("a", place, visitors=3)
    watched.observer.settle()
    watched.lists(1)
    watched.view("a", "new", visitors=9)
    watched.observer.settle()
    told = watched.lists(2)
    assert next(iter(told)) == "x"
    assert told["x"] is None
    assert told["new"] == ["a"]


def test_everywhere_is_written_once_a_minute_while_nothing_happens() -> None:
    """So readers know that somebody is there."""
    watched = Watched()
    watched.view("a", visitors=3)
    watched.lists(1)
    assert watched.lists(ALL_EVERY_SECONDS - 1) == {}
    assert watched.lists(ALL_EVERY_SECONDS + 1) == {"__all__": ["a"]}


def test_what_is_repeated_unreadable_or_of_an_erased_visitor_counts_nothing(logged: list[dict[str, Any]]) -> None:
    """Each is counted in the metrics by what it was."""
    watched = Watched()
    watched.view("a", visitors=3)
    for value in (wire.encode(answer(1, "a", None, "v1")), b"{", b'{"id": 1}', None):
        watched.take(value)
    watched.take(b'{"id": "clickstream-0-9", "visitor_id": "v", "items": [], "status": "late"}')
    results = ("counted", "repeated", "unreadable", "nothing")
    assert [watched.count("insession_observer_records_total", result=result) for result in results] == [3, 1, 2, 2]
    assert watched.count("insession_observer_input_gaps_total") == 6
    assert [entry["reason"] for entry in logged if entry["event"] == "recommendation_unreadable"] == [
        "DecodeError",
        "ValidationError",
    ]


def test_another_observer_goes_on_from_what_was_stored() -> None:
    """With the same lists, and a tombstone for a list of a place that is no more."""
    watched = Watched()
    watched.view("a", "nl", visitors=5)
    watched.observer.store(NOW)
    watched.observer.store_progress()
    state, follower = as_input(watched.written), Watched()
    left = [OutputRecord("trending", key, b"{}") for key in (b"nl", b"gone", b"__all__")]
    follower.observer.restore(state, as_input(left))
    assert follower.lists() == {"__all__": ["a"], "nl": ["a"], "gone": None}
    follower.offset = 4
    follower.take(wire.encode(answer(4, "a", "nl", "v9")))
    follower.take(wire.encode(answer(5, "a", "nl", "v9")))
    (counts,) = (follower.observer.fold.places["nl"].at(START_MS)[:, -1].tolist(),)
    assert counts == [6.0]


def stored_with(damage: str, *keys: bytes) -> list[InputRecord]:
    """Return what an observer stores after three views at nl, some of it damaged."""
    watched = Watched()
    watched.view("a", "nl", visitors=3)
    watched.observer.store(NOW)
    watched.observer.store_progress()
    return as_input(
        OutputRecord(one.topic, one.key, damaged(one.value or b"", damage) if one.key in keys else one.value)
        for one in watched.written
    )


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_place_is_counted_anew_and_the_others_go_on(damage: str, logged: list[dict[str, Any]]) -> None:
    """It is said, counted and gone with the next store; its list says nothing until it has visitors again."""
    follower = Watched()
    follower.observer.restore(stored_with(damage, b"place:nl"), as_input([OutputRecord("trending", b"nl", b"{}")]))
    assert follower.observer.fold.read == {0: 3}
    assert follower.count("insession_observer_damaged_snapshots_total") == 1
    (line,) = [entry for entry in logged if entry["event"] == "observer_snapshot_unreadable"]
    assert (line["key"], line["log_level"]) == ("b'place:nl'", "warning")
    assert follower.lists() == {"__all__": ["a"], "nl": None}
    follower.written.clear()
    follower.observer.store(NOW)
    assert [(one.key, one.value) for one in follower.written if one.key == b"place:nl"] == [(b"place:nl", None)]
    follower.offset = 3
    follower.view("b", "nl", visitors=1)
    counts = {name: place.at(START_MS)[:, -1].tolist() for name, place in follower.observer.fold.places.items()}
    assert counts == {"": [3.0, 1.0], "nl": [1.0]}


@pytest.mark.parametrize("damage", DAMAGES)
def test_where_everywhere_is_damaged_the_places_go_on(damage: str) -> None:
    """What they lie in is counted anew: before anything is, lists are made and written all the same."""
    follower = Watched()
    follower.observer.restore(stored_with(damage, b"place:"), [])
    follower.observer.settle()
    assert follower.lists() == {"nl": ["a"]}
    follower.offset = 3
    follower.view("b", "nl", visitors=3)
    assert follower.lists() == {"__all__": ["b"], "nl": ["b", "a"]}


@pytest.mark.parametrize("damage", DAMAGES)
def test_without_a_readable_progress_the_log_is_read_from_its_beginning(
    damage: str, logged: list[dict[str, Any]]
) -> None:
    """A place that holds inputs passes them over; one that is damaged, too, counts all of them."""
    follower = Watched()
    follower.observer.restore(stored_with(damage, b"place:nl", PROGRESS_KEY), [])
    assert follower.observer.fold.places.keys() == {""}
    assert follower.observer.fold.read == {0: 0}
    assert follower.count("insession_observer_damaged_snapshots_total") == 2
    assert [entry["event"] for entry in logged].count("observer_snapshot_unreadable") == 2
    for number in range(3):
        follower.take(wire.encode(answer(number, "a", "nl", f"v{number}")))
    assert follower.observer.fold.places[""].at(START_MS)[:, -1].tolist() == [3.0]
    assert follower.observer.fold.places["nl"].at(START_MS)[:, -1].tolist() == [3.0]


def test_a_place_whose_parts_do_not_belong_together_is_damaged(logged: list[dict[str, Any]]) -> None:
    """Though each of them can be read."""
    counts = StoredCounts(START_MS, [ItemId("a")], b"", b"")
    value = encode_place(StoredPlace("nl", {0: 3}, {"clickstream-0": 2}, counts), PlaceCounts(10))
    follower = Watched()
    follower.observer.restore(as_input([OutputRecord("observer-state", b"place:nl", value)]), [])
    assert not follower.observer.fold.places
    assert follower.count("insession_observer_damaged_snapshots_total") == 1
    assert [entry["key"] for entry in logged if entry["event"] == "observer_snapshot_unreadable"] == ["b'place:nl'"]


def test_a_clickstream_made_anew_is_counted_from_its_beginning(logged: list[dict[str, Any]]) -> None:
    """Offsets that it does not have are of the earlier one."""
    watched = Watched()
    watched.view("a", visitors=3)
    watched.observer.forget_beyond({"clickstream-0": 1})
    watched.take(wire.encode(answer(0, "a", None, "v9")))
    assert watched.count("insession_observer_records_total", result="counted") == 4
    assert watched.count("insession_observer_void_offsets_total") == 1
    assert [entry["partition"] for entry in logged if entry["event"] == "topic_made_anew"] == ["clickstream-0"]


def test_a_place_that_is_called_like_everywhere_is_none() -> None:
    """Its list would be taken for everywhere's."""
    watched = Watched()
    watched.view("a", "__all__", visitors=3)
    assert watched.observer.fold.places.keys() == {""}


def test_records_in_another_encoding_are_read() -> None:
    """As the settings of the outputs say."""
    watched = Watched(decode=lambda value: msgspec.json.decode(value[1:]))
    for number in range(3):
        watched.take(b"\0" + wire.encode(answer(number, "a", None, f"v{number}")))
    assert watched.lists() == {"__all__": ["a"]}


def test_a_visitor_is_known_by_a_keyed_hash() -> None:
    """Never by 0 or the number that stands for enough visitors."""
    hashes = {visitor_hash(b"secret", VisitorId(f"v{number}")) for number in range(100)}
    assert len(hashes) == 100
    assert visitor_hash(b"other", VisitorId("v1")) not in hashes
    assert all(0 < one < 2**64 - 1 for one in hashes)


def test_what_rose_falls_without_a_view() -> None:
    """The list is looked at once a minute, however quiet the place is."""
    watched = Watched()
    hour_ms = 3_600_000

    def take(item: str, at_ms: int, number: int, place: str) -> None:
        record = answer(watched.offset, item, place, f"v{number}")
        view = CountedView(ItemId(item), START_MS + at_ms, place)
        position = InputPosition("recommendations", 0, watched.offset)
        watched.offset += 1
        value = wire.encode(msgspec.structs.replace(record, counts=[view]))
        watched.observer.take(InputRecord(position, b"v", value, START_MS + at_ms))

    for minute in range(240):
        for number in range(5):
            take(f"i{number}", minute * 60_000, minute, "nl")
    for number in range(60):
        take("sale", 4 * hour_ms + number * 5_000, number, "nl")

    def rising() -> list[str]:
        record = next(self_made for key, self_made in published() if key == "nl")
        return [item.item_id for item in record.items if item.rising > 0]

    def published() -> Iterable[tuple[str, Trending]]:
        return [((r.key or b"").decode(), wire.decode_trending(r.value)) for r in watched.written if r.value]

    watched.lists(1)
    assert rising() == ["sale"]
    take("i1", 6 * hour_ms, 1, "de")
    watched.lists(2 + timedelta(minutes=1).total_seconds())
    assert rising() == []


def test_items_that_a_record_has_no_room_for_are_cut_loudly(logged: list[dict[str, Any]]) -> None:
    """A place with very many items would end the observer: its record would be refused."""
    watched = Watched(max_items=40_000)
    chance = Random(5)
    for number in range(30_000):
        item = chance.randbytes(48).hex()
        watched.observer.fold.apply(
            ReadRecord(f"clickstream-0-{number}", VisitorId("v"), [CountedView(ItemId(item), START_MS)]),
            0,
            number,
            START_MS,
        )
    watched.observer.store(NOW)
    kept = len(watched.observer.fold.places[""])
    assert max(len(record.value or b"") for record in watched.written) <= MAX_BYTES
    assert 0 < kept < 30_000
    assert watched.count("insession_observer_items_cut_total") == 30_000 - kept
    (line,) = [entry for entry in logged if entry["event"] == "trending_place_too_large"]
    assert (line["place"], line["items"], line["kept"]) == ("__all__", 30_000, kept)


def test_an_answer_with_an_item_that_had_been_gone_for_a_second_is_counted_once(logged: list[dict[str, Any]]) -> None:
    """However often its input is answered; one line says which record and item it was."""
    watched = Watched()
    watched.describe(CatalogItem(item_id=ItemId("gone"), available=False))
    watched.take(listing(0, "here", "gone"))
    watched.take(listing(0, "here", "gone"))
    watched.take(listing(1, "here"))
    assert watched.unavailable() == 1
    (line,) = [entry for entry in logged if entry["event"] == "unavailable_item_listed"]
    assert (line["record"], line["item_ids"], line["reason"]) == ("clickstream-0-0", ["gone"], "answer")


def test_an_answer_that_an_earlier_observer_has_looked_at_is_not_looked_at_again() -> None:
    """Though it is read again, as where a place was not stored."""
    watched, follower = Watched(), Watched()
    for one in (watched, follower):
        one.describe(CatalogItem(item_id=ItemId("gone"), available=False))
    watched.take(listing(0, "gone"))
    watched.observer.store(NOW)
    watched.observer.store_progress()
    stored = [record for record in as_input(watched.written) if record.key == PROGRESS_KEY]
    follower.observer.restore(stored, [])
    follower.take(listing(0, "gone"))
    assert follower.unavailable() == 0
    follower.take(listing(1, "gone"))
    assert follower.unavailable() == 1


def test_what_is_not_sold_where_the_answer_was_made_for_is_counted_as_gone() -> None:
    """The place is that of the views that it counts; of another answer nobody knows where it was made for."""
    watched = Watched()
    watched.describe(CatalogItem(item_id=ItemId("lamp"), locations=["nl"]))
    for offset, place in enumerate(("nl/ams", "de", None)):
        watched.take(listing(offset, "lamp", place=place))
    assert watched.unavailable() == 1


def test_what_is_gone_leaves_the_lists_at_once_and_comes_back(logged: list[dict[str, Any]]) -> None:
    """Where it cannot be had; a list of nothing else has a tombstone, and one without it is not written again."""
    watched = Watched()
    watched.view("tv", "nl/ams", visitors=5)
    watched.view("rug", "de", visitors=4)
    assert watched.lists(1) == {
        "__all__": ["tv", "rug"],
        "de": ["tv", "rug"],
        "nl": ["tv", "rug"],
        "nl/ams": ["tv", "rug"],
    }
    watched.describe(CatalogItem(item_id=ItemId("tv"), locations=["nl/ams"]))
    assert watched.dropped() == {"de": ["rug"], "nl": ["rug"]}
    watched.describe(CatalogItem(item_id=ItemId("tv"), available=False))
    assert watched.dropped() == {"__all__": ["rug"], "nl/ams": ["rug"]}
    assert watched.dropped() == {}
    watched.describe(CatalogItem(item_id=ItemId("rug"), available=False))
    assert watched.dropped() == dict.fromkeys(("__all__", "de", "nl", "nl/ams"))
    watched.describe(CatalogItem(item_id=ItemId("tv")), START_MS)
    assert watched.lists(1 + ALL_EVERY_SECONDS)["nl"] == ["tv"]
    assert logged == []


def test_an_item_leaves_the_lists_at_its_moment() -> None:
    """No record of the catalog comes then."""
    watched = Watched()
    watched.view("tv", "nl", visitors=5)
    watched.view("rug", "nl", visitors=4)
    watched.describe(CatalogItem(item_id=ItemId("tv"), available_until=NOW + timedelta(seconds=1)))
    watched.lists(1)
    assert watched.dropped() == {}
    assert watched.dropped(NOW + timedelta(seconds=1.001)) == {"__all__": ["rug"], "nl": ["rug"]}


def test_a_place_that_gave_way_to_others_is_dropped_with_its_list() -> None:
    """An item of it may go before its tombstone is written."""
    watched = Watched(max_places=2)
    watched.view("tv", "nl", visitors=3)
    watched.lists(1)
    watched.view("rug", "de", visitors=6)
    watched.observer.settle()
    watched.describe(CatalogItem(item_id=ItemId("tv"), available=False))
    assert watched.dropped() == {"__all__": ["rug"]}
    assert watched.lists(2) == {"nl": None, "de": ["rug"]}
