"""A worker on the embedded broker obeys a rule within a second after it is put."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from confluent_kafka import Consumer, TopicPartition

from agents.commands.rules import command
from agents.demo.feeder import embedded_producer
from agents.demo.processes import DemoWorker, WorkerPlace
from schemas import wire
from schemas.events import ClickEvent
from schemas.ids import ItemId, VisitorId
from schemas.records import RecommendationSet
from streams.cluster.topics import Topic
from streams.local.embedded_broker import EmbeddedBrokerProcess

WITHIN_SECONDS = 1.0
PATIENCE_SECONDS = 60.0


@pytest.fixture
def broker() -> Iterator[str]:
    """Run a broker with all topics."""
    with EmbeddedBrokerProcess() as running:
        producer = embedded_producer(running.address)
        for topic in Topic:
            producer.list_topics(topic, timeout=10)
        yield running.address


class Shoppers:
    """Click without a pause, and see what is answered."""

    def __init__(self, brokers: str) -> None:
        self._producer = embedded_producer(brokers)
        self._consumer = Consumer({"bootstrap.servers": brokers, "group.id": "shoppers", "fetch.wait.max.ms": 20})
        partitions = (
            self._consumer.list_topics(Topic.RECOMMENDATIONS, timeout=10).topics[Topic.RECOMMENDATIONS].partitions
        )
        self._consumer.assign([TopicPartition(Topic.RECOMMENDATIONS, number, 0) for number in partitions])
        self._count = 0

    def click_until(self, does_hold: bool) -> float:
        """Click until an answer says that the rule holds or not; gives the record's timestamp, Unix seconds."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            self._click()
            for message in self._consumer.consume(100, timeout=0.02):
                answer = wire.decode_recommendation_set(message.value())
                if answer.items and is_obeyed(answer) is does_hold:
                    return float(message.timestamp()[1]) / 1000
        raise AssertionError("no answer in time")

    def _click(self) -> None:
        self._count += 1
        visitor, now_ms = f"v{self._count}", time.time_ns() // 1_000_000
        event = ClickEvent(
            visitor_id=VisitorId(visitor),
            event_type="view",
            event_time=now_ms,
            item_id=ItemId(f"i{self._count % 7}"),
        )
        self._producer.produce(Topic.CLICKSTREAM, key=visitor.encode(), value=wire.encode(event))
        self._producer.poll(0)


def is_obeyed(answer: RecommendationSet) -> bool:
    """Return whether the list is as the rule has it."""
    return answer.items[0].item_id == "sofa" and answer.items[0].rule == "spring" and answer.rules == ["spring"]


def run(brokers: str, *arguments: str, text: str | None = None) -> None:
    """Run `insession rules`."""
    told = CliRunner().invoke(command, [*arguments, "--brokers", brokers], input=text, catch_exceptions=False)
    assert told.exit_code == 0, told.output


@pytest.mark.slow
def test_a_rule_is_in_emitted_lists_within_a_second_and_out_of_them(broker: str, tmp_path: Path) -> None:
    """From the acknowledgement of its record to the first record of an answer that obeys it, and of its tombstone."""
    place = WorkerPlace(
        brokers=broker,
        serving="127.0.0.1:1",
        models=tmp_path / "models",
        datadir=tmp_path / "data",
        log_path=tmp_path / "worker.log",
    )
    rule = '{"rule_id": "spring", "action": "pin", "items": ["sofa"], "position": 1}'
    with DemoWorker(place):
        shoppers = Shoppers(broker)
        shoppers.click_until(does_hold=False)
        run(broker, "put", "-", "--unchecked", text=rule)
        put = time.time()
        assert shoppers.click_until(does_hold=True) - put < WITHIN_SECONDS
        run(broker, "remove", "spring")
        removed = time.time()
        assert shoppers.click_until(does_hold=False) - removed < WITHIN_SECONDS
