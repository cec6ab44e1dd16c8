"""The in-order window of a partition: events are answered side by side, sent and acknowledged in offset order.

    actor ──put──> [ answer pending | answer pending | ... ] ──send──> [ records in flight | ... ] ──> ack
                     bounded by an offset span                in order                       in order

An event is acknowledged only when every record it caused (answers, session ends, changelog) is acknowledged by the
broker. The window of a partition outlives seeks and rebalances.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from msgspec import Struct

from schemas.errors import InsessionError
from streams.delivery.endings import explained
from streams.records import OutputRecord, RecordSink


class DeliveryError(InsessionError):
    """A record was refused or not acknowledged in time. The process ends without ack; a restart reads the event again.

    The message names topic and key, the key as a pseudonym.
    """


def _no_name(_key: bytes) -> str:
    return "not shown"


async def ready(records: Sequence[OutputRecord]) -> Sequence[OutputRecord]:
    """Return records that wait for nothing, as an answer."""
    return records


class Work(Struct, frozen=True, gc=False):
    """One event in the window.

    answer: gives the records to send; it must come back within its own deadline and must not raise.
    written: the event's changelog records.
    acknowledge: called once, when everything is safe.
    """

    offset: int
    answer: Awaitable[Sequence[OutputRecord]]
    written: Sequence[Awaitable[Any]]
    acknowledge: Callable[[], None]


class InOrderWindow:
    """The FIFO of one partition; `put` waits while the oldest unacknowledged offset is `span` or more behind.

    fail: ends the process; called with a DeliveryError when a send fails or is unacknowledged after the timeout.
    name_key: what stands for a key in messages.
    """

    def __init__(
        self,
        sink: RecordSink,
        *,
        span: int,
        send_timeout_seconds: float,
        fail: Callable[[BaseException], Any],
        name_key: Callable[[bytes], str] = _no_name,
    ) -> None:
        self._name_key = name_key
        self._sink = sink
        self._span = span
        self._send_timeout_seconds = send_timeout_seconds
        self._fail = fail
        self._to_send: asyncio.Queue[tuple[Work, asyncio.Future[Sequence[OutputRecord]]]] = asyncio.Queue()
        self._to_acknowledge: asyncio.Queue[tuple[Work, list[_Sent]]] = asyncio.Queue()
        self._open_offsets: list[int] = []
        self._moved = asyncio.Condition()
        self._tasks = [asyncio.ensure_future(self._guarded(step)) for step in (self._send_next, self._acknowledge_next)]

    def __len__(self) -> int:
        """Count the events that are not acknowledged yet."""
        return len(self._open_offsets)

    @property
    def full_ratio(self) -> float:
        """Return the share of the span that is in use; 1 = the next event waits."""
        if not self._open_offsets:
            return 0.0
        return min(1.0, (abs(self._open_offsets[-1] - self._open_offsets[0]) + 1) / self._span)

    async def put(self, work: Work) -> None:
        """Take an event in; waits while the window is full (that is the back-pressure)."""
        try:
            async with self._moved:
                await self._moved.wait_for(lambda: not self._is_full(work.offset))
        except asyncio.CancelledError:
            asyncio.ensure_future(work.answer).cancel()
            raise
        self._open_offsets.append(work.offset)
        self._to_send.put_nowait((work, asyncio.ensure_future(work.answer)))

    async def drained(self) -> None:
        """Wait until everything taken in before this call is acknowledged."""
        before = self._open_offsets.copy()
        async with self._moved:
            await self._moved.wait_for(lambda: not before or before[-1] not in self._open_offsets)

    async def close(self) -> None:
        """Stop without acknowledging what is open; a restart reads it again."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        answers = [self._to_send.get_nowait()[1] for _ in range(self._to_send.qsize())]
        for answer in answers:
            answer.cancel()
        await asyncio.gather(*answers, return_exceptions=True)

    def _is_full(self, offset: int) -> bool:
        return bool(self._open_offsets) and abs(offset - self._open_offsets[0]) >= self._span

    async def _guarded(self, step: Callable[[], Awaitable[None]]) -> None:
        try:
            while True:
                await step()
        except asyncio.CancelledError as error:
            this_task = asyncio.current_task()
            if this_task is None or this_task.cancelling():
                raise  # closed, or the other step has failed
            self._break(error)  # somebody cancelled an answer or an acknowledgement
        except Exception as error:  # noqa: BLE001 - whatever it is, the window must not stand still in silence
            self._break(error)

    def _break(self, error: BaseException) -> None:
        """End the process, once: the other step stops too, and nothing more is acknowledged."""
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()
        self._fail(error if isinstance(error, DeliveryError) else DeliveryError(explained(error)))

    async def _send_next(self) -> None:
        work, answer = await self._to_send.get()
        try:
            records = await answer
        except asyncio.CancelledError:
            answer.cancel()
            raise
        sent = []
        for record in records:
            try:
                sent.append(_Sent(record.topic, record.key, await self._sink.send(record)))
            except Exception as error:
                raise self._refused(work, record.topic, record.key, error) from error
        self._to_acknowledge.put_nowait((work, sent))

    async def _acknowledge_next(self) -> None:
        work, sent = await self._to_acknowledge.get()
        topic, key = "the changelog", None
        try:
            async with asyncio.timeout(self._send_timeout_seconds):
                for topic, key, acknowledged in (*sent, *map(_written, work.written)):  # noqa: B007 - of the one at fault
                    await acknowledged
        except TimeoutError as error:
            raise DeliveryError(
                f"{self._where(work, topic, key)}: the record was not acknowledged within "
                f"{self._send_timeout_seconds} s (kafka.send_timeout); check the brokers and start again"
            ) from error
        except Exception as error:
            raise self._refused(work, topic, key, error) from error
        work.acknowledge()
        async with self._moved:
            self._open_offsets.remove(work.offset)
            self._moved.notify_all()

    def _refused(self, work: Work, topic: str, key: bytes | None, error: Exception) -> DeliveryError:
        return DeliveryError(f"{self._where(work, topic, key)}: {explained(error)}")

    def _where(self, work: Work, topic: str, key: bytes | None) -> str:
        named = "no key" if key is None else f"key {self._name_key(key)}"
        return f"{topic} took no record ({named}, of input offset {work.offset})"


class _Sent(NamedTuple):
    """A record on its way."""

    topic: str
    key: bytes | None
    acknowledged: Awaitable[Any]


def _written(acknowledged: Awaitable[Any]) -> _Sent:
    """Return the changelog record of Faust's future, which knows what it is of."""
    message = getattr(acknowledged, "message", None)
    if message is None:
        return _Sent("the changelog", None, acknowledged)
    return _Sent(str(message.channel), message.key, acknowledged)


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
