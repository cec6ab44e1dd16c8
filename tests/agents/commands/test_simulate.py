import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner
from confluent_kafka import Producer

from agents.commands.simulate import command
from agents.upkeep.simulation import EVENTS_PER_SESSION, Simulation, shop_for
from schemas.click_reader import ClickReader, Clicks
from schemas.mapping import FieldMapping
from streams.cluster.partitioner import placement
from streams.cluster.topic_reader import TopicReader
from streams.cluster.topics import Topic, TopicsError, TopicSettings
from streams.local.embedded_broker import PARTITIONS, EmbeddedBroker
from streams.records import InputRecord
from streams.tools.sender import Sender


@pytest.fixture(scope="module")
def brokers() -> Iterator[str]:
    """Share an embedded broker with both topics, which it makes when it is asked for."""
    with EmbeddedBroker() as broker:
        for topic in (Topic.CLICKSTREAM, Topic.CATALOG):
            Producer({"bootstrap.servers": broker.address}).list_topics(topic, timeout=10)
        yield broker.address


def _read(brokers: str, topic: Topic) -> list[InputRecord]:
    with TopicReader({"bootstrap.servers": brokers}) as reader:
        return list(reader.read(topic, reader.bounds(topic)))


def _simulate(brokers: str, *arguments: str) -> Any:
    result = CliRunner().invoke(command, ["--brokers", brokers, "--items", "120", "--json", *arguments])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_clicks_and_catalog_are_what_a_worker_takes(brokers: str) -> None:
    """Every click can be read, lies on its visitor's partition and happened just now; every item is described."""
    told = _simulate(brokers, "--rate", "400", "--duration", "0.5")
    clicks = _read(brokers, Topic.CLICKSTREAM)
    assert told["events"] == len(clicks) == sum(told["by_type"].values()) > 0
    assert told["was_interrupted"] is False
    assert placement(clicks, PARTITIONS).misplaced == 0
    now_ms = time.time() * 1000
    reader = ClickReader(FieldMapping())
    for click in clicks:
        clicked = reader.read(click.key, click.value, click.time_ms)
        assert isinstance(clicked, Clicks), clicked
        (event,) = clicked.events
        assert event.event_time_ms <= click.time_ms + 1
        assert now_ms - event.event_time_ms < 3_600_000
    items = {click.key for click in _read(brokers, Topic.CATALOG)}
    assert len(items) == told["catalog_items"] <= 120


def test_the_rate_is_not_exceeded(brokers: str) -> None:
    """However fast the broker is; events are due one by one, the first at once."""
    settings = shop_for(50, 7, 120)
    simulation = Simulation(settings, TopicSettings(), Sender({"bootstrap.servers": brokers}, client_id="test"))
    asked: list[float] = []

    def is_over(seconds: float) -> bool:
        asked.append(seconds)
        return seconds >= 0.4

    simulation.run(50, is_over, lambda _: None)
    assert 1 <= simulation.sent.events <= 50 * 0.4 + 1
    assert simulation.sent.seconds >= 0.4
    assert asked == sorted(asked)


def test_a_topic_that_is_missing_is_refused(brokers: str) -> None:
    """Nothing is written, not even the catalog."""
    result = CliRunner().invoke(command, ["--brokers", brokers, "--prefix", "none-", "--duration", "1"])
    assert isinstance(result.exception, TopicsError)
    assert "there is no topic none-clickstream" in str(result.exception)


@pytest.mark.parametrize("rate", [0.1, 20, 250])
def test_the_shops_clock_keeps_up_with_the_walls(rate: float) -> None:
    """As many sessions begin as the rate needs."""
    assert shop_for(rate, 7, 120).sessions_per_hour * EVENTS_PER_SESSION == pytest.approx(rate * 3600)


def test_at_a_high_rate_the_visitors_are_bounded() -> None:
    """Memory does not grow with the rate."""
    assert shop_for(100_000, 7, 120).n_visitors == 500_000


@pytest.mark.parametrize("arguments", [["--rate", "0"], ["--duration", "0"], ["--items", "1"], ["--rate", "x"]])
def test_a_wrong_option_is_wrong_usage(arguments: list[str]) -> None:
    """Click refuses it before anything is asked of a broker."""
    assert CliRunner().invoke(command, arguments).exit_code == 2
