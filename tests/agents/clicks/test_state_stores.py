"""What every store of states keeps to: the worker's table over RocksDB, a replay's dict, and that of the benches."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from agents.clicks.visitor_states import MemoryStore, StateStore
from bench.memory_store import DiskStore
from streams.state.table import StateTable
from tests.streams.state.local_table import PARTITION, Changelog, opened_table


@pytest.fixture(params=["memory", "disk", "table"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[StateStore]:
    """Open one that takes writes."""
    if request.param == "memory":
        yield MemoryStore()
        return
    async with AsyncExitStack() as stack:
        if request.param == "disk":
            disk = DiskStore(tmp_path, PARTITION + 1)
            stack.callback(disk.close)
            yield disk
            return
        table = stack.enter_context(opened_table(tmp_path))
        await Changelog(table, end=42).claim()
        yield table


def flush(store: StateStore) -> None:
    """Bring what was written to where a pass over a partition finds it."""
    if isinstance(store, StateTable):
        store.flush()


@pytest.mark.parametrize("is_flushed", [True, False])
async def test_what_is_put_is_read_at_once(store: StateStore, *, is_flushed: bool) -> None:
    """By the input that is worked on, and between inputs; the last write counts."""
    store.put(PARTITION, b"v", b"first")
    if is_flushed:
        flush(store)
    store.put(PARTITION, b"v", b"second")
    assert store.get(PARTITION, b"v") == b"second"
    flush(store)
    assert store.get(PARTITION, b"v") == b"second"


async def test_what_was_never_put_is_none(store: StateStore) -> None:
    """Also where its neighbours are there."""
    store.put(PARTITION, b"v", b"state")
    assert store.get(PARTITION, b"u") is store.get(PARTITION, b"w") is None


@pytest.mark.parametrize("is_flushed", [True, False])
async def test_what_is_dropped_is_gone(store: StateStore, *, is_flushed: bool) -> None:
    """Whether it was there or not."""
    store.put(PARTITION, b"v", b"state")
    if is_flushed:
        flush(store)
    for _ in range(2):
        store.drop(PARTITION, b"v")
        assert store.get(PARTITION, b"v") is None
        flush(store)
        assert store.get(PARTITION, b"v") is None
    assert store.following(PARTITION, None, 9) == []


async def test_states_follow_each_other_by_their_keys(store: StateStore) -> None:
    """A pass over a partition comes by every state once, whatever the steps."""
    states = {b"v%02d" % number: b"%d" % number for number in range(7)}
    for key in (*states,)[::-1]:
        store.put(PARTITION, key, states[key])
    flush(store)
    found, last = list[tuple[bytes, bytes]](), None
    while step := store.following(PARTITION, last, 3):
        assert len(step) <= 3
        found += step
        last = found[-1][0]
    assert found == sorted(states.items())


async def test_a_pass_may_begin_behind_a_key_that_is_gone(store: StateStore) -> None:
    """The pass goes on where it was."""
    for key in (b"a", b"b", b"c"):
        store.put(PARTITION, key, key)
    flush(store)
    store.following(PARTITION, None, 1)
    store.drop(PARTITION, b"b")
    flush(store)
    assert [key for key, _ in store.following(PARTITION, b"b", 2)] == [b"c"]


@pytest.mark.parametrize("is_flushed", [True, False])
async def test_values_may_be_empty_and_keys_of_any_bytes(store: StateStore, *, is_flushed: bool) -> None:
    """Ids are strangers' text."""
    for key in (b"\x00", b"\xff\xfe", "\u00e9".encode()):
        store.put(PARTITION, key, b"")
        if is_flushed:
            flush(store)
        assert store.get(PARTITION, key) == b""
