from typing import Any

import pytest

from agents.clicks.step import StateWrite
from agents.clicks.visitor_states import MAX_WRITES_A_TICK, MemoryStore, VisitorStates
from schemas import wire
from schemas.state import InputPosition, decode_state, mark_key
from streams.records import Delivery

START_MS = 1_700_000_000_000
EXPIRED_MS = START_MS + 40 * 60_000
LONG_AFTER_MS = START_MS + 40 * 24 * 3600_000


class Pending(MemoryStore):
    """A store whose writes are not safe yet."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: list[bytes] = []
        self.deliveries: list[Delivery] = []

    def put(self, partition: int, key: bytes, value: bytes) -> Delivery:
        """Write a state."""
        super().put(partition, key, value)
        return self._pending(key)

    def drop(self, partition: int, key: bytes) -> Delivery:
        """Remove a state."""
        super().drop(partition, key)
        return self._pending(key)

    def _pending(self, key: bytes) -> Delivery:
        self.keys.append(key)
        self.deliveries.append(Delivery("changelog", key))
        return self.deliveries[-1]


def state_of(worker: Any) -> bytes:
    """Make the state of a visitor with one click."""
    worker.decide("other", 0)
    return worker.store.states[b"other"]  # type: ignore[no-any-return]


def tick(worker: Any, offset: int, at_ms: int = EXPIRED_MS, *, only_repeat: bool = False) -> list[Any]:
    """Take one tick; gives the session ends."""
    position = InputPosition("session-control", 0, offset)
    records, _ = worker.states.close_due(worker.pipeline, position, at_ms, until_ms=-1 if only_repeat else None)
    return [wire.decode_session_summary(record.value) for record in records]


async def test_a_tick_ends_what_is_due_once(worker: Any) -> None:
    """A session whose gap and grace have passed leaves one session end; the next tick ends nothing."""
    await worker.click("v1", 0)
    await worker.click("v2", 30 * 60_000)
    (end,) = tick(worker, 0)
    assert (end.end_reason, end.event_count) == ("inactivity", 1)
    assert tick(worker, 1) == []
    assert decode_state(worker.store.states[b"v2"]).session is not None


async def test_a_repeated_tick_ends_the_same_again(worker: Any) -> None:
    """After a crash the same tick gives the same session ends with the same ids, even where it is stale by now."""
    for n in range(5):
        await worker.click(f"v{n}", n)
    first = tick(worker, 7)
    assert len(first) == 5
    assert sorted(end.id for end in tick(worker, 7, only_repeat=True)) == sorted(end.id for end in first)


async def test_a_stale_tick_ends_nothing_new(worker: Any) -> None:
    """Where the actor is not at the tick's moment the session stays open, and stays due."""
    await worker.click("v1", 0)
    assert tick(worker, 0, only_repeat=True) == []
    assert len(tick(worker, 1)) == 1


async def test_a_tick_is_bounded_and_the_next_goes_on(worker: Any) -> None:
    """A flood of expired sessions ends tick by tick: those that wait for their acknowledgement hold up no other."""
    visitors = 3 * MAX_WRITES_A_TICK
    for n in range(visitors):
        await worker.click(f"v{n}", n)
    ended = [tick(worker, offset) for offset in range(3)]
    assert [len(ends) for ends in ended] == [MAX_WRITES_A_TICK] * 3
    assert len({end.id for ends in ended for end in ends}) == visitors


async def test_a_repeated_tick_finds_its_own_among_those_that_wait(worker: Any) -> None:
    """What earlier and later ticks have ended does not hide what this one has."""
    for n in range(4 * MAX_WRITES_A_TICK):
        await worker.click(f"v{n}", n)
    ended = [tick(worker, offset) for offset in range(3)]
    again = tick(worker, 2, only_repeat=True)
    assert sorted(end.id for end in again) == sorted(end.id for end in ended[2])


async def test_closings_that_are_surely_acknowledged_are_dropped(worker: Any) -> None:
    """Some ticks later the state no longer holds the closed session."""
    await worker.click("v1", 0)
    tick(worker, 0)
    assert decode_state(worker.store.states[b"v1"]).closings
    for offset in range(1, 6):
        assert tick(worker, offset) == []
    assert not decode_state(worker.store.states[b"v1"]).closings


async def test_a_visitor_who_stays_away_is_forgotten(worker: Any) -> None:
    """After the retention nothing is left, neither state nor index entry."""
    await worker.click("v1", 0)
    for offset in range(6):
        tick(worker, offset)
    assert worker.states.has_due(0, LONG_AFTER_MS)
    tick(worker, 6, LONG_AFTER_MS)
    assert worker.store.states == {}
    assert not worker.states.has_due(0, 10 * LONG_AFTER_MS)


@pytest.mark.parametrize("is_known", [True, False])
async def test_a_dropped_visitor_is_not_due(worker: Any, *, is_known: bool) -> None:
    """An erased visitor leaves no session end; to erase an unknown one is no error."""
    if is_known:
        await worker.click("v1", 0)
    worker.states.drop(0, b"v1")
    assert tick(worker, 0) == []
    assert worker.store.states == {}


@pytest.mark.parametrize("how", ["erased", "revoked", "assigned again"])
async def test_what_was_shown_goes_with_its_visitor_or_partition(worker: Any, how: str) -> None:
    """An erased visitor leaves no answer in memory; neither does a partition that another worker had meanwhile."""
    await worker.click("v1", 0)
    if how == "erased":
        worker.states.drop(0, b"v1")
    elif how == "revoked":
        worker.states.close_partition(0)
    else:
        worker.states.open_partition(0, ())
    assert worker.states.shown.take(0, b"v1") is None


@pytest.mark.parametrize("is_replay", [True, False])
async def test_a_write_is_safe_when_all_its_records_are(worker: Any, *, is_replay: bool) -> None:
    """One of a state, two of who is forgotten; a replay that writes nothing waits for the write that covers it."""
    store = Pending()
    states = VisitorStates(store)
    states.open_partition(0, ())
    (written,) = states.write(0, StateWrite(b"v", state_of(worker), is_repeat=is_replay))
    (again,) = states.write(0, StateWrite(b"v", state_of(worker), is_repeat=is_replay))
    assert (again is written) == is_replay
    assert store.keys == [b"v"] * (1 if is_replay else 2)
    assert not written.is_settled
    dropped = states.write(0, StateWrite(b"v", None))
    assert dropped == store.deliveries[-2:]
    assert store.keys[-2:] == [mark_key(b"v"), b"v"]


async def test_a_tick_hands_out_every_write_that_it_makes(worker: Any) -> None:
    """Its session ends wait for all of them."""
    store = Pending()
    states = VisitorStates(store)
    states.open_partition(0, ())
    for name in (b"v1", b"v2", b"v3"):
        states.write(0, StateWrite(name, state_of(worker)))
    position = InputPosition("session-control", 0, 0)
    records, written = states.close_due(worker.pipeline, position, EXPIRED_MS)
    assert (len(records), written) == (3, store.deliveries[3:])
    assert len(written) == 3
