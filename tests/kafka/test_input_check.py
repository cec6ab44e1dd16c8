from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import NewTopic

from agents.settings import Settings
from agents.worker.input_check import check_topics
from streams.cluster.topic_check import check
from streams.cluster.topics import TopicsError, changelog_name, changelog_spec
from streams.settings import StreamSettings

pytestmark = pytest.mark.kafka


def _settings(topics: Any, datadir: Path) -> Settings:
    return Settings(kafka=StreamSettings(brokers=topics.brokers, datadir=datadir), topics=topics.settings)


def test_the_changelog_is_made_before_the_worker_subscribes(kafka_topics: Callable[..., Any], tmp_path: Path) -> None:
    """A first start makes the changelog, compacted and with as many partitions as the input; a second keeps it."""
    topics = kafka_topics(partitions=3)
    topics.create()
    settings = _settings(topics, tmp_path)
    for _ in range(2):
        check_topics(settings)
    spec = changelog_spec(topics.settings, changelog_name(settings.kafka, settings.topics))
    assert check(topics.admin, [spec]) == []
    assert len(topics.admin.list_topics(spec.name, timeout=10).topics[spec.name].partitions) == 3


def test_a_changelog_that_is_different_stops_the_worker(kafka_topics: Callable[..., Any], tmp_path: Path) -> None:
    """A changelog with another partition count is named, like any other topic."""
    topics = kafka_topics(partitions=3)
    topics.create()
    settings = _settings(topics, tmp_path)
    name = changelog_name(settings.kafka, settings.topics)
    made = topics.admin.create_topics([NewTopic(name, 2, 1, config={"cleanup.policy": "compact"})])
    made[name].result()
    with pytest.raises(TopicsError, match=f"{name} has 2 partitions and should have 3"):
        check_topics(settings)
