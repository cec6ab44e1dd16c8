"""The one actor of a worker: reads clicks and control records, writes state, hands answers to the in-order windows."""

import time
from collections.abc import Awaitable, Sequence
from functools import partial
from typing import Any

import structlog
from faust.types import TP

from agents.pipeline import Pipeline, StateWrite
from schemas import wire
from schemas.events import Erase, Tick
from schemas.state import NEVER_MS, InputPosition, StateVersionError, read_header
from schemas.validation import Rejection
from streams.app import InsessionApp
from streams.dead_letters import InputRecord
from streams.expiry import ExpiryIndex
from streams.strict import StateTable
from streams.topics import Topic, TopicSettings
from streams.window import InOrderWindow, OutputRecord, Windows, Work

log = structlog.get_logger(__name__)

MAX_CLOSINGS_A_TICK = 1000


class SessionActor:
    """Binds the pipeline to Faust: table, windows, expiry index.

    It never awaits the model. State is written first; the answer is pending in the partition's window.
    """

    def __init__(
        self, app: InsessionApp, table: StateTable, topics: TopicSettings, pipeline: Pipeline, windows: Windows
    ) -> None:
        self._app = app
        self._table = table
        self._pipeline = pipeline
        self._windows = windows
        self._clickstream = topics.name(Topic.CLICKSTREAM)
        self._control = topics.name(Topic.SESSION_CONTROL)
        self._expiry = ExpiryIndex()

    async def run(self, stream: Any) -> None:
        """Consume both inputs; nothing a record holds can end the loop."""
        async for event in stream.noack().events():
            if not await self._app.consumer.arrived(event.message):
                continue
            record = _input_record(event.message)
            try:
                answer, written = self._take(record)
            except StateVersionError as error:
                self._app.abort(error)
            except Exception as error:
                log.exception("record_failed", record=record.position.record_id)
                answer, written = self._pipeline.rejected(record, Rejection("internal_error", repr(error))).answer(), []
            work = Work(record.position.offset, answer, written, partial(self._acknowledge, event, record.time_ms))
            await self._windows.of(record.position.topic, record.position.partition).put(work)

    async def recovered(self) -> None:
        """Build the expiry index of newly assigned partitions, and forget those that went away."""
        ours = self._table.our_partitions()
        for partition in self._expiry.partitions() - ours:
            self._expiry.drop(partition)
        for partition in sorted(ours - self._expiry.partitions()):
            items = self._table.partition_items(partition)
            self._expiry.load(partition, ((key, read_header(value)) for key, value in items))

    def due_ticks(self, now_ms: int) -> list[tuple[int, Tick]]:
        """Give a tick for each partition of ours that is caught up and has a session to end, with its partition."""
        ticks = []
        for partition in sorted(self._expiry.partitions()):
            stream_time_ms = self._expiry.stream_time_ms(partition, now_ms)
            next_offset = self._app.consumer.next_offset(TP(self._clickstream, partition))
            if stream_time_ms is None or next_offset is None or not self._expiry.has_due(partition, stream_time_ms):
                continue
            if self._app.consumer.highwater(TP(self._clickstream, partition)) == next_offset:
                ticks.append((partition, Tick(next_offset=next_offset, stream_time_ms=stream_time_ms)))
        return ticks

    def _acknowledge(self, event: Any, record_time_ms: int) -> None:
        event.ack()
        self._app.delivery_metrics.end_to_end.observe(max(0.0, time.time() - record_time_ms / 1000))

    def _take(self, record: InputRecord) -> tuple[Awaitable[Sequence[OutputRecord]], list[Awaitable[Any]]]:
        if record.position.topic == self._control:
            return self._control_record(record)
        step = self._pipeline.click(record, self._load)
        if step.write is not None:
            self._expiry.observe(record.position.partition, step.write.clock_lag_ms)
        return step.answer(), [] if step.write is None else [self._store(record.position, step.write)]

    def _control_record(self, record: InputRecord) -> tuple[Awaitable[Sequence[OutputRecord]], list[Awaitable[Any]]]:
        control = self._pipeline.control(record)
        if isinstance(control, Rejection):
            return self._pipeline.rejected(record, control).answer(), []
        if isinstance(control, Erase):
            return _given([]), [self._erase(control, record.position)]
        records, written = self._close_due(control, record.position)
        return _given(records), written

    def _close_due(self, tick: Tick, position: InputPosition) -> tuple[list[OutputRecord], list[Awaitable[Any]]]:
        """End what is due. A tick of another moment than the actor's only repeats what it once ended."""
        is_current = self._app.consumer.next_offset(TP(self._clickstream, position.partition)) == tick.next_offset
        records: list[OutputRecord] = []
        written: list[Awaitable[Any]] = []
        for key in self._expiry.take_due(position.partition, tick.stream_time_ms, MAX_CLOSINGS_A_TICK):
            stored = self._load(key)
            if stored is None:
                continue
            result = self._pipeline.tick(key, stored, position, tick.stream_time_ms if is_current else -1)
            if result is None:
                self._expiry.schedule(position.partition, key, read_header(stored).due_ms)
                continue
            write, closings = result
            written.append(self._store(position, write))
            records += closings
        return records, written

    def _erase(self, erase: Erase, position: InputPosition) -> Awaitable[Any]:
        """Write the tombstone, always: the local table may have lost the key before the changelog did."""
        key = erase.visitor_id.encode()
        tombstone = self._table.drop(key)
        self._expiry.schedule(position.partition, key, NEVER_MS)
        log.info("visitor_erased", partition=position.partition, offset=position.offset)
        return _after(self._windows.of(self._clickstream, position.partition), tombstone)

    def _load(self, key: bytes) -> bytes | None:
        stored: bytes | None = self._table.get(key)
        return stored

    def _store(self, position: InputPosition, write: StateWrite) -> Awaitable[Any]:
        self._expiry.schedule(position.partition, write.key, NEVER_MS if write.value is None else write.due_ms)
        return self._table.drop(write.key) if write.value is None else self._table.put(write.key, write.value)


async def send_ticks(actor: SessionActor, control_topic: Any) -> None:
    """Send the due ticks to their partitions; a timer calls it."""
    for partition, tick in actor.due_ticks(time.time_ns() // 1_000_000):
        await control_topic.send(value=wire.encode(tick), partition=partition)


def _input_record(message: Any) -> InputRecord:
    position = InputPosition(message.topic, message.partition, message.offset)
    headers = message.headers or ()
    return InputRecord(
        position=position,
        key=message.key,
        value=message.value,
        time_ms=round(message.timestamp * 1000),
        headers=list(headers.items() if isinstance(headers, dict) else headers),
    )


async def _after(window: InOrderWindow, tombstone: Awaitable[Any]) -> None:
    """Hold the ack of an erasure back until the visitor's earlier clicks are acknowledged: no replay may undo it."""
    await window.drained()
    await tombstone


async def _given(records: list[OutputRecord]) -> list[OutputRecord]:
    return records
