"""The table of states: its writes can be awaited, carry who wrote them, and reach the disk many at a time."""

import asyncio
import secrets
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, Final

import faust
import structlog
from faust.types import TP

from schemas.errors import InsessionError
from schemas.state import is_mark
from streams.records import Delivery, OutputRecord
from streams.state.fenced_store import FencedStore
from streams.state.fencing import CLAIM_KEY, WORKER_BYTES, Fence, Owner, visible

log = structlog.get_logger(__name__)

OFFSETS_SECONDS: Final = 0.5
"""How far behind it may be what the local files say of the changelog, where nothing is written to a partition."""


class ContestedPartitionError(InsessionError):
    """Another worker wrote to a changelog partition while this one took it over."""


class UnclaimedPartitionError(InsessionError):
    """A state of a partition that is another worker's was to be written. The process ends; a restart reads it again."""


@dataclass(slots=True)
class _Ownership:
    """A partition that is ours. next_offset: of our next changelog record, where nobody else writes."""

    changelog: TP
    owner: Owner
    next_offset: int
    is_claimed: bool = False
    is_alone: bool = True
    headers: list[tuple[str, bytes]] = field(init=False)

    def __post_init__(self) -> None:
        """Make the headers of its records."""
        self.headers = self.owner.headers()

    def took(self, offset: int) -> bool:
        """Take in where our next record lies; False once there is one of somebody else before it, or a copy of ours."""
        if offset != self.next_offset:
            self.is_alone = False
        self.next_offset = offset + 1
        return self.is_alone


class StateTable(faust.Table):  # type: ignore[misc]
    """A table of bytes whose writes hand out the changelog record's delivery; `claim` a partition before its first.

    Without awaiting it, outputs can be acknowledged and committed while the changelog record is still in a buffer; a
    crash then loses the update.

    A write is read at once, and goes into the local files with `flush`: before anything else is awaited.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._worker = secrets.token_bytes(WORKER_BYTES)
        self._owned: dict[int, _Ownership] = {}
        self._claiming = asyncio.Lock()
        self._unwritten: defaultdict[int, dict[bytes, bytes | None]] = defaultdict(dict)

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
            self._send(number, CLAIM_KEY, None, partial(self._on_claimed, ownership))
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

    def get(self, partition: int, key: bytes) -> bytes | None:
        """Read `key` in a partition of ours."""
        unwritten = self._unwritten.get(partition)
        if unwritten is not None and key in unwritten:
            return unwritten[key]
        return self.data._db_for_partition(partition).get(key)  # type: ignore[no-any-return]  # noqa: SLF001

    def put(self, partition: int, key: bytes, value: bytes) -> Delivery:
        """Write `key`; the result is settled when the broker has the changelog record."""
        return self._write(partition, key, value)

    def drop(self, partition: int, key: bytes) -> Delivery:
        """Remove `key` with a tombstone; the result is settled when the broker has it."""
        return self._write(partition, key, None)

    def flush(self) -> None:
        """Bring what was written since the last time into the local files."""
        for partition, values in self._unwritten.items():
            self.data.write(partition, values)
        self._unwritten.clear()

    def write_offsets(self) -> None:
        """Write how far the local files hold the changelog; a timer calls it."""
        self.data.write_offsets()

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
        owner = Fence(self.data.owner(partition)).next_owner(self._worker)
        return _Ownership(TP(self.changelog_topic_name, partition), owner, next_offset=read_to + 1)

    async def _write_again(self, partition: int) -> None:
        """Write what stale records lie over: a later compaction would keep those and drop the good ones before them."""
        covered: Sequence[tuple[bytes, bytes | None]] = self.data.under_stale(partition)
        for written in [self._send(partition, key, value) for key, value in covered]:
            await written
        if covered:
            self.data.forget_stale(partition, [key for key, _ in covered])
            log.info("states_written_again", partition=partition, states=len(covered))

    def _write(self, partition: int, key: bytes, value: bytes | None) -> Delivery:
        delivery = self._send(partition, key, value)
        self._unwritten[partition][key] = value
        return delivery

    def _send(
        self,
        partition: int,
        key: bytes,
        value: bytes | None,
        then: Callable[[Delivery], None] | None = None,
    ) -> Delivery:
        ownership = self._owned.get(partition)
        if ownership is None:
            raise UnclaimedPartitionError(
                f"a state was to be written to topic {self.changelog_topic_name} partition {partition}, which this "
                "worker has not, or not any more. Start it again: whoever has the partition answers the click"
            )
        record = OutputRecord(ownership.changelog.topic, key, value, ownership.headers, partition)
        delivery: Delivery = self.app.producer.deliver(record)
        delivery.then(then or partial(self._on_written, ownership))
        return delivery

    def _on_claimed(self, ownership: _Ownership, sent: Delivery) -> None:
        """Begin with a claim that lies where the recovery ended: nobody can have claimed the same epoch before it."""
        is_ours = self._owned.get(ownership.changelog.partition) is ownership
        if sent.error is None and ownership.took(sent.offset) and is_ours:
            self.data.begin(ownership.changelog, ownership.owner, sent.offset)
            ownership.is_claimed = True

    def _on_written(self, ownership: _Ownership, sent: Delivery) -> None:
        """Note how far the local state holds the changelog.

        Not behind a record that is not ours: whoever wrote it, a recovery must read it. That goes on until the next
        claim, because what is noted covers all before it.
        """
        if sent.error is not None:
            return
        was_alone = ownership.is_alone
        if ownership.took(sent.offset) and ownership.is_claimed:
            self.data.set_persisted_offset(ownership.changelog, sent.offset)
        elif was_alone and not ownership.is_alone:
            changelog = ownership.changelog
            log.warning("changelog_is_shared", topic=changelog.topic, partition=changelog.partition, offset=sent.offset)
