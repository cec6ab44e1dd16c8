"""The table of states: its writes can be awaited, and carry who wrote them."""

import asyncio
import secrets
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import faust
import structlog
from faust.types import TP

from schemas.errors import InsessionError
from schemas.state import is_mark
from streams.state.fenced_store import FencedStore
from streams.state.fencing import CLAIM_KEY, WORKER_BYTES, Fence, Owner, visible

log = structlog.get_logger(__name__)


class ContestedPartitionError(InsessionError):
    """Another worker wrote to a changelog partition while this one took it over."""


class UnclaimedPartitionError(InsessionError):
    """A state of a partition that is another worker's was to be written. The process ends; a restart reads it again."""


@dataclass(slots=True)
class _Ownership:
    """A partition that is ours. next_offset: of our next changelog record, where nobody else writes."""

    owner: Owner
    next_offset: int
    is_claimed: bool = False
    is_alone: bool = True

    def took(self, offset: int) -> bool:
        """Take in where our next record lies; False once there is one of somebody else before it, or a copy of ours."""
        if offset != self.next_offset:
            self.is_alone = False
        self.next_offset = offset + 1
        return self.is_alone


class StateTable(faust.Table):  # type: ignore[misc]
    """A table of bytes whose writes hand out the changelog record's future; `claim` a partition before its first.

    Without awaiting it, outputs can be acknowledged and committed while the changelog record is still in a buffer; a
    crash then loses the update.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._worker = secrets.token_bytes(WORKER_BYTES)
        self._owned: dict[int, _Ownership] = {}
        self._claiming = asyncio.Lock()

    async def claim(self, partitions: AbstractSet[int]) -> set[int]:
        """Become the owner of those of these partitions whose state is recovered, and of no others; returns them.

        Faust says that a recovery is complete also when a rebalance has broken it off, and then again when it is.

        What stale records lie over in the changelog is written again. Raises ContestedPartitionError where somebody
        has written since the recovery.
        """
        async with self._claiming:
            self.app.tables.recovery.flush_buffers()
            read_to = {partition: self._read_to(partition) for partition in partitions}
            await self._claim({partition: offset for partition, offset in read_to.items() if offset is not None})
            return set(self._owned)

    async def _claim(self, read_to: Mapping[int, int]) -> None:
        self._owned = {partition: self._next_ownership(partition, offset) for partition, offset in read_to.items()}
        claims = [
            self._send(number, CLAIM_KEY, None, callback=partial(self._on_claimed, ownership))
            for number, ownership in self._owned.items()
        ]
        for claimed in claims:
            await claimed
        for number, ownership in self._owned.items():
            if not ownership.is_claimed:
                raise ContestedPartitionError(
                    f"topic {self.changelog_topic_name} partition {number}: another worker wrote while this one took "
                    "the partition over. Start again; if it happens again, see whether two workers have the same "
                    "kafka.instance_id"
                )
        for number in self._owned:
            await self._write_again(number)

    def claims(self, partition: int) -> int:
        """Return how often a partition was claimed, our own claim included; 0 while it is not ours."""
        return self._owned[partition].owner.epoch if partition in self._owned else 0

    def get(self, key: bytes) -> bytes | None:
        """Read `key` in the current event's partition, once; Faust's own `get` looks for it first and reads it then."""
        try:
            return self.data[key]  # type: ignore[no-any-return]
        except KeyError:
            return None

    def put(self, key: bytes, value: bytes) -> Awaitable[Any]:
        """Write `key` in the current event's partition; the result is done when the broker has the changelog record."""
        future = self._send(self.partition_for_key(key), key, value)
        self.data[key] = value
        return future

    def drop(self, key: bytes) -> Awaitable[Any]:
        """Remove `key` with a tombstone; the result is done when the broker has it."""
        future = self._send(self.partition_for_key(key), key, None)
        if key in self.data:
            del self.data[key]
        return future

    def our_partitions(self) -> set[int]:
        """Return the partitions whose state is ours (not a standby's)."""
        return {tp.partition for tp in self.app.assignor.assigned_actives() if tp.topic == self.changelog_topic_name}

    def local_size(self) -> tuple[int, int]:
        """Estimate the entries and the bytes that the local partitions hold, standbys included.

        A key that was written again counts again until RocksDB has compacted it.
        """
        databases = list(self.data._dbs.values())  # noqa: SLF001 - Faust has no public way to its databases
        keys, *sizes = (
            sum(database.property_int_value(name) or 0 for database in databases)
            for name in ("rocksdb.estimate-num-keys", "rocksdb.total-sst-files-size", "rocksdb.cur-size-all-mem-tables")
        )
        return keys, sum(sizes)

    def look(self, partition: int, key: bytes) -> bytes | None:
        """Read `key` in a partition while no event is worked on."""
        return self.data._db_for_partition(partition).get(key)  # type: ignore[no-any-return]  # noqa: SLF001

    def following(self, partition: int, key: bytes | None, count: int) -> list[tuple[bytes, bytes]]:
        """Read the next entries behind `key` in a partition, in the order of the keys; None = from the first on."""
        store = self.data
        found = visible(store._db_for_partition(partition).items(from_key=key or b""))  # noqa: SLF001
        others = (item for item in found if item[0] not in {key, store.offset_key})
        return list(islice(others, count))

    def partition_items(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """Read the states of one partition, without the marks beside them; the partition must be recovered."""
        store = self.data
        database = store._db_for_partition(partition)  # noqa: SLF001 - Faust has no public way to read one partition
        items = store._visible_items(database)  # noqa: SLF001
        return ((key, value) for key, value in items if not is_mark(key))

    def _new_store_by_url(self, url: Any) -> Any:
        if url.scheme != "rocksdb":
            return super()._new_store_by_url(url)
        return FencedStore(
            url,
            self.app,
            self,
            table_name=self.name,
            key_type=self.key_type,
            key_serializer=self.key_serializer,
            value_serializer=self.value_serializer,
            value_type=self.value_type,
            loop=self.loop,
            options=self.options,
        )

    def _read_to(self, partition: int) -> int | None:
        """Return the offset up to which the local state holds the changelog; None where the recovery has not got there.

        The end may have been compacted away, then the recovery has passed it; or be a record of our own.
        """
        tp, recovery = TP(self.changelog_topic_name, partition), self.app.tables.recovery
        end: int | None = recovery.active_highwaters.get(tp)
        known = (recovery.active_offsets.get(tp), self.data.persisted_offset(tp))
        read_to: int = max((offset for offset in known if offset is not None), default=-1)
        return None if end is None or read_to < end else read_to

    def _next_ownership(self, partition: int, read_to: int) -> _Ownership:
        return _Ownership(Fence(self.data.owner(partition)).next_owner(self._worker), next_offset=read_to + 1)

    async def _write_again(self, partition: int) -> None:
        """Write what stale records lie over: a later compaction would keep those and drop the good ones before them."""
        covered: Sequence[tuple[bytes, bytes | None]] = self.data.under_stale(partition)
        for written in [self._send(partition, key, value) for key, value in covered]:
            await written
        if covered:
            self.data.forget_stale(partition, [key for key, _ in covered])
            log.info("states_written_again", partition=partition, states=len(covered))

    def _send(self, partition: int, key: bytes, value: bytes | None, *, callback: Any = None) -> Awaitable[Any]:
        self.app.require_lease()
        ownership = self._owned.get(partition)
        if ownership is None:
            raise UnclaimedPartitionError(
                f"a state was to be written to topic {self.changelog_topic_name} partition {partition}, which this "
                "worker has not, or not any more. Start it again: whoever has the partition answers the click"
            )
        future: Awaitable[Any] = self.changelog_topic.send_soon(
            key=key,
            value=value,
            partition=partition,
            headers=ownership.owner.headers(),
            key_serializer="raw",
            value_serializer="raw",
            callback=callback or partial(self._on_written, ownership),
        )
        return future

    def _on_claimed(self, ownership: _Ownership, sent: Any) -> None:
        """Begin with a claim that lies where the recovery ended: nobody can have claimed the same epoch before it."""
        at = sent.result()
        if ownership.took(at.offset) and self._owned.get(at.partition) is ownership:
            self.data.begin(TP(*at.topic_partition), ownership.owner, at.offset)
            ownership.is_claimed = True

    def _on_written(self, ownership: _Ownership, sent: Any) -> None:
        """Note how far the local state holds the changelog.

        Not behind a record that is not ours: whoever wrote it, a recovery must read it. That goes on until the next
        claim, because what is noted covers all before it.
        """
        at, was_alone = sent.result(), ownership.is_alone
        if ownership.took(at.offset) and ownership.is_claimed:
            self.data.set_persisted_offset(TP(*at.topic_partition), at.offset)
        elif was_alone and not ownership.is_alone:
            log.warning("changelog_is_shared", topic=at.topic, partition=at.partition, offset=at.offset)
