"""Stands in for librdkafka's producer: one batch of a partition at a time, sent from a thread of its own."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from confluent_kafka import KafkaError
from faust.types import TP

from tests.simulation.broker import Broker, Network
from tests.simulation.coordinator import BACKOFF_SECONDS
from tests.simulation.loop import current_thread

MOST_RECORDS_A_BATCH: Final = 16


@dataclass(frozen=True, slots=True)
class Report:
    """What a delivery report tells of the record."""

    at: int

    def offset(self) -> int:
        """Return where it lies; -1 = nowhere."""
        return self.at


OnDelivery = Callable[[KafkaError | None, Report], None]


@dataclass(slots=True, eq=False)
class Outgoing:
    """One record that waits for its batch, and then for its acknowledgement."""

    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]
    expires_at: float
    on_delivery: OnDelivery


@dataclass(slots=True)
class Lane:
    """What goes to one partition, in order."""

    waiting: deque[Outgoing] = field(default_factory=deque)
    is_busy: bool = False


class ProducerClient:
    """What the worker's producer asks of a `confluent_kafka.Producer`."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        process = current_thread().process
        self._broker: Broker = process.owner.broker
        self._network: Network = process.owner.network
        self._name = process.name
        self._context = self._broker.loop.context_of(process.thread("librdkafka"))
        self._timeout_seconds = config["delivery.timeout.ms"] / 1000
        self._linger_seconds = config["linger.ms"] / 1000
        self._lanes: dict[TP, Lane] = {}
        self._reports: deque[tuple[OnDelivery, KafkaError | None, Report]] = deque()
        self._unreported = 0

    def __len__(self) -> int:
        return self._unreported

    def produce(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        partition: int,
        on_delivery: OnDelivery,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> None:
        """Put a record behind those of its partition."""
        loop = self._broker.loop
        tp = TP(topic, self._broker.partition_of(key) if partition < 0 else partition)
        lane = self._lanes.setdefault(tp, Lane())
        lane.waiting.append(Outgoing(key, value, headers, loop.time() + self._timeout_seconds, on_delivery))
        self._unreported += 1
        if not lane.is_busy:
            lane.is_busy = True
            loop.create_task(self._empty(tp, lane), context=self._context.copy())

    def poll(self, _seconds: float) -> int:
        """Report what is settled."""
        reported = 0
        while self._reports:
            on_delivery, error, report = self._reports.popleft()
            self._unreported -= 1
            reported += 1
            on_delivery(error, report)
        return reported

    async def _empty(self, tp: TP, lane: Lane) -> None:
        await asyncio.sleep(self._linger_seconds)
        while lane.waiting:
            batch = [lane.waiting.popleft() for _ in range(min(len(lane.waiting), MOST_RECORDS_A_BATCH))]
            await self._send(tp, batch)
        lane.is_busy = False

    async def _send(self, tp: TP, batch: list[Outgoing]) -> None:
        """Send a batch until it is acknowledged or too old; what is too old already is not sent."""
        loop = self._broker.loop
        while (left := batch[0].expires_at - loop.time()) > 0:
            answer = asyncio.ensure_future(self._network.request(lambda: self._broker.produce(self._name, tp, batch)))
            await asyncio.wait([answer], timeout=left)
            if answer.done() and answer.exception() is None:
                settled = zip(batch, answer.result(), strict=True)
                self._reports.extend((record.on_delivery, None, Report(offset)) for record, offset in settled)
                return
            await asyncio.sleep(BACKOFF_SECONDS)
        late = KafkaError(KafkaError._MSG_TIMED_OUT)
        self._reports.extend((record.on_delivery, late, Report(-1)) for record in batch)
