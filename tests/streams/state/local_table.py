"""A table of states as a worker opens it, without brokers."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import faust
from faust.types import TP
from prometheus_client import CollectorRegistry

from streams.fakes import ListSink
from streams.metrics import DeliveryMetrics
from streams.state.fencing import Owner, owner_of
from streams.state.table import StateTable

PARTITION = 3


class Changelog:
    """Takes what the table sends in place of the brokers, from offset `end` on; `deliver` acknowledges it."""

    def __init__(self, table: StateTable, end: int) -> None:
        self.table, self.end = table, end
        self.sink = ListSink()
        self.records: list[tuple[bytes, bytes | None, Owner | None]] = []
        table.app.producer = SimpleNamespace(deliver=self.sink.send)

    def deliver(self, count: int | None = None) -> None:
        """Acknowledge what is sent, in order: the next `count` records; None = all."""
        for _ in range(len(self.sink.records) - len(self.records) if count is None else count):
            number = len(self.records)
            record, delivery = self.sink.records[number], self.sink.deliveries[number]
            assert record.topic == self.table.changelog_topic_name
            assert record.key is not None
            self.records.append((record.key, record.value, owner_of(record.headers)))
            delivery.offset = self.end
            self.end += 1
            delivery.settle()

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

    def stored(self) -> int | None:
        """Return how far its files say so, which is what a process finds that begins now."""
        database = self.table.data._db_for_partition(PARTITION)
        found: bytes | None = database.get(self.table.data.offset_key)
        return None if found is None else int(found)


@contextmanager
def opened_table(folder: Path) -> Iterator[StateTable]:
    """Open a table whose partition 3 is recovered up to offset 41."""
    app: Any = faust.App("t", broker="kafka://127.0.0.1:1", store="rocksdb://", datadir=folder, Table=StateTable)
    app.delivery_metrics = DeliveryMetrics(CollectorRegistry())
    app.finalize()
    app.conf.tabledir.mkdir(parents=True, exist_ok=True)
    options = {"driver": "rocksdict", "block_cache_size": 1 << 20, "write_buffer_size": 1 << 20}
    table = app.Table("states", key_type=bytes, value_type=bytes, partitions=4, options=options)
    changelog = TP(table.changelog_topic_name, PARTITION)
    app.tables.recovery.active_highwaters[changelog] = 41
    app.tables.recovery.active_offsets[changelog] = 40  # of before: the recovery had nothing to read
    table.data._db_for_partition(PARTITION)
    table.data.set_persisted_offset(changelog, 41)
    yield table
