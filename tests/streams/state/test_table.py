import asyncio
from collections.abc import Iterator
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP
from rocksdict import Options, Rdict
from structlog.testing import capture_logs

from streams.state.fencing import CLAIM_KEY, Owner
from streams.state.table import ContestedPartitionError, StateTable, UnclaimedPartitionError
from tests.streams.state.local_table import PARTITION, Changelog, opened_table

OTHER = Owner(9, b"worker-b")


@pytest.fixture
def table(tmp_path: Path) -> Iterator[StateTable]:
    """Open the table."""
    with opened_table(tmp_path) as table:
        yield table


@pytest.fixture
def changelog(table: StateTable) -> Changelog:
    """Take what the table sends."""
    return Changelog(table, end=42)


async def test_put_hands_out_the_changelog_record(table: StateTable, changelog: Changelog) -> None:
    """A write is readable at once; its delivery is the changelog record's, on its own partition, and not yet safe."""
    await changelog.claim()
    delivery = table.put(PARTITION, b"v", b"state")
    assert table.get(PARTITION, b"v") == b"state"
    record = changelog.sink.records[-1]
    assert (record.topic, record.partition) == (table.changelog_topic_name, PARTITION)
    assert (record.key, record.value) == (b"v", b"state")
    assert delivery is changelog.sink.deliveries[-1]
    assert not delivery.is_settled
    changelog.deliver()
    await delivery


@pytest.mark.parametrize("is_flushed", [True, False])
async def test_drop_sends_a_tombstone(table: StateTable, changelog: Changelog, *, is_flushed: bool) -> None:
    """A removal is a changelog record without a value, also for a key that is not there."""
    await changelog.claim()
    table.put(PARTITION, b"v", b"state")
    if is_flushed:
        table.flush()
    for _ in range(2):
        delivery = table.drop(PARTITION, b"v")
        record = changelog.sink.records[-1]
        assert (record.partition, record.key, record.value) == (PARTITION, b"v", None)
        assert delivery is changelog.sink.deliveries[-1]
        assert table.get(PARTITION, b"v") is None
        table.flush()
        assert table.get(PARTITION, b"v") is None


class Watched:
    """A partition's database that notes how it is written to."""

    def __init__(self, database: Any) -> None:
        self._database = database
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name in {"put", "delete", "write"}:
            self.calls.append(name)
        return getattr(self._database, name)


def watched(table: StateTable) -> Watched:
    """Watch the partition."""
    databases = table.data._dbs
    databases[PARTITION] = Watched(databases[PARTITION])
    return databases[PARTITION]  # type: ignore[no-any-return]


async def test_what_is_written_reaches_the_files_with_the_flush(table: StateTable, changelog: Changelog) -> None:
    """All of it in one write, of each key the last value; a second flush has nothing to write."""
    await changelog.claim()
    table.put(PARTITION, b"gone", b"0")
    table.flush()
    database = watched(table)
    for key, value in ((b"a", b"1"), (b"b", b"1"), (b"a", b"2")):
        table.put(PARTITION, key, value)
    table.drop(PARTITION, b"gone")
    assert dict(table.partition_items(PARTITION)) == {b"gone": b"0"}
    assert database.calls == []
    table.flush()
    assert dict(table.partition_items(PARTITION)) == {b"a": b"2", b"b": b"1"}
    table.flush()
    assert database.calls == ["write"]


async def test_the_offset_goes_into_the_files_with_the_next_states(table: StateTable, changelog: Changelog) -> None:
    """A click costs no second write for it."""
    await changelog.claim()
    table.put(PARTITION, b"v", b"1")
    table.flush()
    changelog.deliver()
    assert changelog.stored() == 42
    database = watched(table)
    table.put(PARTITION, b"v", b"2")
    table.flush()
    assert changelog.stored() == 43
    assert database.calls == ["write"]


async def test_the_timer_writes_the_offset_where_no_state_comes(table: StateTable, changelog: Changelog) -> None:
    """Once; a restart then reads nothing of the changelog again."""
    await changelog.claim()
    table.put(PARTITION, b"v", b"1")
    table.flush()
    changelog.deliver()
    database = watched(table)
    for _ in range(2):
        table.write_offsets()
        assert changelog.stored() == 43
    assert database.calls == ["put"]


@pytest.mark.parametrize("seed", range(5))
async def test_the_files_never_tell_of_more_than_they_hold(table: StateTable, changelog: Changelog, seed: int) -> None:
    """Whenever the process is killed; what they hold beyond that is read again, and ends as it was."""
    random = Random(seed)
    await changelog.claim()
    states: dict[bytes, bytes | None] = {}
    for turn in range(60):
        for number in range(random.randrange(4)):  # a slice; its records may be acknowledged in any later turn
            key = b"%d" % random.randrange(5)
            if random.random() < 0.2:
                states[key] = None
                table.drop(PARTITION, key)
            else:
                states[key] = b"%d-%d" % (turn, number)
                table.put(PARTITION, key, states[key] or b"")
        table.flush()
        changelog.deliver(random.randint(0, len(changelog.sink.records) - len(changelog.records)))
        if random.random() < 0.3:
            table.write_offsets()
        stored = changelog.stored()
        assert stored is not None
        assert stored < changelog.end
        held = dict(table.partition_items(PARTITION))
        assert held == {key: value for key, value in states.items() if value is not None}
    changelog.deliver()
    table.write_offsets()
    assert changelog.stored() == changelog.end - 1


async def test_a_record_that_did_not_arrive_moves_no_offset(table: StateTable, changelog: Changelog) -> None:
    """The process ends by it; a recovery reads on from before it."""
    await changelog.claim()
    delivery = table.put(PARTITION, b"v", b"1")
    table.flush()
    with capture_logs() as logged:
        delivery.settle(OSError("too large"))
    assert (changelog.persisted(), logged) == (42, [])
    with pytest.raises(OSError, match="too large"):
        await delivery


async def test_a_write_that_the_producer_refuses_is_not_read(table: StateTable, changelog: Changelog) -> None:
    """The process ends with the state as it was."""
    await changelog.claim()
    table.put(PARTITION, b"v", b"1")
    changelog.sink.refusal = OSError("full")
    for write in (lambda: table.put(PARTITION, b"v", b"2"), lambda: table.drop(PARTITION, b"v")):
        with pytest.raises(OSError, match="full"):
            write()
        assert table.get(PARTITION, b"v") == b"1"


async def test_every_record_carries_its_owner_from_the_claim_on(table: StateTable, changelog: Changelog) -> None:
    """The claim is the first of them, one epoch above what the recovery has read."""
    table.data.begin(TP(table.changelog_topic_name, PARTITION), OTHER, 41)
    await changelog.claim()
    table.put(PARTITION, b"v", b"state")
    table.drop(PARTITION, b"v")
    changelog.deliver()
    ours = changelog.records[0][2]
    assert ours is not None
    assert ours.epoch == OTHER.epoch + 1
    assert changelog.records == [(CLAIM_KEY, None, ours), (b"v", b"state", ours), (b"v", None, ours)]
    assert table.data.owner(PARTITION) == ours


async def test_a_partition_is_claimed_anew_after_every_rebalance(table: StateTable, changelog: Changelog) -> None:
    """So a claim that somebody sent meanwhile, and that is still on its way, is below ours."""
    await changelog.claim()
    changelog.table.app.tables.recovery.active_highwaters[TP(table.changelog_topic_name, PARTITION)] = 42
    await changelog.claim()
    first, second = (owner for _, _, owner in changelog.records)
    assert first is not None
    assert second == Owner(first.epoch + 1, first.worker)


async def test_a_claim_behind_the_record_of_another_ends_the_worker(table: StateTable, changelog: Changelog) -> None:
    """That one may be a claim of the same epoch, for which all that we write would be stale."""
    changelog.end += 1
    with pytest.raises(ContestedPartitionError, match=r"partition 3: another worker wrote .* Start again"):
        await changelog.claim()
    assert table.data.owner(PARTITION) is None
    assert changelog.persisted() == 41


@pytest.mark.parametrize("end", [None, 43])
async def test_a_partition_is_not_claimed_before_it_is_recovered(
    table: StateTable, changelog: Changelog, end: int | None
) -> None:
    """Faust says that a recovery that a rebalance has broken off is complete: all its states would be stale then."""
    highwaters = table.app.tables.recovery.active_highwaters
    del highwaters[TP(table.changelog_topic_name, PARTITION)]
    if end is not None:
        highwaters[TP(table.changelog_topic_name, PARTITION)] = end
    assert await changelog.claim() == set()
    assert (changelog.records, table.data.owner(PARTITION)) == ([], None)
    with pytest.raises(UnclaimedPartitionError):
        table.put(PARTITION, b"v", b"state")


@pytest.mark.parametrize(("end", "claimed"), [(None, set()), (-1, {2}), (0, set())])
async def test_a_partition_of_which_nothing_was_read_is_claimed_where_it_is_empty(
    table: StateTable, changelog: Changelog, end: int | None, claimed: set[int]
) -> None:
    """A rebalance may come before the recovery has looked at a new partition at all."""
    if end is not None:
        table.app.tables.recovery.active_highwaters[TP(table.changelog_topic_name, 2)] = end
    changelog.end = 0
    assert await changelog.delivered(table.claim({2})) == claimed


async def test_what_the_recovery_has_read_is_applied_before_the_claim(table: StateTable, changelog: Changelog) -> None:
    """It lies in a buffer until all partitions are read; a claim would put another owner before it."""
    tp, recovery = TP(table.changelog_topic_name, PARTITION), table.app.tables.recovery
    message = SimpleNamespace(tp=tp, partition=PARTITION, offset=42, key=b"v", value=b"1", headers=OTHER.headers())
    recovery.buffers[table].append(SimpleNamespace(message=message))
    recovery.active_highwaters[tp] = recovery.active_offsets[tp] = 42
    changelog.end = 43
    assert await changelog.claim() == {PARTITION}
    assert (table.get(PARTITION, b"v"), table.data.under_stale(PARTITION)) == (b"1", [])
    (claim,) = changelog.records
    assert claim[2] is not None
    assert claim[2].epoch == OTHER.epoch + 1


async def test_a_recovery_may_end_behind_what_compaction_has_taken(table: StateTable, changelog: Changelog) -> None:
    """Where the first record that is left lies behind the end that was seen, nothing is there to be read."""
    tp, recovery = TP(table.changelog_topic_name, PARTITION), table.app.tables.recovery
    recovery.active_highwaters[tp] = recovery.active_offsets[tp] = 50
    changelog.end = 51
    assert await changelog.claim() == {PARTITION}


async def test_claims_do_not_overtake_each_other(table: StateTable, changelog: Changelog) -> None:
    """A rebalance comes while the claim of the one before is on its way: the second is behind it, and one higher."""
    first = asyncio.ensure_future(table.claim({PARTITION}))
    assert await changelog.delivered(table.claim({PARTITION})) == await first == {PARTITION}
    assert [owner and owner.epoch for _, _, owner in changelog.records] == [1, 2]
    assert changelog.persisted() == 43


async def test_what_stale_records_lie_over_is_written_again(table: StateTable, changelog: Changelog) -> None:
    """A compaction would keep the stale ones, which have the higher offsets; the removed stay removed."""
    headers = {"good": OTHER.headers(), "stale": Owner(1, b"worker-a").headers()}
    tp = TP(table.changelog_topic_name, PARTITION)
    messages = [
        SimpleNamespace(tp=tp, partition=PARTITION, offset=offset, key=key, value=value, headers=headers[kind])
        for offset, (key, value, kind) in enumerate(
            [(b"v", b"1", "good"), (b"w", None, "good"), (b"v", b"0", "stale"), (b"w", b"0", "stale")], 38
        )
    ]
    table.data.apply_changelog_batch([SimpleNamespace(message=message) for message in messages])
    await changelog.claim()
    assert [record[:2] for record in changelog.records] == [(CLAIM_KEY, None), (b"v", b"1"), (b"w", None)]
    assert table.data.under_stale(PARTITION) == []


async def test_the_local_offset_follows_our_own_records_only(table: StateTable, changelog: Changelog) -> None:
    """Behind a record of somebody else it stays: the next recovery must read that one, and judge it."""
    await changelog.claim()
    table.put(PARTITION, b"v", b"1")
    changelog.deliver()
    assert changelog.persisted() == 43
    changelog.end += 1
    for value in (b"2", b"3"):
        table.put(PARTITION, b"v", value)
        table.flush()
        changelog.deliver()
    assert changelog.persisted() == changelog.stored() == 43


async def test_a_state_of_a_partition_that_is_not_claimed_is_not_written(table: StateTable) -> None:
    """Its events belong to another worker by now; the process ends, and nothing is acknowledged."""
    with pytest.raises(UnclaimedPartitionError, match="t-states-changelog partition 3, which this worker has not"):
        table.put(PARTITION, b"v", b"state")
    assert table.get(PARTITION, b"v") is None


def test_the_local_size_is_that_of_all_databases(tmp_path: Path) -> None:
    """Keys and bytes are RocksDB's estimates, summed over the partitions; without any they are 0."""
    databases = {partition: Rdict(str(tmp_path / str(partition)), Options(raw_mode=True)) for partition in range(2)}
    for database in databases.values():
        for number in range(100):
            database[b"%d" % number] = b"state" * 200
    table: Any = SimpleNamespace(data=SimpleNamespace(_dbs=databases))
    keys, size_bytes = StateTable.local_size(table)
    assert keys == 200
    assert 200 * 1000 <= size_bytes < 100 * 200 * 1000
    table.data._dbs = {}
    assert StateTable.local_size(table) == (0, 0)
