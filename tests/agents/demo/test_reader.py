"""Reading the outputs back."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue

import pytest
from confluent_kafka import Producer

from agents.demo.feeder import embedded_producer
from agents.demo.hit_rate import PopularItems
from agents.demo.reader import Reader
from agents.demo.scoreboard import Place, Scoreboard, SentInput
from schemas import wire
from schemas.state import InputPosition
from schemas.validation import Rejection
from streams.cluster.topics import Topic
from streams.delivery.dead_letters import dead_letter
from streams.local.embedded_broker import EmbeddedBroker
from streams.records import InputRecord
from tests.agents.demo.builders import answer, outcome, sent, signal

PATIENCE_SECONDS = 20


@pytest.fixture
def producer() -> Iterator[tuple[Producer, str]]:
    """Yield a producer on a broker that has the topics, and the broker's address."""
    with EmbeddedBroker() as broker:
        producer = embedded_producer(broker.address)
        for topic in Topic:
            producer.list_topics(topic, timeout=PATIENCE_SECONDS)
        yield producer, broker.address


def _wait(producer: Producer, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition() and time.monotonic() < deadline:
        producer.poll(0.01)
    assert condition()


def test_answers_signals_and_dead_letters_find_their_inputs(producer: tuple[Producer, str], tmp_path: Path) -> None:
    """Also those that are read before the broker's word on the input has come; answers are copied to the file."""
    client, address = producer
    inputs: SimpleQueue[SentInput] = SimpleQueue()
    reader = Reader(address, Scoreboard(PopularItems({})), inputs, tmp_path / "copy.jsonl")
    reader.start()
    letter = dead_letter(
        InputRecord(InputPosition(Topic.CLICKSTREAM, 1, 0), b"v", b"?", 0), Rejection("undecodable", "no JSON"), "dlq"
    )
    value = wire.encode(answer("x"))
    client.produce(Topic.RECOMMENDATIONS, value=value, partition=0)
    client.produce(Topic.INTENT_SIGNALS, value=wire.encode(signal(0.5)), partition=0)
    client.produce(Topic.OUTCOMES, value=wire.encode(outcome("clickstream-0-0", position=2)), partition=0)
    client.produce(Topic.DEAD_LETTERS, value=letter.value, headers=list(letter.headers), partition=1)
    assert client.flush(PATIENCE_SECONDS) == 0
    inputs.put(sent(place=Place(0, 0), purchase_follows=True))
    inputs.put(sent(place=Place(1, 0)))
    _wait(client, lambda: reader.backlog.n_recorded == 2)
    report = reader.stop()
    assert (report.records, report.dead_lettered, report.lost) == ({"answered": 1}, 1, 0)
    assert report.intent is not None
    assert (report.live.hit_rate, report.live.mrr, report.live.clicks) == (1.0, 0.5, 1)
    assert (tmp_path / "copy.jsonl").read_bytes() == value + b"\n"


def test_what_ends_the_thread_is_raised_where_one_asks(producer: tuple[Producer, str], tmp_path: Path) -> None:
    """A disk that refuses is no silent stop."""
    _, address = producer
    reader = Reader(address, Scoreboard(PopularItems({})), SimpleQueue(), tmp_path / "none" / "copy.jsonl")
    reader.start()
    with pytest.raises(FileNotFoundError):
        reader.stop()
