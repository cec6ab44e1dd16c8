from collections.abc import Mapping

import pytest
from confluent_kafka import Uuid
from prometheus_client import CollectorRegistry

from streams.cluster.topic_watch import SeenTopic, Sighting, TopicWatch, _short_id
from streams.cluster.topics import TopicSpec
from streams.metrics import DeliveryMetrics

CLICKS = TopicSpec("clicks", 2, 1, {"cleanup.policy": "delete"}, is_the_shops=True)
ENDS = TopicSpec("ends", 2, 1, {"cleanup.policy": "delete"})
THERE: Mapping[str, SeenTopic | None] = {"clicks": SeenTopic(1, 2), "ends": SeenTopic(2, 2)}
OWNED = {"clicks": frozenset({0, 1}), "ends": frozenset({0})}


class Watched:
    """A watch over two topics of two partitions, which ends nothing."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.ended: list[str] = []
        self.watch = TopicWatch(["clicks"], DeliveryMetrics(self.registry), lambda error: self.ended.append(str(error)))
        self.watch.expect([CLICKS, ENDS], {"clicks": SeenTopic(1, 2), "ends": SeenTopic(2, 2)})

    def sees(self, owned: Mapping[str, frozenset[int]] | None = OWNED, **topics: SeenTopic | None) -> None:
        """Look once at what differs from the start."""
        self.watch.observe(Sighting({**THERE, **topics}, owned))

    def gauge(self, topic: str) -> float | None:
        """Read whether a topic has changed."""
        return self.registry.get_sample_value("insession_topic_changed", {"topic": topic})


@pytest.fixture
def watched() -> Watched:
    """Make a watch."""
    return Watched()


@pytest.mark.parametrize(
    ("name", "seen", "message"),
    [
        ("clicks", None, "clicks is missing: run `insession topics create`"),
        ("clicks", SeenTopic(1, 4), "clicks has 4 partitions and should have 2"),
        ("clicks", SeenTopic(9, 2), "topic clicks was deleted and made anew"),
        ("ends", None, "ends is missing"),
        ("ends", SeenTopic(9, 2), "topic ends was deleted and made anew"),
    ],
)
def test_a_topic_that_is_gone_anew_or_grown_ends_the_worker_at_the_second_look(
    watched: Watched, name: str, seen: SeenTopic | None, message: str
) -> None:
    """At the first the gauge tells it and the worker is not ready, so that a scrape sees it; nobody starts it again."""
    watched.sees(**{name: seen})
    assert (watched.ended, watched.gauge(name), watched.watch.trouble) == ([], 1, None)
    assert message in (watched.watch.suspicion or "")
    watched.sees(**{name: seen})
    (ended,) = watched.ended
    assert message in ended


def test_a_broker_that_does_not_know_a_topic_for_a_moment_ends_nothing(watched: Watched) -> None:
    """One that starts may not have its metadata yet."""
    watched.sees(clicks=None)
    watched.sees()
    watched.sees(clicks=None)
    assert watched.ended == []
    watched.sees()
    assert (watched.gauge("clicks"), watched.watch.suspicion, watched.watch.trouble) == (0, None, None)


def test_a_clickstream_partition_that_no_worker_has_is_told(watched: Watched) -> None:
    """Where the group is at rest, and two looks in a row find it; nobody asks of other topics."""
    watched.sees(owned={"clicks": frozenset({0})})
    assert (watched.watch.trouble, watched.watch.is_fully_owned) == (None, False)
    watched.sees(owned={"clicks": frozenset({0})})
    assert "no worker of the group has clicks-1" in (watched.watch.trouble or "")
    watched.sees(owned=None)
    assert (watched.watch.trouble, watched.watch.is_fully_owned) == (None, False)
    watched.sees()
    assert watched.watch.is_fully_owned
    assert watched.ended == []


def test_the_partitions_of_the_clickstream_are_counted(watched: Watched) -> None:
    """As the topics have them, also while they differ from what the worker reads."""
    assert watched.registry.get_sample_value("insession_clickstream_partitions") == 2
    watched.sees(clicks=SeenTopic(1, 5))
    assert watched.registry.get_sample_value("insession_clickstream_partitions") == 5


def test_ids_are_short_and_differ() -> None:
    """0 is kept for brokers that have none."""
    assert _short_id(Uuid(0, 0)) == 0
    ids = {_short_id(Uuid(1, number)) for number in range(1000)}
    assert len(ids) == 1000
    assert 0 not in ids
    assert max(ids) < 2**32
