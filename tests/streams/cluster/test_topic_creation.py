"""Making topics: what `create` waits for before it says that they are there."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from streams.cluster import patience, topic_creation
from streams.cluster.topic_creation import await_usable, create
from streams.cluster.topics import TopicsError, TopicSpec

SPEC = TopicSpec("clickstream", 2, 1, {"cleanup.policy": "delete"})


class SlowCluster:
    """A cluster on which somebody else makes the topic at this moment; not at once is it shown, and its leaders lead.

    exists: it did before. led_after: questions about leaders until they lead.
    """

    def __init__(self, *, exists: bool = False, led_after: int = 2) -> None:
        self.looks = 2 if exists else 0
        self.asked = 0
        self._led_after = led_after

    def create_topics(self, wanted: Sequence[Any], **_: float) -> dict[str, Future[None]]:
        """Refuse each topic as existing."""
        refused: Future[None] = Future()
        refused.set_exception(KafkaException(KafkaError(KafkaError.TOPIC_ALREADY_EXISTS)))
        return {topic.topic: refused for topic in wanted}

    def list_topics(self, timeout: float) -> SimpleNamespace:
        """Show nothing at two looks, then both partitions."""
        assert timeout > 0
        self.looks += 1
        topic = SimpleNamespace(partitions=range(SPEC.partitions))
        return SimpleNamespace(topics={SPEC.name: topic} if self.looks > 2 else {})

    def list_offsets(self, wanted: Mapping[TopicPartition, Any], request_timeout: float) -> dict[Any, Future[int]]:
        """Answer for partition 0, and for partition 1 that its broker does not lead it, until it does."""
        assert request_timeout > 0
        assert sorted(part.partition for part in wanted) == [0, 1]
        self.asked += 1
        answers = {part: Future[int]() for part in wanted}
        for part, answer in answers.items():
            if part.partition == 1 and self.asked <= self._led_after:
                answer.set_exception(KafkaException(KafkaError(KafkaError.NOT_LEADER_FOR_PARTITION)))
            else:
                answer.set_result(0)
        return answers


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_RETRY_SECONDS", 0.0)
    monkeypatch.setattr(topic_creation, "_TIMEOUT_SECONDS", 0.3)


def test_a_topic_that_another_worker_makes_at_this_moment_is_waited_for() -> None:
    """Of two workers that start at once on a new deployment, the second waits until it sees all that the first made."""
    cluster: Any = SlowCluster()
    assert create(cluster, [SPEC]) == []
    assert (cluster.looks, cluster.asked) == (5, 3)


def test_a_topic_that_somebody_else_makes_with_other_partitions_is_not_waited_for_in_vain() -> None:
    """Once its own partitions are led the topic is there; what is different about it the check of topics says."""
    cluster: Any = SlowCluster()
    assert create(cluster, [replace(SPEC, partitions=3)]) == []
    assert (cluster.looks, cluster.asked) == (5, 3)


def test_a_topic_that_was_there_before_is_not_waited_for() -> None:
    """A broker that is away for long keeps nobody from making what is missing beside it."""
    cluster: Any = SlowCluster(exists=True)
    assert create(cluster, [SPEC]) == []
    assert cluster.asked == 0


def test_leaders_that_never_lead_are_one_error() -> None:
    """What would be written to such a partition may be lost, so nobody goes on."""
    cluster: Any = SlowCluster(led_after=1_000_000_000)
    with pytest.raises(TopicsError, match="does not show clickstream whole"):
        await_usable(cluster, {SPEC.name: 2})
