"""aiokafka as the worker reads with it: committed transactions only, no record that ends it, commits with a note.

Faust reads uncommitted unless it writes in transactions itself, and has no setting for it. And it throws away what a
fetch brings while the flow is stopped, though aiokafka has moved its position behind it.
"""

import asyncio
import copy
from collections.abc import Awaitable, Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from inspect import isawaitable
from typing import Any, Final

import structlog
from aiokafka import OffsetAndMetadata
from aiokafka.consumer import fetcher
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams.delivery.lease import boot_seconds
from streams.delivery.membership import watch_coordinator
from streams.delivery.record_batches import BatchReader
from streams.delivery.runs import runs_of

log = structlog.get_logger(__name__)

PARTIAL_WAIT_MS: Final = 20
"""How long a broker may hold a fetch that leaves out partitions with records that wait here."""


class InLoop:
    """Stands where Faust has a thread for a service: the service is a task of the loop that starts it."""

    def __init__(self, service: Any) -> None:
        self._service = service
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to serve."""
        self._task = asyncio.get_running_loop().create_task(self._served())

    def stop(self) -> None:
        """Return at once: who calls this has waited until the service was shut down."""

    async def _served(self) -> None:
        try:
            await self._service._serve()  # noqa: SLF001 - what a thread runs
        except Exception:
            log.exception("consumer_ended_badly")
            self._service.set_shutdown()  # else who stops it waits for a minute


class CommittedReads(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """aiokafka's consumer, in the event loop of the clicks.

    Faust gives it a thread with a loop of its own. A fetch then crosses over twice, and the two threads take the
    interpreter from each other (docs/adr/0020).
    """

    def __init__(self, consumer: Any, *, loop: asyncio.AbstractEventLoop, beacon: Any) -> None:
        super().__init__(consumer, loop=loop, thread_loop=loop, Worker=InLoop, beacon=beacon)
        self._told: dict[TP, tuple[int, float]] = {}
        """When aiokafka heard of an end last, by its clock in ms, and when that fetch began, in s since boot."""

    async def call_thread(self, fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call at once: nobody has to be woken."""
        called = fun(*args, **kwargs)
        return await called if isawaitable(called) else called

    async def _gather_remaining_tasks(self) -> None:
        """Leave the loop's tasks alone: they are not this service's."""

    async def _keepalive2(self) -> None:
        """Wake nobody: there is no thread that could not respond."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        fetcher.MemoryRecords = BatchReader()  # between a response and its records there is no other way in
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"  # noqa: SLF001 - read at the start
        consumer.commit = self._noted(consumer.commit)  # Faust has no setting for the metadata of a commit
        return consumer

    async def on_start(self) -> None:
        """Start the consumer; the app hears of every answer of the group from the first on."""
        await super().on_start()
        if self.app.lease is not None:
            coordinator = self._ensure_consumer()._coordinator  # noqa: SLF001 - there before the first subscription
            watch_coordinator(coordinator, boot_seconds, self.app.lease.renewed, self.app.membership_lost)
        reads = self._ensure_consumer()._fetcher  # noqa: SLF001 - there before the first fetch
        reads._get_actions_per_node = self._shortened(reads)  # noqa: SLF001 - aiokafka has one wait for all fetches
        reads._proc_fetch_request = self._timed(reads._proc_fetch_request)  # noqa: SLF001 - nobody else knows when

    def _shortened(self, reads: Any) -> Callable[[Any], Any]:
        """Let fetches be short that leave out inputs.

        aiokafka leaves out partitions whose records nobody has taken yet, and asks a broker for nothing else while a
        fetch is under way: clicks would wait until the second and a half is over in which the others have nothing.
        """
        actions: Callable[[Any], Any] = reads._get_actions_per_node  # noqa: SLF001

        def shortened(assignment: Any) -> Any:
            found = actions(assignment)
            for node_id, request in found[0]:
                for tp in filter(self.consumer.is_source, reads._records):  # noqa: SLF001 - these are left out
                    state, is_its_own = assignment.state_value(tp), reads._select_read_replica(tp) == node_id  # noqa: SLF001
                    if is_its_own and state is not None and not state.paused:
                        request._max_wait_ms = min(request._max_wait_ms, PARTIAL_WAIT_MS)  # noqa: SLF001
            return found

        return shortened

    def _timed(self, fetch: Callable[..., Awaitable[bool]]) -> Callable[..., Awaitable[bool]]:
        """Let fetches note when they began, for each input whose end they told."""

        async def timed(assignment: Any, node_id: int, request: Any) -> bool:
            began_seconds = boot_seconds()
            is_wake_up = await fetch(assignment, node_id, request)
            for topic, partitions in request.topics:
                for partition, *_ in partitions:
                    tp = TP(topic, partition)
                    told_ms, known = assignment.state_value(tp).timestamp, self._told.get(tp)
                    if told_ms is not None and (known is None or told_ms != known[0]) and self.consumer.is_source(tp):
                        self._told[tp] = told_ms, began_seconds
            return is_wake_up

        return timed

    def _noted(self, commit: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        """Let commits carry the app's note."""

        async def noted(offsets: Mapping[TP, OffsetAndMetadata]) -> None:
            note = self.app.commit_note
            await commit({tp: OffsetAndMetadata(committed.offset, note) for tp, committed in offsets.items()})

        return noted

    async def _fetch_records(
        self,
        consumer: Any,
        active_partitions: AbstractSet[TP] | None,
        timeout: float | None = None,  # noqa: ASYNC109 - Faust's signature
        max_records: int | None = None,
    ) -> dict[TP, list[Any]]:
        """Fetch, the inputs in runs; what Faust would not pass on is put back, to be fetched again.

        A fetch waits up to a second, and so outlives a quick rebalance, in which no partition is active; aiokafka takes
        that for all of them. What it brings of a changelog after the recovery has sought there, and before the flow is
        resumed, was never applied: the recovery waited for it in vain, or went on without it.
        """
        fetched: dict[TP, list[Any]] = await super()._fetch_records(consumer, active_partitions, timeout, max_records)
        for tp in list(fetched):
            if not self.consumer.flow_active or (active_partitions is not None and tp not in active_partitions):
                consumer.seek(tp, fetched.pop(tp)[0].offset)
            elif self.consumer.is_source(tp):
                fetched[tp] = runs_of(fetched[tp])
        return fetched

    def highwater(self, tp: TP) -> int | None:
        """Return the end of what may be read: an open transaction begins there, and holds back what is behind it.

        None as long as it is not known, and of a partition that is gone: aiokafka takes that for a mistake of the
        caller.
        """
        subscription = self._ensure_consumer()._subscription.subscription  # noqa: SLF001 - its `highwater()` asserts
        assignment = None if subscription is None else subscription.assignment
        state = None if assignment is None else assignment.state_value(tp)
        if state is None:
            return None
        stable: int | None = state.lso
        end: int | None = state.highwater if stable is None or stable < 0 else stable
        return end

    def end_age_seconds(self, tp: TP) -> float | None:
        """Return how long ago the fetch began that told `highwater` of an input; None as long as none did."""
        told = self._told.get(tp)
        return None if told is None else boot_seconds() - told[1]

    async def _highwaters(self, partitions: Iterable[TP]) -> Mapping[TP, int]:
        """Return the ends of the logs, open transactions included: workers used to commit behind their beginning."""
        consumer = self._ensure_consumer()
        uncommitted = copy.copy(consumer._fetcher)  # noqa: SLF001 - it asks for the ends as it fetches
        uncommitted._isolation_level = fetcher.READ_UNCOMMITTED  # noqa: SLF001 - likewise
        ends: Mapping[TP, int] = await uncommitted.end_offsets(partitions, consumer._request_timeout_ms)  # noqa: SLF001
        return ends
