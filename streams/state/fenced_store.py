"""RocksDB as the table keeps its state in it: only what counts of the changelog, and beside it whose it is."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
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
    """

    def owner(self, partition: int) -> Owner | None:
        """Return the owner as far as the changelog is read; None = nobody has claimed the partition."""
        stored = self._db_for_partition(partition).get(_OWNER_KEY)
        return None if stored is None else Owner.decode(stored)

    def begin(self, tp: TP, owner: Owner, offset: int) -> None:
        """Take in that `owner` is the owner since its claim at `offset`, the latest record of the changelog."""
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
            if message.value is None:
                writes.delete(message.key)
            else:
                writes.put(message.key, message.value)
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
