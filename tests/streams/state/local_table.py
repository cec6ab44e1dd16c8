"""A table of states as a worker opens it, without brokers."""

import asyncio
import weakref
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import faust
from aiokafka.structs import RecordMetadata, TopicPartition
from faust.streams import _current_event
from faust.types import TP, Message
from prometheus_client import CollectorRegistry

from streams.metrics import DeliveryMetrics
from streams.state.fencing import Owner, owner_of
from streams.state.table import StateTable

PARTITION = 3


class Changelog:
    """Takes what the table sends in place of the brokers, from offset `end` on; `deliver` acknowledges it."""

    def __init__(self, table: StateTable, end: int) -> None:
        self.table, self.end = table, end
        self.records: list[tuple[bytes, bytes | None, Owner | None]] = []

    def deliver(self) -> None:
        """Acknowledge all that is sent, in order."""
        pending = self.table.app.producer.buffer.pending
        while not pending.empty():
            future = pending.get_nowait()
            message = future.message
            self.records.append((message.key, message.value, owner_of(message.headers)))
            at = TopicPartition(self.table.changelog_topic_name, message.partition)
            future.set_result(RecordMetadata(at.topic, at.partition, at, self.end, 0, 0, 0))
            message.callback(future)
            self.end += 1

    async def claim(self) -> set[int]:
        """Let the table claim its partition; gives what it has then."""
        return await self.delivered(self.table.claim({PARTITION}))

    async def delivered(self, claim: Coroutine[Any, Any, set[int]]) -> set[int]:
        """Acknowledge what is sent until a claim is through."""
        claiming = asyncio.ensure_future(claim)
        while not claiming.done():
            await asyncio.sleep(0)
            self.deliver()
        return await claiming

    def persisted(self) -> int | None:
        """Return how far the local table says that it holds the changelog."""
        found: int | None = self.table.data.persisted_offset(TP(self.table.changelog_topic_name, PARTITION))
        return found


@contextmanager
def opened_table(folder: Path) -> Iterator[StateTable]:
    """Open a table inside an event of partition 3; its state is recovered up to offset 41."""
    app: Any = faust.App("t", broker="kafka://127.0.0.1:1", store="rocksdb://", datadir=folder, Table=StateTable)
    app.delivery_metrics = DeliveryMetrics(CollectorRegistry())
    app.require_lease = lambda: None
    app.finalize()
    app.conf.tabledir.mkdir(parents=True, exist_ok=True)
    options = {"driver": "rocksdict", "block_cache_size": 1 << 20, "write_buffer_size": 1 << 20}
    table = app.Table("states", key_type=bytes, value_type=bytes, partitions=4, options=options)
    changelog = TP(table.changelog_topic_name, PARTITION)
    app.tables.recovery.active_highwaters[changelog] = 41
    app.tables.recovery.active_offsets[changelog] = 40  # of before: the recovery had nothing to read
    table.data.set_persisted_offset(changelog, 41)
    table._verified_source_topics_for_partitions.add("clicks")
    message = Message("clicks", PARTITION, 0, 0.0, 0, None, b"v", b"{}", None)
    event = faust.Event(app, b"v", b"{}", None, message)
    token = _current_event.set(weakref.ref(event))
    yield table
    _current_event.reset(token)
