"""The live page of a real worker, on the embedded broker, with a person looking on."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from agents.demo.feeder import embedded_producer
from agents.demo.processes import DemoWorker, WorkerPlace
from schemas import wire
from schemas.events import ClickEvent
from schemas.ids import ItemId, VisitorId
from schemas.records import CatalogItem
from schemas.tracing import TraceContext, read_trace
from streams.cluster.topics import Topic
from streams.local.embedded_broker import EmbeddedBrokerProcess
from tests.browser import chromium, require_chromium

PATIENCE_SECONDS = 60
END_SECONDS = 20
CALLER = TraceContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", 1)
TITLES = {"i1": "Linen shirt", "i2": "Oak chair"}


@pytest.fixture
def broker() -> Iterator[str]:
    """Run a broker with all topics and a catalog."""
    with EmbeddedBrokerProcess() as running:
        producer = embedded_producer(running.address)
        for topic in Topic:
            producer.list_topics(topic, timeout=10)
        for item_id, title in TITLES.items():
            item = CatalogItem(item_id=ItemId(item_id), title=title)
            producer.produce(Topic.CATALOG, key=item_id.encode(), value=wire.encode(item))
        assert producer.flush(10) == 0
        yield running.address


def click(brokers: str, visitor: str, item_id: str) -> None:
    """Send one click."""
    event = ClickEvent(
        visitor_id=VisitorId(visitor),
        event_type="view",
        event_time=time.time_ns() // 1_000_000,
        item_id=ItemId(item_id),
    )
    producer = embedded_producer(brokers)
    producer.produce(Topic.CLICKSTREAM, key=visitor.encode(), value=wire.encode(event), headers=CALLER.headers())
    assert producer.flush(10) == 0


def traces(brokers: str, topic: Topic, count: int) -> set[str]:
    """Read the trace ids of the first records of an output topic."""
    config = {"bootstrap.servers": brokers, "group.id": "traces", "auto.offset.reset": "earliest"}
    consumer = Consumer(config)
    try:
        consumer.subscribe([topic])
        records = consumer.consume(count, PATIENCE_SECONDS)
        assert len(records) == count
        contexts = [read_trace(record.headers() or ())[0] for record in records]
    finally:
        consumer.close()
    return {context.trace_id for context in contexts if context is not None}


@pytest.mark.slow
def test_clicks_on_the_topic_are_sessions_on_the_page(broker: str, tmp_path: Path) -> None:
    """With titles and tiers; outputs are in the clicks' trace; and an open page does not hold up the worker's end."""
    require_chromium()
    place = WorkerPlace(
        brokers=broker,
        serving="127.0.0.1:1",
        models=tmp_path / "models",
        datadir=tmp_path / "data",
        log_path=tmp_path / "worker.log",
    )
    with DemoWorker(place) as worker, chromium() as browser:
        wait = WebDriverWait(browser, PATIENCE_SECONDS, 0.1)
        browser.get(worker.live_page)
        wait.until(lambda page: page.find_element(By.ID, "rate").text == "0.0")
        for visitor, item_id in (("anna", "i1"), ("bert", "i1"), ("anna", "i2")):
            click(broker, visitor, item_id)
        wait.until(lambda page: len(page.find_elements(By.CSS_SELECTOR, "[role=option]")) == 2)
        wait.until(lambda page: "Oak chair" in page.find_element(By.ID, "events").text)
        assert "popular" in browser.find_element(By.ID, "answer-chips").text
        assert "anna" not in browser.page_source
        assert browser.get_log("browser") == []
        for topic in (Topic.RECOMMENDATIONS, Topic.INTENT_SIGNALS):
            assert traces(broker, topic, 3) == {CALLER.trace_id}
        worker._child.send(signal.SIGTERM)
        assert worker._child.wait(END_SECONDS) == 0
