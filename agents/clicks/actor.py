"""The one actor of a worker: reads clicks and control records, writes state, hands answers to the in-order windows."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from types import MappingProxyType
from typing import Any, Final

import structlog
from faust.types import TP

from agents.clicks.clocks import WorkerClocks
from agents.clicks.pipeline import Pipeline
from agents.clicks.quarantine import Quarantine
from agents.clicks.step import Step, UnreadableVisitorError
from agents.clicks.visitor_states import VisitorStates
from schemas import wire
from schemas.events import Erase, Tick
from schemas.handovers import Adoption, Handover
from schemas.state import InputPosition
from schemas.validation import Rejection
from streams.app import InsessionApp
from streams.cluster.topics import Topic, TopicSettings
from streams.delivery.record_batches import MarkedValue
from streams.delivery.runs import Run
from streams.delivery.standstill import Standstill
from streams.delivery.window import InOrderWindow, Windows, Work, ready
from streams.encodings.gate import SchemaGate
from streams.records import Delivery, InputRecord, OutputRecord, RecordSink
from streams.state.table import StateTable

log = structlog.get_logger(__name__)

FURTHER_TICKS: Final = 10
"""Ticks an interval, at most, where one leaves sessions over: a partition can end five times `MAX_WRITES_A_TICK`."""
LOST_AFTER_SECONDS = 10.0
SLICE: Final = 32
"""Records that the actor takes in at one go: their states are one write, and the loop waits for them."""


class SessionActor:
    """Binds the pipeline to Faust: table, windows, expiry index.

    It never awaits the model. State is written first; the answer is pending in the partition's window.
    further: clickstreams beside the one of `topics`; a visitor's clicks lie on one partition number of them all.
    gate: holds clicks whose schema is not here; None = every click can be read at once.
    newest_record_ms: finds the timestamp of the newest click of these partitions, from which time goes on at a start.
    quarantine: keeps states that cannot be decoded; None = one of them ends the worker.
    topic_ids: by input topic, filled before the worker subscribes; see `InputPosition`.
    erased: hears of each partition from whose files a visitor is to go.
    """

    def __init__(  # noqa: PLR0913 - the parts that it binds
        self,
        app: InsessionApp,
        table: StateTable,
        topics: TopicSettings,
        pipeline: Pipeline,
        windows: Windows,
        further: Sequence[str] = (),
        *,
        gate: SchemaGate | None = None,
        clocks: WorkerClocks | None = None,
        newest_record_ms: Callable[[AbstractSet[int]], Awaitable[int | None]] | None = None,
        quarantine: Quarantine | None = None,
        topic_ids: Mapping[str, int] = MappingProxyType({}),
        erased: Callable[[int], None] = lambda _partition: None,
    ) -> None:
        self._note_erased = erased
        self._quarantine = quarantine
        self._app = app
        self._table = table
        self._pipeline = pipeline
        self._windows = windows
        self._gate = gate
        self._topic_ids = topic_ids
        self._clickstream = topics.name(Topic.CLICKSTREAM)
        self._further = tuple(further)
        self._control = topics.name(Topic.SESSION_CONTROL)
        self._states = VisitorStates(table, app.delivery_metrics)
        self._standstill = Standstill()
        self._clocks = clocks or WorkerClocks(app.delivery_metrics)
        self._newest_record_ms = newest_record_ms
        self._asking: asyncio.Task[None] | None = None
        self._at_end = set[TP]()
        self._assignments = 0

    async def run(self, stream: Any) -> None:
        """Consume all inputs, in runs; nothing a record holds can end the loop."""
        async for event in stream.noack().events():
            await self._take_run(_TakenRun(self._app.consumer, event.message))

    async def _take_run(self, taken: "_TakenRun") -> None:
        """Take in a run, slice by slice; in between, the loop sends, and hears of what was sent."""
        run, tp, topic_id = taken.run, taken.tp, self._topic_ids.get(taken.tp.topic, 0)
        window, at = self._windows.of(*tp), 0
        while at < len(run.records):
            # Before a record is confirmed: one that is let go, or went to another worker meanwhile, has not arrived.
            count = await self._readable(run, at)
            if not count or not await self._app.consumer.arrived(tp, run.offsets[at : at + count]):
                break
            end = self._app.consumer.highwater(tp)
            try:
                for record in run.records[at : at + count]:
                    if window.is_full(record.offset):
                        self._table.flush()
                        await window.room(record.offset)
                    await self._take_record(_input_record(record, tp, topic_id), end, window, taken)
                self._table.flush()
            except Exception as error:  # noqa: BLE001 - the state cannot be read or written: going on would lose it
                self._app.abort(error)
            at += count
            await asyncio.sleep(0)
        taken.close()

    async def _take_record(
        self, record: InputRecord, end: int | None, window: InOrderWindow, taken: "_TakenRun"
    ) -> None:
        answer, written = await self._taken(record, end)
        taken.left += 1
        window.put(Work(record.position.offset, answer, written, partial(self._acknowledge, taken, record)))

    async def assigned(self, _app: InsessionApp, tps: AbstractSet[TP], **_: Any) -> None:  # the signal adds itself
        """Forget what is known of partitions that went away: another worker moves on what comes back later."""
        self._assignments += 1
        self._at_end &= tps
        ours = {tp.partition for tp in tps if tp.topic == self._clickstream}
        for partition in self._states.expiry.partitions() - ours:
            self._states.close_partition(partition)

    async def recovered(self) -> None:
        """Claim our partitions, and build the expiry index of newly assigned ones."""
        try:
            claimed, assignments = await self._table.claim(self._table.our_partitions()), self._assignments
            for partition in sorted(claimed - self._states.expiry.partitions()):
                items = self._table.partition_items(partition)
                headers = ((key, self._pipeline.states.header(key, partition, value)) for key, value in items)
                for _ in self._states.opening(partition, headers):
                    self._app.turns += 1
                    await asyncio.sleep(0)  # of millions of states; pages, heartbeats and the standbys go on
                    if assignments != self._assignments:
                        return  # what is read may be another worker's by now; the recovery under way reads it anew
            if not self._clocks.stream.is_set and self._newest_record_ms is not None:
                self._asking = asyncio.create_task(self._set_clock(self._newest_record_ms))
        except Exception as error:  # noqa: BLE001 - Faust drops what this raises, and no session would end any more
            self._app.abort(error)

    async def _set_clock(self, newest_record_ms: Callable[[AbstractSet[int]], Awaitable[int | None]]) -> None:
        """Let time go on from the newest click of our partitions; without one it goes on with the first that comes."""
        try:
            newest_ms = await newest_record_ms(self._states.expiry.partitions())
        except Exception as error:  # noqa: BLE001 - sessions then end a little later
            log.warning("newest_click_not_found", error=str(error), remedy="sessions end from the next click on")
            return
        if newest_ms is not None:
            self._clocks.stream.observe(newest_ms, self._clocks.monotonic())

    async def refetch_lost(self, now_seconds: float) -> None:
        """Fetch again what was lost between consumer and actor where nothing follows that would show it."""
        if self._gate is not None and self._gate.awaited is not None:
            self._standstill.keep(set())  # what stands still is not lost
            return
        committed = self._app.consumer.committed_offsets()
        self._standstill.keep(set(committed))
        for tp in committed:
            next_offset = self._app.consumer.next_offset(tp)
            if next_offset == self._app.consumer.highwater(tp):
                self._at_end.add(tp)
            if self._standstill.seconds(tp, next_offset, now_seconds) >= LOST_AFTER_SECONDS:
                self._standstill.restart(tp, next_offset, now_seconds)
                await self._app.consumer.refetch_lost(tp)

    def due_ticks(self, *, is_further: bool = False) -> list[tuple[int, Tick]]:
        """Return a tick for each partition of ours that is caught up and has a session to end, with its partition.

        Its time is when the fetch began that found no more clicks: after a standstill of this process or of the brokers
        clicks may lie there that nobody has heard of. is_further: only where the latest tick has left sessions over,
        and what it ended is safe: ticks must not fill their window.
        """
        ticks: list[tuple[int, Tick]] = []
        partitions = sorted(self._states.left_over if is_further else self._states.expiry.partitions())
        now_ms = self._clocks.now_ms() if partitions else None
        if now_ms is None:
            return ticks
        for partition in partitions:
            age_seconds = self._caught_up_before_seconds(partition)
            if age_seconds is None or (is_further and len(self._windows.of(self._control, partition))):
                continue
            stream_time_ms = self._states.expiry.stream_time_ms(partition, now_ms - round(age_seconds * 1000))
            if stream_time_ms is None or not self._states.has_due(partition, stream_time_ms):
                continue
            self._states.left_over.discard(partition)
            taken = self._taken_to(partition)
            first = taken.pop(self._clickstream)
            ticks.append((partition, Tick(next_offset=first, stream_time_ms=stream_time_ms, next_offsets=taken)))
        return ticks

    def _caught_up_before_seconds(self, partition: int) -> float | None:
        """Return how long ago the fetches began that found all clicks of a partition taken; None = some are not."""
        consumer, age_seconds = self._app.consumer, 0.0
        for tp in self._clicks_of(partition):
            offset, age = consumer.next_offset(tp), consumer.end_age_seconds(tp)
            if offset is None or age is None or consumer.highwater(tp) != offset:
                return None
            age_seconds = max(age_seconds, age)
        return age_seconds

    def _taken_to(self, partition: int) -> dict[str, int]:
        """Return the next offset of each clickstream, by topic; one that is not ours is not in it."""
        offsets = {tp.topic: self._app.consumer.next_offset(tp) for tp in self._clicks_of(partition)}
        return {topic: offset for topic, offset in offsets.items() if offset is not None}

    def _has_taken(self, partition: int, moment: Mapping[str, int]) -> bool:
        """Return whether every click before these offsets is taken, and they are of all clickstreams that are read."""
        taken = self._taken_to(partition)
        return moment.keys() == taken.keys() and all(taken[topic] >= offset for topic, offset in moment.items())

    def _clicks_of(self, partition: int) -> list[TP]:
        """Return that partition of every clickstream, the main one first."""
        return [TP(topic, partition) for topic in (self._clickstream, *self._further)]

    async def _readable(self, run: Run, at: int) -> int:
        """Wait until the record at `at` can be read; returns how many can, of a slice; 0 = it is let go."""
        most = min(SLICE, len(run.records) - at)
        if self._gate is None or run.topic == self._control:
            return most
        for count, record in enumerate(run.records[at : at + most]):
            if not isinstance(record.value, MarkedValue) and not self._gate.is_open(record.value):
                return count or int(await self._gate.opened(record.value))
        return most

    def _acknowledge(self, taken: "_TakenRun", record: InputRecord) -> None:
        taken.acknowledge(record.position.offset)
        age_ms = self._clocks.wall_ms() - record.time_ms
        self._app.delivery_metrics.end_to_end.observe(max(0.0, age_ms / 1000))

    async def _taken(
        self, record: InputRecord, end: int | None
    ) -> tuple[Awaitable[Sequence[OutputRecord]], list[Delivery]]:
        """Take a record; a state that cannot be decoded is put aside before, and its visitor begins anew.

        end: of its partition; None = not known.
        """
        partition = record.position.partition
        while True:
            try:
                taken = self._take(record, end)
                break
            except UnreadableVisitorError as error:
                await self._put_aside(partition, error)
        while self._states.unreadable:
            await self._put_aside(partition, self._states.unreadable.pop())
        return taken

    async def _put_aside(self, partition: int, error: UnreadableVisitorError) -> None:
        """Keep the bytes as a dead letter, then write the tombstone: a crash in between keeps them twice."""
        if self._quarantine is None:
            raise error
        self._table.flush()
        await self._quarantine.keep(partition, error, self._table.partition_items(partition))
        tombstones = self._states.drop(partition, error.key)
        self._table.flush()
        await _safe(tombstones)

    def _take(self, record: InputRecord, end: int | None) -> tuple[Awaitable[Sequence[OutputRecord]], list[Delivery]]:
        if record.rejection is not None:
            return self._pipeline.refusals.rejected(record, record.rejection).answer(), []
        if record.position.topic == self._control:
            return self._control_record(record)
        self._clocks.read(record.time_ms, is_fresh=self._is_fresh(record.position, end))
        step = self._pipeline.click(record, self._states)
        if step.write is None:
            return step.answer(), []
        partition = record.position.partition
        if step.write.value is not None:
            self._states.expiry.observe(partition, step.write.clock_lag_ms)
        return self._written(partition, step)

    def _is_fresh(self, position: InputPosition, end: int | None) -> bool:
        """Return whether a click did not wait: it is the last of a partition that was read to its end before."""
        if end != position.offset + 1:
            return False
        tp = TP(position.topic, position.partition)
        was_at_end = tp in self._at_end
        self._at_end.add(tp)
        return was_at_end

    def _written(self, partition: int, step: Step) -> tuple[Awaitable[Sequence[OutputRecord]], list[Delivery]]:
        """Write what a step writes, if anything."""
        if step.write is None:
            return step.answer(), []
        written = self._states.write(partition, step.write)
        return _after(written, step.answer) if step.is_write_first else step.answer(), written

    def _control_record(self, record: InputRecord) -> tuple[Awaitable[Sequence[OutputRecord]], list[Delivery]]:
        control = self._pipeline.control(record)
        if isinstance(control, Rejection):
            return self._pipeline.refusals.rejected(record, control).answer(), []
        if isinstance(control, Handover | Adoption):
            return self._written(record.position.partition, self._pipeline.join(record, control, self._states))
        if isinstance(control, Erase):
            if others := self._pipeline.erasures(control, record.position, self._states):
                return self._after_clicks(record.position.partition, others), []
            return self._erase(control, record.position), []
        # A tick that the clicks are behind ends nothing: lag or an old log never makes input late.
        partition, until_ms, now_ms = record.position.partition, -1, self._clocks.now_ms()
        reached_ms = None if now_ms is None else self._states.expiry.stream_time_ms(partition, now_ms)
        moment = {self._clickstream: control.next_offset, **control.next_offsets}
        if reached_ms is not None and self._has_taken(partition, moment):
            until_ms = min(control.stream_time_ms, reached_ms)  # the clock of who sent it may be ahead
        records, written = self._states.close_due(
            self._pipeline,
            record.position,
            control.stream_time_ms,
            self._positions(partition, self._app.consumer.committed_offsets()),
            until_ms=until_ms,
            moment=self._positions(partition, {TP(topic, partition): offset for topic, offset in moment.items()}),
        )
        return _after(written, partial(ready, records)), written

    def _positions(self, partition: int, offsets: Mapping[TP, int]) -> list[InputPosition]:
        """Return the offsets of a partition's inputs as positions of the topics that there are now."""
        return [
            InputPosition(tp.topic, partition, offset, self._topic_ids.get(tp.topic, 0))
            for tp, offset in offsets.items()
            if tp.partition == partition
        ]

    async def _after_clicks(self, partition: int, records: Sequence[OutputRecord]) -> Sequence[OutputRecord]:
        """Hold back the erasures of other ids until no earlier click can hand over to them any more."""
        for tp in self._clicks_of(partition):
            await self._windows.of(*tp).drained()
        return records

    def _erase(self, erase: Erase, position: InputPosition) -> Awaitable[Sequence[OutputRecord]]:
        """Write the tombstone, always: the local table may have lost the key before the changelog did.

        The block comes first: where a crash parts the two, the state is still there and nothing new begins.
        """
        partition, key = position.partition, erase.visitor_id.encode()
        block = self._pipeline.states.block(erase)
        written = [] if block is None else self._states.write(partition, block)
        written += self._states.drop(partition, key)
        log.info("visitor_erased", partition=partition, offset=position.offset)
        return self._erased(partition, key, written)

    async def _erased(self, partition: int, key: bytes, written: Sequence[Delivery]) -> Sequence[OutputRecord]:
        """Hold the ack of an erasure until the visitor's earlier clicks are acknowledged: no redelivery may undo it."""
        for tp in self._clicks_of(partition):
            await self._windows.of(*tp).drained()
        self._states.shown.take(partition, key)  # the answer to such a click
        await _safe(written)
        self._note_erased(partition)
        return []


class _TakenRun:
    """A run at the actor, which a stop or a rebalance waits for until all that was taken in of it is acknowledged.

    left: the events taken in and not acknowledged.
    """

    __slots__ = ("_consumer", "_is_closed", "_message", "left", "run", "tp")

    def __init__(self, consumer: Any, message: Any) -> None:
        self._consumer = consumer
        self._message = message
        self._is_closed = False
        self.run: Run = message.value
        self.tp: TP = message.tp
        self.left = 0

    def acknowledge(self, offset: int) -> None:
        """Book one of its events."""
        self._consumer.acknowledge(self.tp, offset)
        self.left -= 1
        self._release()

    def close(self) -> None:
        """Take in no more of it."""
        self._is_closed = True
        self._release()

    def _release(self) -> None:
        if self._is_closed and not self.left:
            self._consumer.release(self._message)


async def _safe(written: Sequence[Delivery]) -> None:
    """Wait until writes are safe; raises what the first of them failed with."""
    for delivery in written:
        await delivery


async def _after(
    written: Sequence[Delivery], answer: Callable[[], Awaitable[Sequence[OutputRecord]]]
) -> Sequence[OutputRecord]:
    """Return an answer when the writes before it are safe."""
    await _safe(written)
    return await answer()


async def send_ticks(actor: SessionActor, sink: RecordSink, control_topic: str, *, is_further: bool = False) -> None:
    """Send the due ticks to their partitions; timers call it. is_further: see `SessionActor.due_ticks`."""
    ticks = actor.due_ticks(is_further=is_further)
    sent = [
        sink.send(OutputRecord(control_topic, None, wire.encode(tick), partition=partition))
        for partition, tick in ticks
    ]
    for delivery in sent:
        await delivery


def _input_record(record: Any, tp: TP, topic_id: int) -> InputRecord:
    marked = record.value if isinstance(record.value, MarkedValue) else None
    return InputRecord(
        position=InputPosition(tp.topic, tp.partition, record.offset, topic_id),
        key=record.key,
        value=record.value if marked is None else marked.original,
        time_ms=record.timestamp,
        headers=[(name, content or b"") for name, content in record.headers],  # Kafka allows null
        undecodable=None if marked is None else marked.undecodable,
    )
