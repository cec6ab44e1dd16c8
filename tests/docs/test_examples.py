import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from schemas import wire
from schemas.ids import EventId, ItemId, VisitorId
from schemas.records import (
    DEFAULT_KEY,
    TRENDING_KEY,
    DefaultRecommendations,
    RecommendationSet,
    RecommendedItem,
    Status,
    TrendingItem,
)
from streams.cluster.producers import producer_config
from streams.cluster.topics import Topic, topic_specs
from tests.builders.trending import listing
from tests.conftest import KafkaTopics
from tests.docs.example_program import BUILDERS, ExampleProgram

pytestmark = pytest.mark.kafka

NOW = datetime.now(UTC)
HOUR_MS = 3_600_000
ODD_VISITOR = "v ü&=1"


class Topics:
    """The topics that an example reads."""

    def __init__(self, topics: KafkaTopics) -> None:
        self.settings = topics.settings
        self.brokers = topics.brokers
        self._producer = Producer(producer_config({"bootstrap.servers": topics.brokers}, client_id="test"))
        read = (Topic.RECOMMENDATIONS, Topic.DEFAULT_RECOMMENDATIONS, Topic.TRENDING)
        names = [self.settings.name(topic) for topic in read]
        topics.create([spec for spec in topic_specs(self.settings) if spec.name in names])

    def answer(
        self,
        visitor: str,
        offset: int,
        items: str,
        *,
        status: Status = "answered",
        age_ms: int = 0,
        partition: int = 0,
        valid_until: datetime | None = None,
    ) -> None:
        """Write the answer to an input offset; each letter is an item, a capital is owed to the small one."""
        record = RecommendationSet(
            id=f"{self.settings.name(Topic.CLICKSTREAM)}-{partition}-{offset}",
            status=status,
            visitor_id=VisitorId(visitor),
            event_id=EventId("e"),
            event_time=NOW,
            items=ranked(items),
            valid_until=valid_until,
        )
        self.write(Topic.RECOMMENDATIONS, visitor, wire.encode(record), age_ms=age_ms, partition=partition)

    def default(self, key: str, items: str, valid_until: datetime | None = None) -> None:
        """Write a default list; without items a tombstone."""
        record = DefaultRecommendations(items=ranked(items), source="popular", updated_at=NOW, valid_until=valid_until)
        self.write(Topic.DEFAULT_RECOMMENDATIONS, key, wire.encode(record) if items else None)

    def trending(self, key: str, items: str, rising: str = "") -> None:
        """Write what is viewed at a place; of `rising` the first rises most. Without items a tombstone."""
        listed = [
            TrendingItem(ItemId(one), 0.1, 1.0, 3, rising=0.5 / (1 + rising.index(one)) if one in rising else 0.0)
            for one in items
        ]
        record = listing(listed, NOW, location=None if key == TRENDING_KEY else key)
        self.write(Topic.TRENDING, key, wire.encode(record) if items else None)

    def write(self, topic: Topic, key: str, value: bytes | None, *, age_ms: int = 0, partition: int = 0) -> None:
        """Write a record whose timestamp is `age_ms` ago."""
        timestamp = time.time_ns() // 1_000_000 - age_ms
        self._producer.produce(
            self.settings.name(topic), key=key.encode(), value=value, partition=partition, timestamp=timestamp
        )

    def flush(self) -> None:
        """Wait until the broker has all that was written."""
        assert self._producer.flush(30) == 0


def ranked(items: str) -> list[RecommendedItem]:
    """Return an item a letter."""
    because = {item: ItemId(item.lower()) for item in items if item.isupper()}
    return [RecommendedItem(ItemId(item), 1.0, because=because.get(item)) for item in items]


def write_everything(topics: Topics) -> None:
    """Write what a week may bring: repeats, all kinds of statuses, tombstones, old answers, nonsense."""
    topics.answer("v1", 0, "ab")
    topics.answer("v1", 1, "bc")
    topics.answer("v1", 0, "ab")  # a repeat, after a crash
    topics.answer("old", 2, "o", age_ms=2 * HOUR_MS)
    topics.answer("v2", 3, "x")
    topics.answer("v2", 4, "p", status="late")
    topics.answer("v2", 5, "", status="duplicate")
    topics.answer("v3", 6, "y")
    topics.answer("v3", 7, "p", status="no_consent")
    topics.answer("v4", 8, "z")
    topics.write(Topic.RECOMMENDATIONS, "v4", None)
    topics.write(Topic.RECOMMENDATIONS, "v5", b'{"id": ')
    topics.write(Topic.RECOMMENDATIONS, "v5", b'{"id": "nonsense", "status": "answered", "items": []}')
    topics.answer(ODD_VISITOR, 0, "q", partition=1)  # another partition counts its own offsets
    topics.default(DEFAULT_KEY, "d")
    topics.default(DEFAULT_KEY, "de")
    topics.default("Oslo", "o")
    topics.default("Bergen", "b")
    topics.default("Bergen", "")
    topics.default("nl", "n")
    topics.default("nl/nh", "g", valid_until=NOW - timedelta(minutes=1))
    topics.default("nl/nh/ams", "a", valid_until=NOW + timedelta(hours=1))
    topics.answer("over", 10, "w", partition=1, valid_until=NOW - timedelta(minutes=1))
    topics.answer("valid", 11, "Vw", partition=1, valid_until=NOW + timedelta(hours=1))
    topics.trending(TRENDING_KEY, "abc", rising="c")
    topics.trending("nl", "ghi")
    topics.trending("nl/nh", "xyz", rising="zx")
    topics.trending("be", "k")
    topics.trending("be", "")
    topics.write(Topic.TRENDING, "nl", b'{"items": [{"item_id": 7')
    topics.write(Topic.TRENDING, "nl", b'{"location": "nl"}')
    topics.trending("last", "m")
    topics.answer("last", 9, "l")
    topics.default("last", "m")
    topics.flush()


SHOWN = [
    ("v1", "", "visitor", "bc"),
    ("v2", "Oslo", "visitor", "x"),
    (ODD_VISITOR, "", "visitor", "q"),
    ("v3", "", "default", "de"),
    ("v4", "Oslo", "default", "o"),
    ("v5", "Bergen", "default", "de"),
    ("old", "", "default", "de"),
    ("nobody", "Paris", "default", "de"),
    ("nobody", "nl/nh/ams/west", "default", "a"),
    ("nobody", "nl/nh/ams", "default", "a"),
    ("nobody", "nl/nh/haarlem", "default", "n"),
    ("nobody", "nlx", "default", "de"),
    ("over", "nl", "default", "n"),
    ("valid", "nl", "visitor", "Vw"),
]


@pytest.fixture(scope="module", params=BUILDERS)
def command(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Build an example."""
    return BUILDERS[request.param](tmp_path_factory.mktemp("example") / "build")


@pytest.fixture
def topics(kafka_topics: Callable[..., KafkaTopics]) -> Topics:
    """Make the topics."""
    return Topics(kafka_topics(partitions=2))


@pytest.fixture
def example(command: Sequence[str], topics: Topics, tmp_path: Path) -> Iterator[ExampleProgram]:
    """Run an example over topics in which everything has been written."""
    write_everything(topics)
    options = {"brokers": topics.brokers, "prefix": topics.settings.prefix, "port": "0", "ttl-minutes": "30"}
    given = [part for name, value in options.items() for part in (f"--{name}", value)]
    program = ExampleProgram([*command, *given], tmp_path / "example.log")
    yield program
    program.close()


def shown(example: ExampleProgram, visitor: str, location: str = "") -> tuple[str, str]:
    """Ask what a visitor is shown: the source and the items."""
    answer: Any = example.get("/recommendations", visitor=visitor, location=location)
    return answer["source"], "".join(answer["items"])


TRENDING = [
    ("nl/nh/ams", "nl/nh", "xyz", "zx"),
    ("nl/ut", "nl", "ghi", ""),
    ("be", TRENDING_KEY, "abc", "c"),
    ("", TRENDING_KEY, "abc", "c"),
]
"""Asked for, the place that has a list, what is viewed there, what rises."""


def trending(example: ExampleProgram, location: str = "") -> tuple[str, str, str]:
    """Ask what is viewed at a place: whose list it is, the items, those that rise."""
    answer: Any = example.get("/trending", location=location)
    return answer["place"], "".join(answer["items"]), "".join(answer["rising"])


def test_an_example_shows_the_latest_answer_or_a_default_list(example: ExampleProgram, topics: Topics) -> None:
    """All make the same of repeats, consent, tombstones, places, ends and nonsense, and follow what comes later."""
    last = [("last", ""), ("nobody", "last"), (ODD_VISITOR, "")]
    expected = [("visitor", "l"), ("default", "m"), ("visitor", "q")]
    example.wait_until(lambda: [shown(example, *asked) for asked in last] == expected, "it had read two topics")
    example.wait_until(lambda: trending(example, "last") == ("last", "m", ""), "it had read the third")
    answers = [(visitor, location, *shown(example, visitor, location)) for visitor, location, *_ in SHOWN]
    assert answers == SHOWN
    assert example.get("/stats") == {"repeated": 1}
    assert example.get("/recommendations", visitor="valid")["because"] == {"V": "v"}
    assert example.get("/recommendations", visitor="nobody")["because"] == {}
    assert [(asked, *trending(example, asked)) for asked, *_ in TRENDING] == TRENDING

    topics.answer("v1", 10, "n")
    topics.default(DEFAULT_KEY, "f")
    topics.trending("nl/nh", "")
    topics.flush()
    live = [("visitor", "n"), ("default", "f")]
    example.wait_until(lambda: [shown(example, who) for who in ("v1", "nobody")] == live, "it followed the topics")
    example.wait_until(lambda: trending(example, "nl/nh") == ("nl", "ghi", ""), "it followed the third")
    assert example.end() in {0, 143}  # a JVM that is told to end says so by 128 + 15
