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
from agents.demo.scoreboard import Place, Report, Scoreboard, SentInput
from schemas import wire
from schemas.ids import ItemId, RuleId
from schemas.records import CatalogItem, Sale
from schemas.rules import MerchantRule
from schemas.state import InputPosition
from schemas.validation import Rejection
from streams.cluster.topics import Topic
from streams.delivery.dead_letters import dead_letter
from streams.local.embedded_broker import EmbeddedBroker
from streams.records import InputRecord
from tests.agents.demo.builders import answer, outcome, sent, signal, trending

PATIENCE_SECONDS = 20
NOW_MS = 1_767_571_200_000


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


def _has_read_all(report: Report) -> bool:
    is_trending = report.trending.items == 2 and report.trending.locations == 1
    return bool(report.sales) and is_trending and report.rules.in_force == 1


def test_what_the_shop_and_the_observer_wrote_is_read_and_what_was_counted_before_is_no_answer(
    producer: tuple[Producer, str], tmp_path: Path
) -> None:
    """An answer is held against the catalog by the timestamps of both."""
    client, address = producer
    client.produce(Topic.RECOMMENDATIONS, value=b'{"id":"history-0-0","visitor_id":"v"}', partition=0)
    assert client.flush(PATIENCE_SECONDS) == 0
    inputs: SimpleQueue[SentInput] = SimpleQueue()
    reader = Reader(address, Scoreboard(PopularItems({})), inputs, tmp_path / "copy.jsonl")
    reader.start()
    rule = MerchantRule(rule_id=RuleId("pin"), action="pin", items=(ItemId("x"),), position=1)
    sale = Sale(price=1.0, starts_at=NOW_MS, ends_at=NOW_MS + 10_000, locations=["nl"])
    for available, time_ms in ((True, NOW_MS - 10_000), (False, NOW_MS)):
        item = CatalogItem(item_id=ItemId("x"), available=available, sale=None if available else sale)
        client.produce(Topic.CATALOG, key=b"x", value=wire.encode(item), partition=0, timestamp=time_ms)
    client.produce(Topic.TRENDING, key=b"nl", value=wire.encode(trending("x", place="nl")), timestamp=NOW_MS)
    client.produce(Topic.TRENDING, key=b"__all__", value=wire.encode(trending("xy")), timestamp=NOW_MS)
    client.produce(Topic.MERCHANT_RULES, key=b"pin", value=wire.encode(rule), timestamp=NOW_MS)
    assert client.flush(PATIENCE_SECONDS) == 0
    _wait(client, lambda: _has_read_all(reader.latest.report))
    client.produce(Topic.RECOMMENDATIONS, value=wire.encode(answer("x")), partition=0, timestamp=NOW_MS + 2_000)
    inputs.put(sent(place=Place(0, 0)))
    _wait(client, lambda: reader.backlog.n_recorded == 1)
    report = reader.stop()
    assert report.records == {"answered": 1}
    assert report.unavailable_emitted == 1
    assert (report.trending.locations, report.trending.items, report.trending.age_seconds) == (1, 2, 2.0)
    assert (report.rules.in_force, report.rules.applied) == (1, 0)
