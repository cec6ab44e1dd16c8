"""RocksDB as the table keeps its state in it: only what counts of the changelog, and beside it whose it is."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Any, Final

import structlog
from faust.types import TP
from rocksdict import WriteBatch

from streams.state.fencing import CLAIM_KEY, RESERVED, Fence, Owner, owner_of, visible
from streams.state.local import LocalState

log = structlog.get_logger(__name__)

_OWNER_KEY: Final = CLAIM_KEY
_STALE: Final = RESERVED + b"stale\0"
"""Begins the local keys that name what a stale record of the changelog lies over: compaction would keep that one."""


class FencedStore(LocalState):
    """The local state with a fence (streams/state/fencing.py).

    Owner, offset and values change in one write: a recovery from the middle of a changelog knows whom it may believe.

    How far the local state holds the changelog of a partition that is ours is written with its next values, or by
    `write_offsets`. What is stored may lag, which costs a recovery some records more, and never leads.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._offsets: dict[int, int] = {}

    def write(self, partition: int, values: Mapping[bytes, bytes | None]) -> None:
        """Write values, None = none any more, in one go."""
        writes = WriteBatch(raw_mode=True)
        for key, value in values.items():
            _set(writes, key, value)
        if (offset := self._offsets.pop(partition, None)) is not None:
            writes.put(self.offset_key, b"%d" % offset)
        self._db_for_partition(partition).write(writes)

    def set_persisted_offset(self, tp: TP, offset: int) -> None:
        """Take in how far the local state holds the changelog, unless the partition is closed; see the class."""
        if tp.partition in self._dbs:
            self._offsets[tp.partition] = offset

    def persisted_offset(self, tp: TP) -> int | None:
        """Return how far that is."""
        self._write_offset(tp.partition)
        stored: int | None = super().persisted_offset(tp)
        return stored

    def write_offsets(self) -> None:
        """Write what is not written yet of how far that is."""
        for partition in list(self._offsets):
            self._write_offset(partition)

    def revoke_partitions(self, table: Any, tps: set[TP]) -> None:
        """Write that for the last time, and close the partitions."""
        self.write_offsets()
        super().revoke_partitions(table, tps)

    async def stop(self) -> None:
        """Write that for the last time, and close all partitions."""
        self.write_offsets()
        await super().stop()

    def _write_offset(self, partition: int) -> None:
        """Write it, unless the partition is closed: it may be another worker's by now."""
        offset = self._offsets.pop(partition, None)
        if offset is not None and partition in self._dbs:
            self._dbs[partition].put(self.offset_key, b"%d" % offset)

    def owner(self, partition: int) -> Owner | None:
        """Return the owner as far as the changelog is read; None = nobody has claimed the partition."""
        stored = self._db_for_partition(partition).get(_OWNER_KEY)
        return None if stored is None else Owner.decode(stored)

    def begin(self, tp: TP, owner: Owner, offset: int) -> None:
        """Take in that `owner` is the owner since its claim at `offset`, the latest record of the changelog."""
        self._offsets.pop(tp.partition, None)
        writes = WriteBatch(raw_mode=True)
        writes.put(_OWNER_KEY, owner.encode())
        writes.put(self.offset_key, b"%d" % offset)
        self._db_for_partition(tp.partition).write(writes)

    def under_stale(self, partition: int) -> list[tuple[bytes, bytes | None]]:
        """Return the keys over whose value a stale record lies in the changelog, with that value; None = none."""
        database = self._db_for_partition(partition)
        return [(key, database.get(key)) for key in self._noted(partition)]

    def _noted(self, partition: int) -> list[bytes]:
        keys = (key for key, _ in self._db_for_partition(partition).items(_STALE))
        return [key.removeprefix(_STALE) for key in takewhile(lambda key: key.startswith(_STALE), keys)]

    def forget_stale(self, partition: int, keys: Iterable[bytes]) -> None:
        """Take in that the values of these keys are written again."""
        writes = WriteBatch(raw_mode=True)
        for key in keys:
            writes.delete(_STALE + key)
        self._db_for_partition(partition).write(writes)

    def apply_changelog_batch(self, batch: Iterable[Any], **_codecs: Any) -> None:
        """Write records of the changelog, those that count, and how far it is read."""
        messages: dict[TP, list[Any]] = defaultdict(list)
        for event in batch:
            messages[event.message.tp].append(event.message)
        for tp, ones in messages.items():
            self._apply(tp, ones)

    def _apply(self, tp: TP, messages: Sequence[Any]) -> None:
        self._offsets.pop(tp.partition, None)  # what is read here lies behind it
        fence = Fence(self.owner(tp.partition))
        writes, stale, noted = WriteBatch(raw_mode=True), 0, set(self._noted(tp.partition))
        for message in messages:
            counts = fence.keeps(owner_of(message.headers))
            if message.key.startswith(RESERVED):
                continue  # a claim: the fence has taken it in
            if not counts:
                writes.put(_STALE + message.key, b"")
                noted.add(message.key)
                stale += 1
                continue
            if message.key in noted:  # no stale record is the key's last any more; and an erased id must not stay here
                writes.delete(_STALE + message.key)
            _set(writes, message.key, message.value)
        if fence.owner is not None:
            writes.put(_OWNER_KEY, fence.owner.encode())
        writes.put(self.offset_key, b"%d" % max(message.offset for message in messages))
        self._db_for_partition(tp.partition).write(writes)
        if stale:
            self.app.delivery_metrics.stale_states.inc(stale)
            log.warning("stale_states_passed_over", topic=tp.topic, partition=tp.partition, records=stale)

    def _visible_items(self, db: Any) -> Iterator[tuple[bytes, bytes]]:
        return visible(super()._visible_items(db))

    def _visible_keys(self, db: Any) -> Iterator[bytes]:
        return (key for key in super()._visible_keys(db) if not key.startswith(RESERVED))


def _set(writes: Any, key: bytes, value: bytes | None) -> None:
    """Add a value to a batch; None = the key has none any more."""
    if value is None:
        writes.delete(key)
    else:
        writes.put(key, value)
