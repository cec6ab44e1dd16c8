"""The fetcher inside the consumer's client: fetches ahead, a request at a time, and hands out what is still valid."""

import asyncio
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from aiokafka.consumer import fetcher as aiokafka_fetcher
from aiokafka.structs import TopicPartition
from faust.types import TP

from tests.simulation.partition_log import Entry

if TYPE_CHECKING:
    from tests.simulation.consumer_client import ConsumerClient

FETCH_WAIT_SECONDS: Final = 0.5
LONGEST_HANDOVER_SECONDS: Final = 0.5
MOST_RECORDS_A_FETCH: Final = 20
MOST_RECORDS_A_POLL: Final = 16


class Fetched:
    """Records that are fetched ahead, valid as long as the position is where they begin."""

    def __init__(self, assignment: Any, records: list[Entry], position: int, after: int) -> None:
        self.assignment = assignment
        self.records = records
        self.position = position
        self.after = after

    def take(self, tp: TopicPartition, at_most: int) -> list[Entry]:
        """Hand records out, and move the position behind them."""
        state = self.assignment.state_value(tp)
        if not self.assignment.active or state.position != self.position:
            self.records, self.after = [], self.position
            return []
        taken, self.records = self.records[:at_most], self.records[at_most:]
        self.position = taken[-1].offset + 1 if self.records else self.after
        state.consumed_to(self.position)
        return taken


class Fetcher:
    """Fetches ahead in the background, a request at a time, from the positions of the assignment."""

    def __init__(self, client: "ConsumerClient") -> None:
        self._consumer = client
        self._host = client.host
        self._subscriptions = client._subscription
        self._isolation_level = aiokafka_fetcher.READ_COMMITTED
        self._records: dict[TopicPartition, Fetched] = {}
        self._arrived = asyncio.Event()
        self._wanted = asyncio.Event()
        self._closed = False
        self._fetch_task = asyncio.ensure_future(self._fetch_ahead())

    def close(self) -> None:
        """Stop."""
        self._closed = True
        self._fetch_task.cancel()

    def _get_actions_per_node(self, *_: Any) -> Any:
        """Stand where aiokafka builds its requests: here none is held by a broker."""
        raise NotImplementedError

    async def _proc_fetch_request(self, *_: Any) -> bool:
        """Stand where aiokafka asks: ticks want to know when, and here are none."""
        raise NotImplementedError

    def seek_to(self, tp: TopicPartition, offset: int) -> None:
        """Move the position; what is fetched ahead is thrown away when somebody looks at it."""
        self._subscriptions.seek(tp, offset)
        self._wanted.set()

    async def fetched_records(
        self,
        partitions: Iterable[TopicPartition],
        timeout: float = 0,  # noqa: ASYNC109 - aiokafka's name
        max_records: int = MOST_RECORDS_A_POLL,
    ) -> dict[TopicPartition, list[Any]]:
        """Hand out what was fetched of these partitions; waits for it up to the timeout."""
        until = asyncio.get_running_loop().time() + timeout
        while True:
            if self._subscriptions.reassignment_in_progress:
                await self._subscriptions.wait_for_assignment()
            drained = self._drain(set(partitions), max_records)
            if drained:
                await self._hand_over()
            left = until - asyncio.get_running_loop().time()
            if drained or left <= 0 or self._closed:
                return drained
            self._arrived.clear()
            try:
                await asyncio.wait_for(self._arrived.wait(), left)
            except TimeoutError:
                return {}

    async def end_offsets(self, partitions: Iterable[TopicPartition], _timeout_ms: int) -> dict[TopicPartition, int]:
        """Ask for the ends, by the isolation level that is set."""
        asked, is_committed = list(partitions), self._isolation_level == aiokafka_fetcher.READ_COMMITTED

        def look() -> dict[TopicPartition, int]:
            logs = {tp: self._consumer.broker.logs[TP(*tp)] for tp in asked}
            return {tp: log.stable_end if is_committed else log.end for tp, log in logs.items()}

        return await self._consumer.network.request(look)

    async def _hand_over(self) -> None:
        """Take a while, at times: the thread of the app has other things to do."""
        if self._host.is_late():
            await asyncio.sleep(self._host.chance.random() * LONGEST_HANDOVER_SECONDS)

    def _drain(self, partitions: set[TopicPartition], at_most: int) -> dict[TopicPartition, list[Any]]:
        drained: dict[TopicPartition, list[Any]] = {}
        for tp in list(self._records):
            if partitions and tp not in partitions:
                if not self._subscriptions.is_assigned(tp):
                    del self._records[tp]
                continue
            fetched = self._records[tp]
            taken = fetched.take(tp, at_most)
            if not fetched.records:
                del self._records[tp]
                self._wanted.set()
            if taken:
                drained[tp] = [_as_aiokafka(tp, entry) for entry in taken]
                at_most -= len(taken)
                if at_most <= 0:
                    break
        return drained

    async def _fetch_ahead(self) -> None:
        while True:
            subscription = self._subscriptions.subscription
            assignment = None if subscription is None else subscription.assignment
            if assignment is None or not assignment.active:
                self._records.clear()
                await self._subscriptions.wait_for_assignment()
                continue
            self._wanted.clear()
            await self._find_positions(assignment)
            positions = {
                tp: state.position
                for tp in sorted(assignment.tps)
                if tp not in self._records and (state := assignment.state_value(tp)).has_valid_position
            }
            if positions and assignment.active:
                answer = self._consumer.network.request(lambda positions=positions: self._ask(positions))
                await asyncio.wait([answer, assignment.unassign_future], return_when=asyncio.FIRST_COMPLETED)
                if answer.done() and assignment.active:
                    self._take_in(assignment, positions, answer.result())
            else:
                waits = [asyncio.ensure_future(self._wanted.wait()), assignment.unassign_future]
                await asyncio.wait(waits, timeout=FETCH_WAIT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                waits[0].cancel()

    async def _ask(self, positions: Mapping[TopicPartition, int]) -> dict[TopicPartition, Any]:
        """Do what the broker does with a fetch: answer when there is data, or after a while."""
        broker = self._consumer.broker
        is_committed = self._consumer._isolation_level == "read_committed"
        logs = {tp: broker.logs[TP(*tp)] for tp in positions}
        until = broker.loop.time() + FETCH_WAIT_SECONDS
        while not any(
            logs[tp].has_more(position, is_committed=is_committed) or not logs[tp].start <= position <= logs[tp].end
            for tp, position in positions.items()
        ):
            left = until - broker.loop.time()
            if left <= 0:
                break
            await broker.wait_for_data(left)
        found = {}
        for tp, position in positions.items():
            log = logs[tp]
            is_within = log.start <= position <= log.end
            read = log.read(position, MOST_RECORDS_A_FETCH, is_committed=is_committed) if is_within else None
            found[tp] = (read, log.end, log.stable_end)
        return found

    def _take_in(
        self, assignment: Any, positions: Mapping[TopicPartition, int], found: Mapping[TopicPartition, Any]
    ) -> None:
        for tp, (read, end, stable_end) in found.items():
            state = assignment.state_value(tp)
            if not state.has_valid_position or state.position != positions[tp]:
                continue
            if read is None:
                state.await_reset(aiokafka_fetcher.OffsetResetStrategy.EARLIEST)
                continue
            state.highwater, state.lso = end, stable_end
            records, after = read
            if records:
                self._records[tp] = Fetched(assignment, records, positions[tp], after)
                self._arrived.set()
            elif after > positions[tp]:
                state.consumed_to(after)

    async def _find_positions(self, assignment: Any) -> None:
        """Begin at the commits; where there is none, or its offset is gone, at the beginning."""
        broker, network = self._consumer.broker, self._consumer.network
        for tp in sorted(assignment.tps):
            state = assignment.state_value(tp)
            if state.has_valid_position:
                continue
            commit = None
            if not state.awaiting_reset:
                commit = await network.request(lambda tp=tp: broker.group.commits.get(TP(*tp)))
            if commit is None:
                commit = await network.request(lambda tp=tp: broker.logs[TP(*tp)].start)
            if not state.has_valid_position and assignment.active:
                state.reset_to(commit)


def _as_aiokafka(tp: TopicPartition, entry: Entry) -> Any:
    return SimpleNamespace(
        topic=tp.topic,
        partition=tp.partition,
        offset=entry.offset,
        timestamp=entry.time_ms,
        timestamp_type=0,
        headers=entry.headers,
        key=entry.key,
        value=entry.value,
        checksum=None,
        serialized_key_size=-1,
        serialized_value_size=-1,
    )
