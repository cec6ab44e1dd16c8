import gc
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import faust
import pytest
from faust.types import TP
from prometheus_client import CollectorRegistry

from streams.metrics import DeliveryMetrics
from streams.state.fenced_store import FencedStore
from streams.state.fencing import CLAIM_KEY, Owner
from streams.state.table import StateTable

CHANGELOG = TP("states-changelog", 2)
OLD, NEW = Owner(1, b"worker-a"), Owner(2, b"worker-b")

Record = tuple[bytes, bytes | None, Owner | None]


def batch(first_offset: int, records: Sequence[Record]) -> list[Any]:
    """Make changelog events of one partition, with consecutive offsets."""
    return [
        SimpleNamespace(
            message=SimpleNamespace(
                tp=CHANGELOG,
                partition=CHANGELOG.partition,
                offset=offset,
                key=key,
                value=value,
                headers=() if owner is None else tuple(owner.headers()),
            )
        )
        for offset, (key, value, owner) in enumerate(records, first_offset)
    ]


@pytest.fixture
def store_of(tmp_path: Path) -> Callable[[], FencedStore]:
    """Open the store of a table; one at a time."""

    def make() -> FencedStore:
        app: Any = faust.App("t", broker="kafka://127.0.0.1:1", store="rocksdb://", datadir=tmp_path, Table=StateTable)
        app.delivery_metrics = DeliveryMetrics(CollectorRegistry())
        app.finalize()
        app.conf.tabledir.mkdir(parents=True, exist_ok=True)
        options = {"driver": "rocksdict", "block_cache_size": 1 << 20, "write_buffer_size": 1 << 20}
        store = app.Table("states", key_type=bytes, value_type=bytes, partitions=4, options=options).data
        assert isinstance(store, FencedStore)
        return store

    return make


def states(store: FencedStore) -> dict[bytes, bytes]:
    """Read the visitors' entries."""
    database = store._db_for_partition(CHANGELOG.partition)
    assert len(list(store._visible_keys(database))) == len(dict(store._visible_items(database)))
    return dict(store._visible_items(database))


def test_a_recovery_passes_over_what_a_lost_owner_wrote(store_of: Callable[[], FencedStore]) -> None:
    """Values and tombstones alike; they are counted, and the offset moves on over them."""
    store = store_of()
    store.apply_changelog_batch(
        batch(
            10,
            [
                (b"v", b"first", None),
                (b"w", b"kept", OLD),
                (CLAIM_KEY, None, NEW),
                (b"v", b"good", NEW),
                (b"v", b"stale", OLD),
                (b"w", None, OLD),
            ],
        ),
        to_key=None,
        to_value=None,
    )
    assert states(store) == {b"v": b"good", b"w": b"kept"}
    assert store.persisted_offset(CHANGELOG) == 15
    assert store.app.delivery_metrics.stale_states._value.get() == 2


def test_what_stale_records_lie_over_is_known_until_it_is_written_again(store_of: Callable[[], FencedStore]) -> None:
    """Also by the next process: a restart between the recovery and the writing must not forget it."""
    store_of().apply_changelog_batch(
        batch(0, [(b"v", b"good", NEW), (b"v", b"stale", OLD), (b"w", None, NEW), (b"w", b"stale", OLD)])
    )
    gc.collect()  # closes the database, as Faust does
    store = store_of()
    assert store.under_stale(CHANGELOG.partition) == [(b"v", b"good"), (b"w", None)]
    store.forget_stale(CHANGELOG.partition, [b"v", b"w"])
    assert store.under_stale(CHANGELOG.partition) == []
    assert states(store) == {b"v": b"good"}


def test_what_the_owner_writes_over_a_stale_record_needs_no_second_write(store_of: Callable[[], FencedStore]) -> None:
    """Nor does a standby that never owns the partition keep the key of a visitor who was erased since."""
    store = store_of()
    store.apply_changelog_batch(batch(0, [(b"v", b"good", NEW), (b"v", b"stale", OLD), (b"w", b"stale", OLD)]))
    store.apply_changelog_batch(batch(3, [(b"v", None, NEW), (b"x", b"stale", OLD), (b"x", b"good", NEW)]))
    assert store.under_stale(CHANGELOG.partition) == [(b"w", None)]
    assert states(store) == {b"x": b"good"}


def test_a_stale_claim_is_no_state(store_of: Callable[[], FencedStore]) -> None:
    """Nothing of a visitor lies under it that would have to be written again."""
    store = store_of()
    store.apply_changelog_batch(batch(0, [(CLAIM_KEY, None, NEW), (CLAIM_KEY, None, OLD)]))
    assert store.under_stale(CHANGELOG.partition) == []
    assert store.owner(CHANGELOG.partition) == NEW


def test_a_recovery_from_the_middle_knows_whom_to_believe(store_of: Callable[[], FencedStore]) -> None:
    """The owner is kept beside the offset, over a restart."""
    store_of().apply_changelog_batch(batch(0, [(b"v", b"good", NEW)]))
    gc.collect()  # closes the database, as Faust does
    store = store_of()
    assert store.owner(CHANGELOG.partition) == NEW
    store.apply_changelog_batch(batch(1, [(b"v", b"stale", OLD)]))
    assert states(store) == {b"v": b"good"}


def test_a_folder_of_an_older_version_has_no_owner(store_of: Callable[[], FencedStore]) -> None:
    """Its changelog is read as ever, and the first claim has epoch 1."""
    store = store_of()
    store.apply_changelog_batch(batch(0, [(b"v", b"1", None), (b"v", b"2", None)]))
    assert store.owner(CHANGELOG.partition) is None
    assert states(store) == {b"v": b"2"}


def test_a_claim_moves_owner_and_offset_together(store_of: Callable[[], FencedStore]) -> None:
    """One without the other would let a later recovery believe the wrong one."""
    store = store_of()
    store.begin(CHANGELOG, NEW, 7)
    assert (store.owner(CHANGELOG.partition), store.persisted_offset(CHANGELOG)) == (NEW, 7)
    assert states(store) == {}


def stored_offset(store: FencedStore) -> int | None:
    """Read what the files say of how far they hold the changelog."""
    found = store._db_for_partition(CHANGELOG.partition).get(store.offset_key)
    return None if found is None else int(found)


def noted(store: FencedStore, offset: int) -> FencedStore:
    """Open the partition at offset 7, and note another one."""
    store.begin(CHANGELOG, NEW, 7)
    store.set_persisted_offset(CHANGELOG, offset)
    assert stored_offset(store) == 7
    return store


def test_a_noted_offset_is_written_with_the_next_values(store_of: Callable[[], FencedStore]) -> None:
    """In one write: neither is there without the other. Only the newest one counts, and it is written once."""
    store = noted(store_of(), 8)
    store.set_persisted_offset(CHANGELOG, 9)
    written: list[int] = []
    database: Any = store._db_for_partition(CHANGELOG.partition)
    write = database.write
    database.write = lambda batch: (written.append(len(batch)), write(batch))
    store.write(CHANGELOG.partition, {b"v": b"1", b"gone": None})
    assert (states(store), stored_offset(store)) == ({b"v": b"1"}, 9)
    store.write(CHANGELOG.partition, {b"v": b"2"})
    assert written == [3, 1]


def test_values_of_another_partition_do_not_move_an_offset(store_of: Callable[[], FencedStore]) -> None:
    """Each partition has its own changelog."""
    store = noted(store_of(), 8)
    store.write(CHANGELOG.partition + 1, {b"v": b"1"})
    other = TP(CHANGELOG.topic, CHANGELOG.partition + 1)
    assert (stored_offset(store), store.persisted_offset(other)) == (7, None)


def test_a_noted_offset_is_what_is_told_and_is_then_stored(store_of: Callable[[], FencedStore]) -> None:
    """A claim, and Faust's recovery, begin from there."""
    store = noted(store_of(), 8)
    assert store.persisted_offset(CHANGELOG) == stored_offset(store) == 8


def test_offsets_are_written_where_no_values_come(store_of: Callable[[], FencedStore]) -> None:
    """The timer does it, of every partition."""
    store = noted(store_of(), 8)
    other = TP(CHANGELOG.topic, CHANGELOG.partition + 1)
    store.begin(other, NEW, 3)
    store.set_persisted_offset(other, 4)
    store.write_offsets()
    assert (stored_offset(store), store.persisted_offset(other)) == (8, 4)


def test_a_partition_that_goes_takes_its_offset_along(store_of: Callable[[], FencedStore]) -> None:
    """Into its files, before they are closed: whoever has them next reads nothing again."""
    store = noted(store_of(), 8)
    table: Any = SimpleNamespace(changelog_topic=SimpleNamespace(topics=[CHANGELOG.topic]))
    store.revoke_partitions(table, {CHANGELOG})
    assert store.opened() == set()
    gc.collect()  # closes the database, as Faust does
    assert stored_offset(store) == 8


async def test_a_stop_leaves_the_offset_in_the_files(store_of: Callable[[], FencedStore]) -> None:
    """A worker that is restarted in order reads nothing of its changelogs again."""
    store = noted(store_of(), 8)
    await store.stop()
    gc.collect()  # closes the database, as Faust does
    assert stored_offset(store_of()) == 8


@pytest.mark.parametrize("ask", [FencedStore.write_offsets, lambda store: store.persisted_offset(CHANGELOG)])
def test_a_closed_partition_is_not_written_to(
    store_of: Callable[[], FencedStore], ask: Callable[[FencedStore], object]
) -> None:
    """It may be another worker's by now, or a standby's copy that is further on or has begun anew."""
    store = noted(store_of(), 8)
    store._dbs.clear()
    gc.collect()  # closes the database, as Faust does
    ask(store)
    assert stored_offset(store) == 7


def test_what_a_recovery_reads_lies_behind_what_was_noted(store_of: Callable[[], FencedStore]) -> None:
    """An older note does not bring the offset back."""
    store = noted(store_of(), 8)
    store.apply_changelog_batch(batch(20, [(b"v", b"1", NEW)]))
    store.write_offsets()
    assert store.persisted_offset(CHANGELOG) == stored_offset(store) == 20


def test_a_claim_lies_behind_what_was_noted(store_of: Callable[[], FencedStore]) -> None:
    """As the latest record of all."""
    store = noted(store_of(), 8)
    store.begin(CHANGELOG, NEW, 30)
    store.write_offsets()
    assert store.persisted_offset(CHANGELOG) == stored_offset(store) == 30


def test_what_is_heard_of_a_closed_partition_is_not_kept_for_its_return(
    store_of: Callable[[], FencedStore],
) -> None:
    """Its files may be others by then: damaged ones were moved aside, and the empty ones do not hold what is noted."""
    store = noted(store_of(), 8)
    store.write_offsets()
    store._dbs.clear()
    gc.collect()  # closes the database, as Faust does
    store.set_persisted_offset(CHANGELOG, 9)
    store._db_for_partition(CHANGELOG.partition)
    store.write_offsets()
    assert stored_offset(store) == 8
