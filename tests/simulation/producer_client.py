"""Stands in for aiokafka's producer as Faust uses it: not idempotent, one batch of a partition at a time."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from aiokafka import errors
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.structs import RecordMetadata, TopicPartition
from faust.types import TP

from tests.simulation.broker import Broker, Network
from tests.simulation.consumer_client import Cluster
from tests.simulation.coordinator import BACKOFF_SECONDS
from tests.simulation.loop import current_thread

MOST_RECORDS_A_BATCH: Final = 16


@dataclass(slots=True, eq=False)
class Outgoing:
    """One record that waits for its batch, and then for its acknowledgement."""

    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]
    expires_at: float
    acknowledged: "asyncio.Future[RecordMetadata]"


@dataclass(slots=True)
class Lane:
    """What goes to one partition, in order."""

    waiting: deque[Outgoing] = field(default_factory=deque)
    is_busy: bool = False


class Produce(ProduceRequest):
    """A batch on its way. operation: what the broker does with it."""

    def __init__(self, operation: Callable[[], Any]) -> None:
        self.operation = operation


class Connection:
    """The producer's way to the broker; streams/delivery/membership.py puts itself before it."""

    def __init__(self, broker: Broker, network: Network) -> None:
        self.cluster = Cluster(broker)
        self.api_version = (2, 6)
        self._network = network

    async def ready(self, _node_id: int) -> bool:
        """Connect."""
        return True

    async def send(self, _node_id: int, request: Produce) -> Any:
        """Send a batch."""
        return await self._network.request(request.operation)


class ProducerClient:
    """What Faust asks of an AIOKafkaProducer."""

    def __init__(self, *, request_timeout_ms: int, linger_ms: int, **_options: Any) -> None:
        host = current_thread().process.owner
        self._broker: Broker = host.broker
        self._network: Network = host.network
        self._timeout_seconds = request_timeout_ms / 1000
        self._linger_seconds = linger_ms / 1000
        self._lanes: dict[TP, Lane] = {}
        self._unacknowledged: set[asyncio.Future[RecordMetadata]] = set()
        self.client = Connection(self._broker, self._network)

    async def start(self) -> None:
        """Begin."""

    async def stop(self) -> None:
        """Send what is there."""
        await self.flush()

    async def flush(self) -> None:
        """Wait until everything is acknowledged or has failed."""
        if waiting := list(self._unacknowledged):
            await asyncio.wait(waiting)

    def _partition(
        self,
        topic: str,
        partition: int | None,
        key: Any,
        value: Any,
        serialized_key: bytes | None,
        serialized_value: Any,
    ) -> int:
        del topic, key, value, serialized_value
        return self._broker.partition_of(serialized_key) if partition is None else partition

    async def send(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        partition: int | None = None,
        timestamp_ms: int | None = None,
        headers: Sequence[tuple[str, bytes]] | None = None,
    ) -> "asyncio.Future[RecordMetadata]":
        """Put a record behind those of its partition."""
        del timestamp_ms
        loop = self._broker.loop
        tp = TP(topic, self._partition(topic, partition, None, None, key, None))
        record = Outgoing(key, value, headers or (), loop.time() + self._timeout_seconds, loop.create_future())
        self._unacknowledged.add(record.acknowledged)
        record.acknowledged.add_done_callback(self._unacknowledged.discard)
        lane = self._lanes.setdefault(tp, Lane())
        lane.waiting.append(record)
        if not lane.is_busy:
            lane.is_busy = True
            loop.create_task(self._empty(tp, lane))
        return record.acknowledged

    async def _empty(self, tp: TP, lane: Lane) -> None:
        await asyncio.sleep(self._linger_seconds)
        while lane.waiting:
            batch = [lane.waiting.popleft() for _ in range(min(len(lane.waiting), MOST_RECORDS_A_BATCH))]
            await self._send(tp, batch)
        lane.is_busy = False

    async def _send(self, tp: TP, batch: list[Outgoing]) -> None:
        """Send a batch until it is acknowledged or too old."""
        client = current_thread().process.name
        while True:
            batch_sent = self.client.send(0, Produce(lambda: self._broker.produce(client, tp, batch)))
            answer = asyncio.ensure_future(batch_sent)
            left = batch[0].expires_at - self._broker.loop.time()
            await asyncio.wait([answer], timeout=max(0.0, left))
            if answer.done() and answer.exception() is None:
                for record, offset in zip(batch, answer.result(), strict=True):
                    _settle(record, tp, offset)
                return
            if self._broker.loop.time() >= batch[0].expires_at:
                for record in batch:
                    if not record.acknowledged.done():
                        record.acknowledged.set_exception(errors.KafkaTimeoutError())
                return
            await asyncio.sleep(BACKOFF_SECONDS)


def _settle(record: Outgoing, tp: TP, offset: int) -> None:
    if not record.acknowledged.done():
        metadata = RecordMetadata(tp.topic, tp.partition, TopicPartition(*tp), offset, 0, 0, 0)
        record.acknowledged.set_result(metadata)
