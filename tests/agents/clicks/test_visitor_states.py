from typing import Any

import pytest

from agents.clicks.visitor_states import MAX_WRITES_A_TICK
from schemas import wire
from schemas.state import InputPosition, decode_state

START_MS = 1_700_000_000_000
EXPIRED_MS = START_MS + 40 * 60_000
LONG_AFTER_MS = START_MS + 40 * 24 * 3600_000


def tick(worker: Any, offset: int, at_ms: int = EXPIRED_MS, *, only_repeat: bool = False) -> list[Any]:
    """Take one tick; gives the session ends."""
    position = InputPosition("session-control", 0, offset)
    records, _ = worker.states.close_due(worker.pipeline, position, at_ms, only_repeat=only_repeat)
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
    await worker.states.drop(0, b"v1")
    assert tick(worker, 0) == []
    assert worker.store.states == {}


@pytest.mark.parametrize("how", ["erased", "revoked", "assigned again"])
async def test_what_was_shown_goes_with_its_visitor_or_partition(worker: Any, how: str) -> None:
    """An erased visitor leaves no answer in memory; neither does a partition that another worker had meanwhile."""
    await worker.click("v1", 0)
    if how == "erased":
        await worker.states.drop(0, b"v1")
    elif how == "revoked":
        worker.states.close_partition(0)
    else:
        worker.states.open_partition(0, ())
    assert worker.states.shown.take(0, b"v1") is None
