"""What every store of states keeps to: the worker's table over RocksDB, and the dict of a replay."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from agents.clicks.visitor_states import MemoryStore, StateStore
from tests.streams.state.local_table import PARTITION, Changelog, opened_table


@pytest.fixture(params=["memory", "table"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[StateStore]:
    """Open one that takes writes."""
    if request.param == "memory":
        yield MemoryStore()
        return
    async with AsyncExitStack() as stack:
        table = stack.enter_context(opened_table(tmp_path))
        await Changelog(table, end=42).claim()
        yield table


async def test_what_is_put_is_read_at_once(store: StateStore) -> None:
    """By the input that is worked on, and between inputs; the last write counts."""
    store.put(b"v", b"first")
    store.put(b"v", b"second")
    assert store.get(b"v") == store.look(PARTITION, b"v") == b"second"


async def test_what_was_never_put_is_none(store: StateStore) -> None:
    """Also where its neighbours are there."""
    store.put(b"v", b"state")
    assert store.get(b"u") is store.look(PARTITION, b"w") is None


async def test_what_is_dropped_is_gone(store: StateStore) -> None:
    """Whether it was there or not."""
    store.put(b"v", b"state")
    for _ in range(2):
        store.drop(b"v")
        assert store.get(b"v") is None


async def test_states_follow_each_other_by_their_keys(store: StateStore) -> None:
    """A pass over a partition comes by every state once, whatever the steps."""
    states = {b"v%02d" % number: b"%d" % number for number in range(7)}
    for key in (*states,)[::-1]:
        store.put(key, states[key])
    found, last = list[tuple[bytes, bytes]](), None
    while step := store.following(PARTITION, last, 3):
        assert len(step) <= 3
        found += step
        last = found[-1][0]
    assert found == sorted(states.items())


async def test_a_pass_may_begin_behind_a_key_that_is_gone(store: StateStore) -> None:
    """The pass goes on where it was."""
    for key in (b"a", b"b", b"c"):
        store.put(key, key)
    store.following(PARTITION, None, 1)
    store.drop(b"b")
    assert [key for key, _ in store.following(PARTITION, b"b", 2)] == [b"c"]


async def test_values_may_be_empty_and_keys_of_any_bytes(store: StateStore) -> None:
    """Ids are strangers' text."""
    for key in (b"\x00", b"\xff\xfe", "\u00e9".encode()):
        store.put(key, b"")
        assert store.get(key) == b""
