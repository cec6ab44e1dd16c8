"""A session actor over fakes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from types import SimpleNamespace
from typing import Any

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
from streams.delivery.window import InOrderWindow, Windows
from streams.fakes import ListSink
from streams.records import InputRecord, OutputRecord
from streams.tools.dead_letter_log import DeadLetter, read_dead_letter

CHANGELOG = "insession-visitors-changelog"
GARBAGE = b"\x01" + bytes(17) + b"\xc1garbage"

START_MS = 1_700_000_000_000
EXPIRED_MS = START_MS + 40 * 60_000
CLICKS, CONTROL = TP("clickstream", 0), TP("session-control", 0)


class FakeTable(MemoryStore):
    """The state table of a worker that has partition 0."""

    def __init__(self) -> None:
        super().__init__()
        self.partitions = {0}

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
    """Offsets as the test decides; refused offsets never reach the actor."""

    def __init__(self) -> None:
        self.next: dict[TP, int] = {CLICKS: 0}
        self.ends: dict[TP, int] = {}
        self.refused: set[int] = set()
        self.refetched: list[TP] = []

    async def arrived(self, message: Any) -> bool:
        """Confirm a record."""
        if message.offset in self.refused:
            return False
        self.next[TP(message.topic, message.partition)] = message.offset + 1
        return True

    def next_offset(self, tp: TP) -> int | None:
        """Return the offset that the actor expects."""
        return self.next.get(tp)

    def highwater(self, tp: TP) -> int | None:
        """Return the end; without another one the actor is caught up."""
        return self.ends.get(tp, self.next.get(tp))

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
    """One record as Faust hands it out; notes its acknowledgement."""

    def __init__(self, tp: TP, offset: int, key: bytes | None, value: bytes | None) -> None:
        self.message = SimpleNamespace(
            topic=tp.topic,
            partition=tp.partition,
            offset=offset,
            key=key,
            value=value,
            timestamp=START_MS / 1000,
            headers={"h": b"1"},
        )
        self.is_acked = False

    def ack(self) -> None:
        """Note it."""
        self.is_acked = True


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
        self.windows = Windows(
            lambda _: InOrderWindow(self.sink, span=256, send_timeout_seconds=60, fail=self.app.abort)
        )
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
        """Let the actor consume these events."""
        stream: Any = FakeStream(events)
        await self.actor.run(stream)
        await self.settle()

    async def settle(self, *, is_acknowledged: bool = False) -> None:
        """Let the windows do what they can."""
        for _ in range(50):
            if is_acknowledged:
                self.sink.acknowledge_all()
            await asyncio.sleep(0)

    def sent(self) -> list[str]:
        """Return the topics that were written to, in order."""
        return [record.topic for record in self.sink.records]


def click(offset: int, visitor: str = "v1") -> FakeEvent:
    """Make a click on the clickstream."""
    event = ClickEvent(
        visitor_id=VisitorId(visitor), event_type="view", event_time=START_MS + offset, item_id=ItemId("a")
    )
    return FakeEvent(CLICKS, offset, visitor.encode(), wire.encode(event))


def control(offset: int, record: Control) -> FakeEvent:
    """Make a control record."""
    return FakeEvent(CONTROL, offset, None, wire.encode(record))


class SafeSink(ListSink):
    """A sink whose records are safe at once; notes what the table held of `v1` then."""

    def __init__(self, states: dict[bytes, bytes]) -> None:
        super().__init__()
        self._states = states
        self.held: list[bytes | None] = []

    async def send(self, record: OutputRecord) -> Awaitable[Any]:
        """Keep a record."""
        self.held.append(self._states.get(record.key or b""))
        acknowledged = await super().send(record)
        self.acknowledge_all()
        return acknowledged


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
