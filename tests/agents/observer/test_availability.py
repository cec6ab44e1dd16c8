from typing import Any

import msgspec
import pytest
import structlog
from prometheus_client import CollectorRegistry

from agents.observer.availability import PATIENCE_SECONDS, AvailabilityWatch, WrittenList, default_list
from agents.observer.metrics import ObserverMetrics
from schemas import wire
from schemas.catalog_mapping import OURS
from schemas.catalog_reader import CatalogReader
from schemas.events import from_unix_ms
from schemas.ids import ItemId
from schemas.places import LocationSettings
from schemas.records import CatalogItem, DefaultRecommendations, RecommendedItem
from schemas.state import InputPosition
from streams.records import InputRecord

START_MS = 1_700_000_000_000
MINUTE_MS = 60_000
TV = ItemId("tv")


@pytest.fixture(autouse=True)
def logged() -> Any:
    """Catch the log lines."""
    with structlog.testing.capture_logs() as entries:
        yield entries


class Watching:
    """A watch over a catalog of one item, at the clock of a test."""

    def __init__(self) -> None:
        self.registry, self.seconds, self.is_complete = CollectorRegistry(), 0.0, True
        metrics, reader = ObserverMetrics(self.registry), CatalogReader(OURS)
        self.watch = AvailabilityWatch(
            reader, LocationSettings(), metrics, lambda: self.is_complete, lambda: self.seconds
        )

    def say(self, at_ms: int, value: bytes | None = None, **fields: Any) -> None:
        """Write a record of the item."""
        value = value or wire.encode(CatalogItem(item_id=TV, **fields))
        self.watch.take(InputRecord(InputPosition("catalog", 0, 0), TV.encode(), value, START_MS + at_ms))

    def look(self, at_ms: int, location: str | None = None) -> None:
        """Look at an answer with the item."""
        self.watch.look(WrittenList("answer", "clickstream-0-1", [ItemId("rug"), TV], location, START_MS + at_ms))

    def wrong(self, wait_seconds: float = PATIENCE_SECONDS) -> float:
        """Wait, and return how many lists were wrong."""
        self.seconds += wait_seconds
        self.watch.settle()
        return sum(
            self.registry.get_sample_value("insession_observer_unavailable_lists_total", {"kind": kind}) or 0
            for kind in ("answer", "default_list")
        )


@pytest.mark.parametrize(("after_ms", "wrong"), [(-1, 0), (0, 0), (1_000, 0), (1_001, 1), (MINUTE_MS, 1)], ids=str)
def test_a_list_is_wrong_where_its_item_was_gone_for_more_than_a_second(after_ms: int, wrong: int) -> None:
    """A second is what a record needs to reach every worker."""
    watching = Watching()
    watching.say(0)
    watching.say(MINUTE_MS, available=False)
    watching.look(MINUTE_MS + after_ms)
    assert watching.wrong() == wrong


def test_what_brought_an_item_back_may_be_read_after_the_list() -> None:
    """The catalog and the lists are read side by side: so a doubted list is looked at again before it is counted."""
    watching = Watching()
    watching.say(0, available=False)
    watching.look(MINUTE_MS)
    assert watching.wrong(PATIENCE_SECONDS / 2) == 0
    watching.say(MINUTE_MS - 10)
    assert watching.wrong() == 0
    watching.say(2 * MINUTE_MS, available=False)
    watching.look(3 * MINUTE_MS)
    assert watching.wrong() == 1


def test_an_item_that_is_over_by_its_own_moment_is_gone() -> None:
    """No record comes then."""
    watching = Watching()
    watching.say(0, available_until=START_MS + MINUTE_MS)
    for at_ms in (MINUTE_MS, MINUTE_MS + 1_000, MINUTE_MS + 1_002):
        watching.look(at_ms)
    assert watching.wrong() == 1


def test_before_the_catalog_is_read_no_list_is_looked_at() -> None:
    """What is known of it by then may be over."""
    watching = Watching()
    watching.is_complete = False
    watching.say(0, available=False)
    watching.look(MINUTE_MS)
    watching.is_complete = True
    assert watching.wrong() == 0
    watching.look(MINUTE_MS)
    assert watching.wrong() == 1


def test_an_item_whose_record_cannot_be_decoded_accuses_nobody() -> None:
    """Its schema may not be here yet; one that says something unclear closes the item, as it does for workers."""
    watching = Watching()
    watching.say(0, available=False)
    watching.say(1, value=b"\0")
    watching.look(MINUTE_MS)
    assert watching.wrong() == 0
    watching.say(MINUTE_MS, value=b'{"item_id": "tv", "available": "perhaps"}')
    watching.look(2 * MINUTE_MS)
    assert watching.wrong() == 1


def test_a_tombstone_takes_its_item_away() -> None:
    """As it does for workers."""
    watching = Watching()
    watching.watch.take(InputRecord(InputPosition("catalog", 0, 0), TV.encode(), None, START_MS))
    watching.look(MINUTE_MS)
    assert watching.wrong() == 1


def test_many_wrong_lists_are_few_lines(logged: list[dict[str, Any]]) -> None:
    """The first, the tenth, the hundredth; the counter has each."""
    watching = Watching()
    watching.say(0, available=False)
    for _ in range(50):
        watching.look(MINUTE_MS)
    assert watching.wrong() == 50
    assert [entry["count"] for entry in logged] == [1, 10]


def shown(*, location: str | None) -> DefaultRecommendations:
    """Make a default list with the item."""
    return DefaultRecommendations(
        location=location, items=[RecommendedItem(TV, 1.0)], source="popular", updated_at=from_unix_ms(START_MS)
    )


@pytest.mark.parametrize(("location", "wrong"), [("nl/ams", 0), ("de", 1), (None, 0)])
def test_default_lists_are_looked_at_for_their_own_place(location: str | None, wrong: int) -> None:
    """In JSON or as the outputs are encoded."""
    watching = Watching()
    watching.say(0, locations=["nl"])
    value = wire.encode(shown(location=location))
    position = InputPosition("default-recommendations", 0, 0)
    for prefix in (b"", b"\0"):
        record = InputRecord(position, b"key", prefix + value, START_MS + MINUTE_MS)
        watching.watch.look(default_list(record, lambda value: msgspec.json.decode(value[1:])))
    assert watching.wrong() == 2 * wrong


@pytest.mark.parametrize("value", [b"{}", b"{", b"\0"])
def test_what_is_no_default_list_is_refused(value: bytes) -> None:
    """The view of the topic counts it."""
    record = InputRecord(InputPosition("default-recommendations", 0, 0), b"key", value, START_MS)
    with pytest.raises(msgspec.MsgspecError):
        default_list(record, msgspec.json.decode)
