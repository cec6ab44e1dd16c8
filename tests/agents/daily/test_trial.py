"""The answers of a shadow are counted by the topic alone."""

import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from confluent_kafka import Producer

from agents.daily.trial import count_shadow_answers
from agents.settings import Settings
from streams.cluster.topics import Topic
from tests.conftest import KafkaTopics

pytestmark = pytest.mark.kafka


def test_answers_count_from_the_begin_of_the_trial(kafka_topics: Callable[..., KafkaTopics]) -> None:
    """Those of all partitions; those of a trial before do not."""
    topics = kafka_topics(partitions=2)
    topics.create()
    settings = Settings()
    settings = replace(settings, topics=topics.settings, kafka=replace(settings.kafka, brokers=topics.brokers))
    began_ms = time.time_ns() // 1_000_000
    producer = Producer({"bootstrap.servers": topics.brokers})
    for number, time_ms in enumerate((began_ms - 1000, began_ms - 1, began_ms, began_ms + 5, began_ms + 9)):
        name = topics.settings.name(Topic.SHADOW)
        producer.produce(name, b"{}", b"v", partition=number % 2, timestamp=time_ms)
    assert producer.flush(30) == 0
    assert count_shadow_answers(settings, began_ms) == 3
    assert count_shadow_answers(settings, began_ms + 10_000) == 0
