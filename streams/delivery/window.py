"""The in-order window of a partition: events are answered side by side, sent and acknowledged in offset order.

    actor ──put──> [ answer pending | answer pending | ... ] ──send──> [ records in flight | ... ] ──> ack
                     bounded by an offset span                in order                       in order

An event is acknowledged only when every record it caused (answers, session ends, changelog) is acknowledged by the
broker. The window of a partition outlives seeks and rebalances.

An event has no task here: what is answered and what is delivered call back, and the window goes on from its head.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import Any, TypeVar

from msgspec import Struct

from schemas.errors import InsessionError
from streams.delivery.endings import explained
from streams.records import Delivery, OutputRecord, RecordSink

T = TypeVar("T")


class DeliveryError(InsessionError):
    """A record was refused or not acknowledged in time. The process ends without ack; a restart reads the event again.

    The message names topic and key, the key as a pseudonym.
    """


async def ready(records: Sequence[OutputRecord]) -> Sequence[OutputRecord]:
    """Return records that wait for nothing, as an answer."""
    return records


def _no_name(_key: bytes) -> str:
    return "not shown"


def begun(answer: Awaitable[T]) -> T | asyncio.Future[T]:
    """Run an answer as far as it goes; only one that waits becomes a task (what Python 3.12 calls an eager task).

    Until it waits, it runs in the task of the caller: it must not begin with an `asyncio.timeout`.
    """
    steps = answer.__await__()
    try:
        waits_for = next(steps)
    except StopIteration as done:
        result: T = done.value
        return result
    return asyncio.ensure_future(_Rest(waits_for, steps))


class _Rest(Awaitable[T]):
    """What is left of an answer that has begun to wait."""

    def __init__(self, waits_for: Any, steps: Generator[Any, None, T]) -> None:
        self._waits_for = waits_for
        self._steps = steps

    def __await__(self) -> Generator[Any, None, T]:
        waits_for, steps = self._waits_for, self._steps
        while True:
            try:
                try:
                    yield waits_for
                except BaseException as error:  # noqa: BLE001 - a task throws in what its future failed with
                    waits_for = steps.throw(error)
                else:
                    waits_for = next(steps)
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]


class Work(Struct, frozen=True, gc=False):
    """One event in the window.

    answer: gives the records to send; it must come back within its own deadline and must not raise.
    written: the event's changelog records.
    acknowledge: called once, when everything is safe.
    """

    offset: int
    answer: Awaitable[Sequence[OutputRecord]]
    written: Sequence[Delivery]
    acknowledge: Callable[[], None]


class _Flight:
    """An event in the window. records: None = not answered; left: the writes to be heard of, and the sending itself."""

    __slots__ = ("_window", "answer", "is_acknowledged", "left", "records", "work")

    def __init__(self, window: "InOrderWindow", work: Work) -> None:
        self._window = window
        self.work = work
        self.left = 1
        self.records: Sequence[OutputRecord] | None = None
        self.answer: asyncio.Future[Sequence[OutputRecord]] | None = None
        self.is_acknowledged = False

    def answered(self, answer: asyncio.Future[Sequence[OutputRecord]]) -> None:
        """Take the records to send."""
        self.answer = None
        if answer.cancelled():
            self._window.broken(asyncio.CancelledError())
        elif (error := answer.exception()) is not None:
            self._window.broken(error)
        else:
            self.records = answer.result()
            self._window.send_soon()

    def delivered(self, delivery: Delivery) -> None:
        """Count one write that is safe."""
        if delivery.error is not None:
            self._window.broken(self.refused(delivery.topic, delivery.key, delivery.error))
            return
        self.left -= 1
        if not self.left:
            self._window.acknowledge()

    def refused(self, topic: str, key: bytes | None, error: Exception) -> DeliveryError:
        """Return what ends the process."""
        named = "no key" if key is None else f"key {self._window.name_key(key)}"
        where = f"{topic} took no record ({named}, of input offset {self.work.offset})"
        return DeliveryError(f"{where}: {explained(error)}")


class InOrderWindow:
    """The FIFO of one partition; there is room while the oldest unacknowledged offset is less than `span` behind.

    The sink bounds how long a delivery takes.
    fail: ends the process; called once, with a DeliveryError, when an answer, a send or a delivery fails.
    name_key: what stands for a key in messages.
    """

    def __init__(
        self,
        sink: RecordSink,
        *,
        span: int,
        fail: Callable[[BaseException], Any],
        name_key: Callable[[bytes], str] = _no_name,
    ) -> None:
        self.name_key = name_key
        self._sink = sink
        self._span = span
        self._fail = fail
        self._unsent: deque[_Flight] = deque()
        self._open: deque[_Flight] = deque()
        self._waiting: list[asyncio.Future[None]] = []
        self._is_sending_soon = False
        self._is_over = False

    def __len__(self) -> int:
        """Count the events that are not acknowledged yet."""
        return len(self._open)

    @property
    def full_ratio(self) -> float:
        """Return the share of the span that is in use; 1 = the next event waits."""
        if not self._open:
            return 0.0
        return min(1.0, (abs(self._open[-1].work.offset - self._open[0].work.offset) + 1) / self._span)

    def is_full(self, offset: int) -> bool:
        """Return whether an event must wait for room."""
        return bool(self._open) and abs(offset - self._open[0].work.offset) >= self._span

    async def room(self, offset: int) -> None:
        """Wait until there is room for an event (that is the back-pressure)."""
        while self.is_full(offset):
            await self._moved()

    def put(self, work: Work) -> None:
        """Take an event in, for which there is room. It is sent after this turn of the loop, at the earliest."""
        flight = _Flight(self, work)
        self._open.append(flight)
        self._unsent.append(flight)
        try:
            answer = begun(work.answer)
        except Exception as error:  # noqa: BLE001 - whatever it is, the window must not stand still in silence
            self.broken(error)
            return
        if isinstance(answer, asyncio.Future):
            flight.answer = answer
            answer.add_done_callback(flight.answered)
        else:
            flight.records = answer
            self.send_soon()
        flight.left += len(work.written)
        for delivery in work.written:
            delivery.then(flight.delivered)

    async def drained(self) -> None:
        """Wait until everything taken in before this call is acknowledged."""
        last = self._open[-1] if self._open else None
        while last is not None and not last.is_acknowledged:
            await self._moved()

    async def close(self) -> None:
        """Stop without acknowledging what is open; a restart reads it again."""
        self._is_over = True
        answers = [flight.answer for flight in self._open if flight.answer is not None]
        for answer in answers:
            answer.cancel()
        await asyncio.gather(*answers, return_exceptions=True)

    def send_soon(self) -> None:
        """Send what is answered when all that this turn of the loop brings is."""
        if not self._is_sending_soon:
            self._is_sending_soon = True
            asyncio.get_running_loop().call_soon(self._send)

    def acknowledge(self) -> None:
        """Acknowledge what is safe, from the oldest event on."""
        opened = self._open
        if self._is_over or not opened or opened[0].left:
            return
        while opened and not opened[0].left:
            flight = opened.popleft()
            flight.is_acknowledged = True
            try:
                flight.work.acknowledge()
            except Exception as error:  # noqa: BLE001 - as in `put`
                self.broken(error)
                return
        waiting, self._waiting = self._waiting, []
        for moved in waiting:
            if not moved.done():
                moved.set_result(None)

    def broken(self, error: BaseException) -> None:
        """End the process, once: nothing more is sent or acknowledged."""
        if not self._is_over:
            self._is_over = True
            self._fail(error if isinstance(error, DeliveryError) else DeliveryError(explained(error)))

    def _send(self) -> None:
        self._is_sending_soon = False
        unsent, send = self._unsent, self._sink.send
        while unsent and (records := unsent[0].records) is not None and not self._is_over:
            flight = unsent.popleft()
            flight.left += len(records) - 1
            for record in records:
                try:
                    delivery = send(record)
                except Exception as error:  # noqa: BLE001 - as in `put`
                    self.broken(flight.refused(record.topic, record.key, error))
                    return
                delivery.then(flight.delivered)
            if not records and not flight.left:
                self.acknowledge()

    def _moved(self) -> asyncio.Future[None]:
        moved: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(moved)
        return moved


class Windows:
    """The window of every partition that was ever ours, made when its first event comes."""

    def __init__(self, make_window: Callable[[str], InOrderWindow]) -> None:
        self._make_window = make_window
        self._windows: dict[tuple[str, int], InOrderWindow] = {}

    def of(self, topic: str, partition: int) -> InOrderWindow:
        """Return the window of a partition; the same one for as long as the process lives."""
        window = self._windows.get((topic, partition))
        if window is None:
            window = self._windows[topic, partition] = self._make_window(topic)
        return window

    def __len__(self) -> int:
        """Count the events in all windows."""
        return sum(len(window) for window in self._windows.values())

    def full_ratio(self) -> float:
        """Return that of the fullest window."""
        return max((window.full_ratio for window in self._windows.values()), default=0.0)

    async def close(self) -> None:
        """Stop every window without acknowledging what is open."""
        for window in self._windows.values():
            await window.close()
