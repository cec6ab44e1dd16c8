"""The events of every measurement: one stretch of the generated shop, the same bytes for each program."""

import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import islice
from typing import NamedTuple

from confluent_kafka import Producer

from agents.shop.settings import ShopSettings
from agents.shop.traffic import generate_events
from schemas import wire
from schemas.errors import InsessionError
from streams.cluster.producers import producer_config

BEGIN = timedelta(hours=36)
"""Into the shop's life: behind the events that the release is trained on."""
FLUSH_SECONDS = 60.0


class Click(NamedTuple):
    """One record for the clickstream."""

    key: bytes
    value: bytes


def clicks(number: int) -> list[Click]:
    """Return the first `number` events from `BEGIN` on, bots, duplicates and late ones among them."""
    events = islice(generate_events(ShopSettings(), begin=BEGIN), number)
    return [Click(event.click.visitor_id.encode(), wire.encode(event.click)) for event in events]


def preload(brokers: str, topic: str, records: Sequence[Click]) -> None:
    """Write `records` as fast as the broker takes them."""
    producer = _producer(brokers, linger_ms=20)
    for record in records:
        while True:
            try:
                producer.produce(topic, key=record.key, value=record.value)
                break
            except BufferError:
                producer.poll(0.1)
    _flush(producer)


def feed(brokers: str, topic: str, records: Sequence[Click], rate: float, on_sent: Callable[[int], object]) -> None:
    """Write `rate` records a second, each at once; `on_sent` hears how many were written.

    A record's timestamp is set here, so its way to the broker counts too.
    """
    producer = _producer(brokers, linger_ms=0)
    started = time.monotonic()
    for number, record in enumerate(records, start=1):
        while (early_seconds := started + number / rate - time.monotonic()) > 0:
            producer.poll(early_seconds)
        producer.produce(topic, key=record.key, value=record.value)
        on_sent(number)
    _flush(producer)


def _producer(brokers: str, *, linger_ms: float) -> Producer:
    broker = {"bootstrap.servers": brokers, "log_level": 2}
    return Producer(producer_config(broker, client_id="bench", linger_ms=linger_ms))


def _flush(producer: Producer) -> None:
    if left := producer.flush(FLUSH_SECONDS):
        raise InsessionError(f"{left} events did not reach the broker within {FLUSH_SECONDS:.0f} s; run again")
