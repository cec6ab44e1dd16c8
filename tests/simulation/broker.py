"""The simulated cluster: topics, the group, and the network between it and its clients."""

import asyncio
import contextvars
import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

from aiokafka import errors
from faust.types import TP

from streams.cluster.partitioner import murmur2_partition
from tests.simulation.clock import EPOCH_SECONDS
from tests.simulation.faults import Faults
from tests.simulation.group import Group
from tests.simulation.loop import SimulatedLoop, current_thread
from tests.simulation.partition_log import Entry, PartitionLog
from tests.simulation.trace import Trace


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit, and how many records there were on all topics when it came."""

    tp: TP
    offset: int
    appended: int


class Broker:
    """Topics of `partitions` partitions each, and one group. All of it is what is on disk: it survives everything."""

    def __init__(
        self, loop: SimulatedLoop, group: Group, trace: Trace, faults: Faults, chance: random.Random, *, partitions: int
    ) -> None:
        self.loop = loop
        self.group = group
        self._faults = faults
        self._chance = chance
        self._order: list[tuple[TP, int]] = []
        self.commits: list[Commit] = []
        self.partitions = partitions
        self._trace = trace
        self.logs: dict[TP, PartitionLog] = {}
        self._appended = loop.create_future()
        self.taken: Callable[[str], None] = lambda _client: None
        """Called with a client's name when a batch or a commit of it was taken, and before it hears of that."""

    def create(self, *topics: str) -> None:
        """Make topics."""
        self.logs |= {TP(topic, number): PartitionLog() for topic in topics for number in range(self.partitions)}

    def topics(self) -> set[str]:
        """Return the topics."""
        return {tp.topic for tp in self.logs}

    def partition_of(self, key: bytes | None) -> int:
        """Return the partition of a key; records without one lie on the first."""
        return 0 if key is None else murmur2_partition(key, self.partitions)

    def now_ms(self) -> int:
        """Return the broker's wall clock, Unix ms."""
        return round((EPOCH_SECONDS + self.loop.time()) * 1000)

    def append(
        self, tp: TP, key: bytes | None, value: bytes | None, headers: Any = (), *, by: str = "shop", **more: Any
    ) -> int:
        """Write a record."""
        offset = self.logs[tp].append(key, value, headers, self.now_ms(), **more)
        self._order.append((tp, offset))
        self._trace.add("append", by, tp, offset, value)
        self.stir()
        return offset

    def produce(self, client: str, tp: TP, batch: Any) -> Any:
        """Take a batch of a client, at times without an answer or with an error after which it comes again."""
        luck = self._chance.random()
        if (luck := luck - self._faults.refused_produce) < 0:
            self._trace.add("refused", client, tp)
            raise errors.NotEnoughReplicasError
        is_spared = self._faults.loses_only_changelog and not tp.topic.endswith("-changelog")
        lost_produce = 0.0 if is_spared else self._faults.lost_produce
        luck -= lost_produce
        if luck < -lost_produce / 2:
            self._trace.add("batch_lost", client, tp)
            return self.loop.create_future()  # for ever
        offsets = [self.append(tp, one.key, one.value, one.headers, by=client) for one in batch]
        self.taken(client)
        if luck < 0:
            self._trace.add("answer_lost", client, tp)
            return self.loop.create_future()
        if luck - self._faults.refused_after_append < 0:
            self._trace.add("refused_after_append", client, tp)
            raise errors.NotEnoughReplicasAfterAppendError
        return offsets

    def commit(self, client: str, member_id: str | None, generation: int, offsets: Any) -> None:
        """Take commits of a member; at times it does not hear of it."""
        is_lost = self._chance.random() < self._faults.lost_commit
        if is_lost and self._chance.random() < 0.5:
            self._trace.add("commit_lost")
            raise errors.RequestTimedOutError
        self.group.commit(member_id or "", generation, offsets)
        for tp, offset in sorted(offsets.items()):
            self._trace.add("commit", member_id, tp, offset)
            self.commits.append(Commit(tp, offset, len(self._order)))
        self.taken(client)
        if is_lost:
            self._trace.add("commit_answer_lost")
            raise errors.RequestTimedOutError

    def in_order(self, *topics: str) -> Iterator[tuple[str, int, Entry]]:
        """Yield the committed records of topics in the order in which they came, with the number of each."""
        for number, (tp, offset) in enumerate(self._order, 1):
            if tp.topic in topics:
                yield tp.topic, number, self.logs[tp].at(offset)

    def stir(self) -> None:
        """Wake up the fetches that wait for data."""
        self._appended.set_result(None)
        self._appended = self.loop.create_future()

    async def wait_for_data(self, timeout_seconds: float) -> None:
        """Wait until something is appended anywhere."""
        await asyncio.wait([self._appended], timeout=timeout_seconds)


class Network:
    """Carries requests: each takes a while there and back, and goes on when the client is dead already."""

    def __init__(self, loop: SimulatedLoop, chance: random.Random, faults: Faults) -> None:
        self._loop = loop
        self._chance = chance
        self._faults = faults
        self.cut_until: dict[str, float] = {}

    def request(self, operation: Callable[[], Any]) -> "asyncio.Future[Any]":
        """Send a request; `operation` is what the broker does, and may give an awaitable.

        The answer arrives after `operation` has happened, or never where the client is gone.
        """
        answer = self._loop.create_future()
        self._outside(self._carry(operation, answer, current_thread().process.name))
        return answer

    def _outside(self, coroutine: Awaitable[None]) -> None:
        context: contextvars.Context = self._loop.outside.copy()
        self._loop.create_task(coroutine, context=context)  # type: ignore[arg-type]

    async def _carry(self, operation: Callable[[], Any], answer: "asyncio.Future[Any]", client: str) -> None:
        await self.take_time(client)
        try:
            result = operation()
            if asyncio.isfuture(result) or asyncio.iscoroutine(result):
                result = await result
        except Exception as error:  # noqa: BLE001 - the broker's answer
            await self.take_time(client)
            if not answer.done():
                answer.set_exception(error)
                answer.exception()
            return
        await self.take_time(client)
        if not answer.done():
            answer.set_result(result)

    async def take_time(self, client: str) -> None:
        """Take as long as a message takes."""
        await asyncio.sleep(self._chance.random() ** 3 * (0.01 + self._faults.slow_network))
        if (cut := self.cut_until.get(client, 0.0)) > self._loop.time():
            await asyncio.sleep(cut - self._loop.time())
