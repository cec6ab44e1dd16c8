"""A session actor over fakes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from types import SimpleNamespace
from typing import Any

from aiokafka.structs import ConsumerRecord
from faust.types import TP

from agents.clicks.actor import SessionActor
from agents.clicks.clocks import WorkerClocks
from agents.clicks.quarantine import Quarantine
from agents.clicks.visitor_states import MemoryStore
from schemas import wire
from schemas.events import ClickEvent
from schemas.handovers import Control
from schemas.ids import ItemId, VisitorId
from schemas.state import InputPosition, is_mark
from streams.cluster.topics import TopicSettings
from streams.delivery.runs import Run
from streams.delivery.window import InOrderWindow, Windows
from streams.fakes import ListSink
from streams.records import Delivery, InputRecord, OutputRecord, delivered
from streams.tools.dead_letter_log import DeadLetter, read_dead_letter

CHANGELOG = "insession-visitors-changelog"
GARBAGE = b"\x01" + bytes(17) + b"\xc1garbage"

START_MS = 1_700_000_000_000
EXPIRED_MS = START_MS + 40 * 60_000
CLICKS, CONTROL = TP("clickstream", 0), TP("session-control", 0)


class FakeTable(MemoryStore):
    """The state table of a worker that has partition 0.

    states: what its files hold; `unwritten` goes there with a flush, in one write of `writes`.
    left_unwritten: what was not there yet when others had their turn; nothing ever should be.
    written: makes the delivery of a write.
    """

    def __init__(self) -> None:
        super().__init__()
        self.partitions = {0}
        self.unwritten: dict[bytes, bytes | None] = {}
        self.writes: list[dict[bytes, bytes | None]] = []
        self.left_unwritten: list[bytes] = []
        self.written: Callable[[], Delivery] = delivered

    def get(self, _partition: int, key: bytes) -> bytes | None:
        """Read a state, written or not."""
        return self.unwritten[key] if key in self.unwritten else self.states.get(key)

    def put(self, _partition: int, key: bytes, value: bytes) -> Delivery:
        """Write a state."""
        return self._change(key, value)

    def drop(self, _partition: int, key: bytes) -> Delivery:
        """Remove a state."""
        return self._change(key, None)

    def _change(self, key: bytes, value: bytes | None) -> Delivery:
        self.unwritten[key] = value
        asyncio.get_running_loop().call_soon(lambda: self.left_unwritten.extend(self.unwritten))
        return self.written()

    def flush(self) -> None:
        """Bring what was written into the files."""
        if self.unwritten:
            self.writes.append(dict(self.unwritten))
        for key, value in self.unwritten.items():
            if value is None:
                self.states.pop(key, None)
            else:
                self.states[key] = value
        self.unwritten.clear()

    def our_partitions(self) -> set[int]:
        """Return the assigned partitions."""
        return self.partitions

    async def claim(self, partitions: AbstractSet[int]) -> set[int]:
        """Take partitions over: nobody else wants them."""
        return set(partitions)

    def partition_items(self, _partition: int) -> Iterator[tuple[bytes, bytes]]:
        """Read every state."""
        return iter([(key, value) for key, value in self.states.items() if not is_mark(key)])


class FakeConsumer:
    """Offsets as the test decides; of what holds a refused one, nothing reaches the actor.

    confirmed: what reached it, slice by slice; acknowledged: offsets, in order; released: runs. ages_seconds: how
    long ago the fetch began that told an end, where that was not just now.
    """

    def __init__(self) -> None:
        self.ages_seconds: dict[TP, float] = {}
        self.next: dict[TP, int] = {CLICKS: 0}
        self.ends: dict[TP, int] = {}
        self.refused: set[int] = set()
        self.refetched: list[TP] = []
        self.confirmed: list[range] = []
        self.acknowledged: list[tuple[TP, int]] = []
        self.released: list[Any] = []

    async def arrived(self, tp: TP, offsets: range) -> bool:
        """Confirm records."""
        if self.refused.intersection(offsets):
            return False
        self.confirmed.append(offsets)
        self.next[tp] = offsets.stop
        return True

    def acknowledge(self, tp: TP, offset: int) -> None:
        """Note an acknowledgement."""
        self.acknowledged.append((tp, offset))

    def release(self, message: Any) -> None:
        """Note that nobody waits for a run any more."""
        self.released.append(message)

    def next_offset(self, tp: TP) -> int | None:
        """Return the offset that the actor expects."""
        return self.next.get(tp)

    def highwater(self, tp: TP) -> int | None:
        """Return the end; without another one the actor is caught up."""
        return self.ends.get(tp, self.next.get(tp))

    def end_age_seconds(self, tp: TP) -> float | None:
        """Return how long ago the fetch began that told the end."""
        return self.ages_seconds.get(tp, 0.0) if tp in self.next else None

    def committed_offsets(self) -> dict[TP, int]:
        """Return our partitions."""
        return dict(self.next)

    async def refetch_lost(self, tp: TP) -> None:
        """Note it."""
        self.refetched.append(tp)


class AbortError(Exception):
    """The process would have ended."""


class FakeApp:
    """An app whose end is an exception."""

    def __init__(self, metrics: Any) -> None:
        self.consumer = FakeConsumer()
        self.delivery_metrics = metrics
        self.turns = 0

    def abort(self, error: BaseException) -> None:
        """End the run."""
        raise AbortError(str(error)) from error


class FakeEvent:
    """A run as Faust hands it out."""

    def __init__(self, tp: TP, records: Sequence[Any]) -> None:
        self.tp = tp
        self.message = SimpleNamespace(tp=tp, value=Run(records))

    @property
    def records(self) -> Sequence[Any]:
        """Return its records."""
        return self.message.value.records  # type: ignore[no-any-return]


class FakeStream:
    """A stream of given events."""

    def __init__(self, events: Iterable[FakeEvent]) -> None:
        self._events = events

    def noack(self) -> "FakeStream":
        """Leave acknowledging to the actor."""
        return self

    async def events(self) -> AsyncIterator[FakeEvent]:
        """Yield the events."""
        for event in self._events:
            yield event


class Acting:
    """A session actor over fakes."""

    def __init__(self, worker: Any, further: Sequence[str] = (), gate: Any = None) -> None:
        self.app: Any = FakeApp(worker.metrics)
        self.table: Any = FakeTable()
        self.sink = ListSink()
        self.span = 256
        self.windows = Windows(lambda _: InOrderWindow(self.sink, span=self.span, fail=self.app.abort))
        self.now_ms = EXPIRED_MS
        self.clocks = WorkerClocks(worker.metrics, lambda: self.now_ms, lambda: self.now_ms / 1000)
        self.clocks.stream.observe(EXPIRED_MS, EXPIRED_MS / 1000)
        self.worker, self.further, self.gate = worker, further, gate
        self.make_actor()

    def make_actor(self, newest_record_ms: Any = None) -> None:
        """Make the actor over what is there."""
        self.actor = SessionActor(
            self.app,
            self.table,
            TopicSettings(),
            self.worker.pipeline,
            self.windows,
            self.further,
            gate=self.gate,
            clocks=self.clocks,
            newest_record_ms=newest_record_ms,
        )

    async def run(self, *events: FakeEvent) -> None:
        """Let the actor consume these events; whatever it writes is in the files before others have their turn."""
        stream: Any = FakeStream(events)
        await self.actor.run(stream)
        await self.settle()
        assert self.table.left_unwritten == []

    def begin_run(self, *events: FakeEvent) -> asyncio.Task[None]:
        """Let the actor begin with these events; it may have to wait."""
        return asyncio.create_task(self.run(*events))

    async def settle(self, *, is_acknowledged: bool = False) -> None:
        """Let the windows do what they can."""
        for _ in range(50):
            if is_acknowledged:
                self.sink.acknowledge_all()
            await asyncio.sleep(0)

    def has_acked(self, event: FakeEvent) -> bool:
        """Return whether a run is acknowledged and released; fails where it is one of the two."""
        is_acknowledged = {(event.tp, record.offset) for record in event.records} <= set(self.acknowledged)
        assert is_acknowledged == self.has_released(event)
        return is_acknowledged

    def has_released(self, event: FakeEvent) -> bool:
        """Return whether nobody waits for a run any more; fails where it was released twice."""
        count = self.app.consumer.released.count(event.message)
        assert count <= 1
        return bool(count)

    @property
    def acknowledged(self) -> list[tuple[TP, int]]:
        """Return the offsets that are acknowledged."""
        return self.app.consumer.acknowledged  # type: ignore[no-any-return]

    def sent(self) -> list[str]:
        """Return the topics that were written to, in order."""
        return [record.topic for record in self.sink.records]


def one_record(
    tp: TP,
    offset: int,
    key: bytes | None,
    value: bytes | None,
    headers: Sequence[tuple[str, Any]] = (("h", b"1"),),
    *,
    record_ms: int = START_MS,
) -> FakeEvent:
    """Make a run of one record."""
    lengths = (-1 if part is None else len(part) for part in (key, value))
    return FakeEvent(tp, [ConsumerRecord(*tp, offset, record_ms, 0, key, value, None, *lengths, headers)])


def run_of(*events: FakeEvent) -> FakeEvent:
    """Make one run of several."""
    return FakeEvent(events[0].tp, [record for event in events for record in event.records])


def click(offset: int, visitor: str = "v1", *, at_ms: int = START_MS, record_ms: int = START_MS) -> FakeEvent:
    """Make a click on the clickstream, an `offset` of ms after `at_ms`, in a record of `record_ms`."""
    click = ClickEvent(visitor_id=VisitorId(visitor), event_type="view", event_time=at_ms + offset, item_id=ItemId("a"))
    return one_record(CLICKS, offset, visitor.encode(), wire.encode(click), record_ms=record_ms)


def control(offset: int, record: Control) -> FakeEvent:
    """Make a control record."""
    return one_record(CONTROL, offset, None, wire.encode(record))


class SafeSink(ListSink):
    """A sink whose records are safe at once; notes what the table held of `v1` then."""

    def __init__(self, states: dict[bytes, bytes]) -> None:
        super().__init__()
        self._states = states
        self.held: list[bytes | None] = []

    def send(self, record: OutputRecord) -> Delivery:
        """Keep a record."""
        self.held.append(self._states.get(record.key or b""))
        delivery = super().send(record)
        delivery.settle()
        return delivery


class Suffering(Acting):
    """An actor with a quarantine, whose table holds states that cannot be decoded."""

    def __init__(self, worker: Any) -> None:
        super().__init__(worker)
        self.worker = worker
        self.letters = SafeSink(self.table.states)
        self.actor._quarantine = Quarantine(self.letters, worker.pipeline, CHANGELOG)

    async def begin(self, **stored: bytes) -> None:
        """Recover these states."""
        self.table.states.update({key.encode(): value for key, value in stored.items()})
        await self.actor.recovered()

    def read(self) -> list[DeadLetter]:
        """Read the letters back as `insession dlq` does."""
        return [
            read_dead_letter(InputRecord(InputPosition("dlq", 0, 0), one.key, one.value, 0, one.headers))
            for one in self.letters.records
        ]
