"""The events of every measurement: one stretch of the generated shop, the same bytes for each program."""

import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import islice
from typing import NamedTuple

from confluent_kafka import KafkaError, Message, Producer

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
    """Write `records` as fast as the broker takes them; raises InsessionError where it does not take them all."""
    writer = _Writer(brokers, topic, linger_ms=20)
    for record in records:
        writer.write(record)
    writer.close()


def feed(brokers: str, topic: str, records: Sequence[Click], rate: float, on_sent: Callable[[int], object]) -> None:
    """Write `rate` records a second, each at once; `on_sent` hears how many were written.

    A record's timestamp is set here, so its way to the broker counts too. Raises InsessionError where the broker does
    not take them all.
    """
    writer = _Writer(brokers, topic, linger_ms=0)
    started = time.monotonic()
    for number, record in enumerate(records, start=1):
        while (early_seconds := started + number / rate - time.monotonic()) > 0:
            writer.serve(early_seconds)
        writer.write(record)
        on_sent(number)
    writer.close()


class _Writer:
    """A producer that knows what the broker did not take."""

    def __init__(self, brokers: str, topic: str, *, linger_ms: float) -> None:
        broker = {"bootstrap.servers": brokers, "log_level": 2}
        self._producer = Producer(producer_config(broker, client_id="bench", linger_ms=linger_ms))
        self._topic = topic
        self._refused: list[KafkaError] = []

    def write(self, record: Click) -> None:
        """Hand one record over, once there is room."""
        while True:
            try:
                self._producer.produce(self._topic, key=record.key, value=record.value, on_delivery=self._on_delivery)
            except BufferError:
                self.serve(0.1)
            else:
                return

    def serve(self, timeout_seconds: float) -> None:
        """Let the producer work for at most so long."""
        self._producer.poll(timeout_seconds)

    def close(self) -> None:
        """Wait until the broker has all; raises InsessionError where it does not take some."""
        left = self._producer.flush(FLUSH_SECONDS)
        if left or self._refused:
            why = f": {self._refused[0].str()}" if self._refused else f" within {FLUSH_SECONDS:.0f} s"
            raise InsessionError(f"{left + len(self._refused)} events did not reach {self._topic}{why}; run again")

    def _on_delivery(self, error: KafkaError | None, _record: Message) -> None:
        if error is not None:
            self._refused.append(error)
