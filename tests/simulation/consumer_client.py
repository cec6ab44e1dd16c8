"""Stands in for aiokafka's consumer: its subscription state is the real one, its fetcher and coordinator are simulated.

What can go wrong between the threads, and so must be as in aiokafka 0.14: records are fetched ahead and thrown away
when the position has moved; what was handed out is not; a fetch goes on while others seek; heartbeats go on while
partitions are handed over; positions come from the commits as soon as a partition is assigned.
"""

import asyncio
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any

from aiokafka import errors
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.types import TP

from tests.simulation.broker import Broker, Network
from tests.simulation.coordinator import Coordinator
from tests.simulation.fetcher import MOST_RECORDS_A_POLL, Fetcher
from tests.simulation.loop import current_thread


class ConsumerClient:
    """What Faust and streams/delivery/strict.py ask of an AIOKafkaConsumer."""

    def __init__(
        self,
        *,
        group_id: str,
        partition_assignment_strategy: list[Any],
        heartbeat_interval_ms: int,
        request_timeout_ms: int,
        isolation_level: str = "read_uncommitted",
        **_options: Any,
    ) -> None:
        host = self.host = current_thread().process.owner
        self.broker: Broker = host.broker
        self.network: Network = host.network
        self.assignor = partition_assignment_strategy[0]
        self.group_id = group_id
        self.heartbeat_seconds = heartbeat_interval_ms / 1000
        self._request_timeout_ms = request_timeout_ms
        self._isolation_level = isolation_level
        self._subscription = SubscriptionState()
        self._fetcher = Fetcher(self)
        self._coordinator = Coordinator(self)
        self._client = SimpleNamespace(cluster=Cluster(self.broker), _sync_task=self._fetcher._fetch_task)
        self._max_poll_records = MOST_RECORDS_A_POLL
        self._closed = False

    async def start(self) -> None:
        """Begin."""

    async def stop(self) -> None:
        """Leave the group."""
        self._closed = True
        await self._coordinator.close()
        self._fetcher.close()

    def subscribe(self, topics: set[str], listener: Any) -> None:
        """Join the group with these topics."""
        self._subscription.subscribe(topics=topics, listener=listener)

    def assignment(self) -> set[TopicPartition]:
        """Return what is assigned."""
        return self._subscription.assigned_partitions()

    def seek(self, tp: TopicPartition, offset: int) -> None:
        """Go on from there."""
        if not isinstance(offset, int) or offset < 0:
            raise ValueError("Offset must be a positive integer")
        self._fetcher.seek_to(tp, offset)

    async def position(self, tp: TopicPartition) -> int:
        """Return the position, once there is one."""
        while True:
            if not self._subscription.is_assigned(tp):
                raise errors.IllegalStateError(f"Partition {tp} is not assigned")
            assignment = self._subscription.subscription.assignment
            state = assignment.state_value(tp)
            if state.has_valid_position:
                return int(state.position)
            await asyncio.wait(
                [asyncio.ensure_future(state.wait_for_position()), assignment.unassign_future],
                return_when=asyncio.FIRST_COMPLETED,
            )

    async def seek_to_committed(self) -> dict[TopicPartition, int | None]:
        """Seek each partition to its commit, one after the other, as aiokafka does."""
        partitions = sorted(self.assignment())
        assert partitions, "No partitions are currently assigned"
        committed = {}
        for tp in partitions:
            offset = committed[tp] = await self.network.request(lambda tp=tp: self.broker.group.commits.get(TP(*tp)))
            if offset:
                self._fetcher.seek_to(tp, offset)
        return committed

    async def commit(self, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
        """Commit."""
        assignment = self.assignment()
        for tp in offsets:
            if tp not in assignment:
                raise errors.IllegalStateError(f"Partition {tp} is not assigned")
        await self._coordinator.commit({TP(*tp): given.offset for tp, given in offsets.items()})

    def highwater(self, tp: TopicPartition) -> int | None:
        """Return the end as of the last fetch."""
        return self._state(tp).highwater

    def last_stable_offset(self, tp: TopicPartition) -> int | None:
        """Return the end of what may be read, as of the last fetch."""
        return self._state(tp).lso

    async def beginning_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Ask for the beginnings."""
        asked = list(partitions)
        return await self.network.request(lambda: {tp: self.broker.logs[TP(*tp)].start for tp in asked})

    async def offsets_for_times(self, times: Mapping[TopicPartition, int]) -> dict[TopicPartition, Any]:
        """Ask for the first records since times."""

        def look() -> dict[TopicPartition, Any]:
            return {tp: self.broker.logs[TP(*tp)].first_since(time_ms) for tp, time_ms in times.items()}

        return await self.network.request(look)

    def _state(self, tp: TopicPartition) -> Any:
        assert self._subscription.is_assigned(tp), f"{tp} is not assigned"
        return self._subscription.subscription.assignment.state_value(tp)


class Cluster:
    """What clients know of the topics."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        """Return the partitions."""
        return set(range(self._broker.partitions)) if topic in self._broker.topics() else None

    available_partitions_for_topic = partitions_for_topic
