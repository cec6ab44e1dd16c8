"""What is written of a visitor: little for what moves nothing, never above the budget, enough to go on after a kill."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from agents.clicks.visitor_states import VisitorStates
from bench.invented_ids import held_by_invented_ids
from schemas import wire
from schemas.state import InputPosition, decode_state, encode_state, is_mark, mark_key, read_header, read_visitor
from streams.sessions.rules import SessionRules
from streams.settings import StreamSettings

MAX_MARK_BYTES = 128
"""Of an input that moves nothing, on topics with names of usual length."""
HOUR_MS = 3_600_000
BUDGET_BYTES = SessionRules().max_state_bytes


def written_bytes(worker: Any) -> float:
    """Sum up what was written of visitors so far, marks and all."""
    return worker.count("insession_state_bytes_sum")  # type: ignore[no-any-return]


def status(records: list[Any]) -> str:
    """Read what became of a click."""
    return wire.decode_recommendation_set(records[0].value).status


def wide(text: str) -> str:
    """Make an id of 128 bytes in 4-byte characters."""
    return text + "\U0001f600" * ((128 - len(text)) // 4)


async def filled(worker: Any, visitor: str = "v1") -> int:
    """Fill a state as far as ids of 128 bytes go, slower than a bot; gives the event time after it."""
    at_ms = 0
    for number in range(600):
        at_ms += 1000
        kind = "purchase" if number < 200 else "view"
        session_id = wide(f"s{number // 50 % 4}")
        await worker.click(
            visitor, at_ms, kind, item_id=wide(f"i{number}"), event_id=f"e{number}", session_id=session_id
        )
    return at_ms


def killed(worker: Any) -> None:
    """Start over from the store alone."""
    worker.states = VisitorStates(worker.store, worker.metrics)
    reopened(worker)


def reopened(worker: Any) -> None:
    """Begin with the partition as it lies in the store."""
    states = [(key, read_header(value)) for key, value in worker.store.states.items() if not is_mark(key)]
    worker.states.open_partition(0, states)


async def test_a_visitor_costs_no_more_than_the_budget(worker: Any) -> None:
    """A stranger's longest ids fill the state to its bound, and a small click then writes no more than that."""
    at_ms = await filled(worker)
    assert BUDGET_BYTES / 2 < len(worker.store.states[b"v1"]) <= BUDGET_BYTES
    before = written_bytes(worker)
    for _ in range(20):
        at_ms += 1000
        assert status(await worker.click("v1", at_ms, "search", item_id=None)) == "answered"
    assert written_bytes(worker) - before <= 20 * BUDGET_BYTES
    assert worker.count("insession_dead_letters_total", reason="too_large") == 0


async def test_clicks_that_move_nothing_write_next_to_nothing(worker_of: Callable[..., Any]) -> None:
    """Duplicates, late events, a bot's clicks and pages without news leave a mark each, however large the state is."""
    worker = worker_of(bot_burst_events=650)
    at_ms = await filled(worker)
    stored = worker.store.states[b"v1"]
    still = {
        "duplicate": {"event_id": "e599", "item_id": wide("i599"), "session_id": wide("s3")},
        "late": {},
        "identified": {"event_type": "identify", "item_id": None},
    }
    for expected, fields in still.items():
        before = written_bytes(worker)
        for _ in range(20):
            answer = await worker.click("v1", at_ms - (HOUR_MS if expected == "late" else 0), **fields)
            assert status(answer) == expected
        assert written_bytes(worker) - before <= 20 * MAX_MARK_BYTES
    assert worker.store.states[b"v1"] == stored


async def test_a_bot_writes_next_to_nothing(worker: Any) -> None:
    """From the click on that makes it one, also where it goes from session to session."""
    at_ms = await filled(worker)
    sent = 0
    while status(await worker.click("v1", at_ms, "search", item_id=None, session_id=wide("s0"))) != "bot":
        sent += 1
        assert sent < 100
    await worker.click("v1", at_ms, "search", item_id=None, session_id=wide("s1"))
    before = written_bytes(worker)
    for number in range(100):
        session_id = wide(f"s{number % 2}")
        assert status(await worker.click("v1", at_ms, "search", item_id=None, session_id=session_id)) == "bot"
    assert written_bytes(worker) - before <= 100 * MAX_MARK_BYTES


async def test_a_replay_writes_a_state_once(worker: Any) -> None:
    """The changelog may lack what the local table has: the first repeated offset writes that, and one is enough."""
    for number in range(50):
        await worker.click("v1", number, event_type="view")
    reopened(worker)
    before = written_bytes(worker)
    for number in range(50):
        expected = "answered" if number == 49 else "replayed"
        assert status(await worker.click("v1", number, offset=number)) == expected
    assert written_bytes(worker) - before == len(worker.store.states[b"v1"])


async def test_a_replay_of_what_was_written_since_writes_again(worker: Any) -> None:
    """A repeated write covers what was there at it, not a later one that may be lost yet."""
    await worker.click("v1", 0, offset=0)
    await worker.click("v1", 0, offset=0)
    await worker.click("v1", 1, offset=1)
    before = written_bytes(worker)
    await worker.click("v1", 1, offset=1)
    assert written_bytes(worker) > before


@pytest.mark.parametrize("is_killed", [True, False])
async def test_a_replay_of_what_moved_nothing_answers_alike(worker: Any, *, is_killed: bool) -> None:
    """The mark says what became of it, and that the offsets before it are older."""
    await worker.click("v1", 0, event_id="e")
    assert status(await worker.click("v1", 0, event_id="e")) == "duplicate"
    if is_killed:
        killed(worker)
    assert status(await worker.click("v1", 0, event_id="e", offset=1)) == "duplicate"
    assert status(await worker.click("v1", 0, event_id="e", offset=0)) == "replayed"


async def test_what_moved_nothing_is_not_new_after_its_session(worker: Any) -> None:
    """A duplicate that comes again when a tick has ended its session opens no other one, killed or not."""
    await worker.click("v1", 0, event_id="e")
    await worker.click("v1", 0, event_id="e")
    killed(worker)
    records, _ = worker.states.close_due(worker.pipeline, InputPosition("session-control", 0, 0), 2**42)
    assert len(records) == 1
    killed(worker)
    assert status(await worker.click("v1", 0, event_id="e", offset=1)) in {"duplicate", "replayed"}
    assert decode_state(worker.store.states[b"v1"]).session is None


async def test_a_mark_is_outdated_by_the_next_state(worker: Any) -> None:
    """It stays where it lies, and says nothing of a later state."""
    await worker.click("v1", 0, event_id="e")
    await worker.click("v1", 0, event_id="e")
    await worker.click("v1", 5)
    assert mark_key(b"v1") in worker.store.states
    visitor = read_visitor(*worker.states.load(0, b"v1"))
    assert (visitor.state, visitor.state.offsets) == (decode_state(worker.store.states[b"v1"]), {"clickstream": 2})


async def test_who_is_forgotten_leaves_no_mark(worker: Any) -> None:
    """Neither an erasure, nor withdrawn consent, nor the retention leaves a record with the visitor's id."""
    for forget in ("erased", "no consent", "retention"):
        await worker.click("v1", 0, event_id="e")
        await worker.click("v1", 0, event_id="e")
        assert any(map(is_mark, worker.store.states))
        if forget == "erased":
            worker.states.drop(0, b"v1")
        elif forget == "no consent":
            await worker.click("v1", 1, consent=False)
            worker.states.close_due(worker.pipeline, InputPosition("session-control", 0, 10), 1_700_000_000_001)
        else:
            for offset in range(6):
                worker.states.close_due(worker.pipeline, InputPosition("session-control", 0, offset), 1_700_010_000_000)
            far_ms = 1_800_000_000_000
            assert worker.states.has_due(0, far_ms)
            worker.states.close_due(worker.pipeline, InputPosition("session-control", 0, 9), far_ms)
        assert worker.store.states == {}


async def test_a_withdrawal_that_comes_again_writes_next_to_nothing(worker: Any) -> None:
    """What a replay must find may be half a state; a mark beside it is enough, and both go by the next tick."""
    for number in range(40):
        await worker.click("v1", number, "session_end" if number % 2 else "view", session_id=wide(f"s{number}"))
    await worker.click("v1", 100, consent=False)
    assert len(worker.store.states[b"v1"]) > 10 * MAX_MARK_BYTES
    before = written_bytes(worker)
    for _ in range(20):
        assert status(await worker.click("v1", 100, consent=False)) == "no_consent"
    assert written_bytes(worker) - before <= 20 * MAX_MARK_BYTES
    killed(worker)
    assert worker.states.has_due(0, 1_700_000_000_200)
    worker.states.close_due(worker.pipeline, InputPosition("session-control", 0, 0), 1_700_000_000_200)
    assert worker.store.states == {}


async def test_a_withdrawal_after_the_session_is_no_mark(worker: Any) -> None:
    """It makes the visitor due at once, which the header of the state says, not the mark."""
    await worker.click("v1", 0, "session_end")
    assert read_header(worker.store.states[b"v1"]).is_quiet
    await worker.click("v1", 1, consent=False)
    header = read_header(worker.store.states[b"v1"])
    assert (header.is_quiet, header.due_ms < 1_700_000_000_100) == (False, True)
    await worker.click("v1", 2, "identify", item_id=None)
    assert read_header(worker.store.states[b"v1"]).is_quiet


async def test_a_hot_visitor_costs_what_any_other_does(worker: Any) -> None:
    """Thousands of clicks of one id leave one state, one mark and one entry of the index."""
    for number in range(5000):
        await worker.click("v1", number // 100)
    assert set(worker.store.states) == {b"v1", mark_key(b"v1")}
    assert len(worker.store.states[b"v1"]) < 10_000
    taken = []
    while (key := worker.states.expiry.take(0, 2**42)) is not None:
        taken.append(key)
    assert taken == [b"v1"]


async def test_a_mark_of_a_topic_that_was_made_anew_drops_no_click(worker: Any) -> None:
    """Offsets begin anew, so a later state may have the very offsets that the old mark follows."""
    worker.topic_id = 7
    for _ in range(5):
        await worker.click("v1", 0, event_id="e")
    mark = worker.store.states[mark_key(b"v1")]
    worker.topic_id = 8
    assert status(await worker.click("v1", 10, offset=0)) == "answered"
    assert worker.store.states[mark_key(b"v1")] == mark
    killed(worker)
    assert [status(await worker.click("v1", 10 + number, offset=number)) for number in range(1, 6)] == ["answered"] * 5


async def test_a_session_of_ten_thousand_events_is_no_larger_than_one_of_fifty(worker_of: Callable[..., Any]) -> None:
    """All are counted, the latest are kept, and each click writes as little as the next.

    Beside them lies what counts for what is trending, of the inputs that may come again: here the whole window is hers.
    """
    worker = worker_of(bot_burst_events=0)
    for number in range(10_000):
        worker.decide("v1", number * 4000, item_id=f"i{number % 100}")
    state = decode_state(worker.store.states[b"v1"])
    assert state.session is not None
    assert (state.session.event_count, len(state.session.events)) == (10_000, 50)
    assert len(state.counted) <= StreamSettings().window_span + 1
    assert len(encode_state(structs.replace(state, counted=()), due_ms=0)) < 4000


@pytest.mark.slow
def test_invented_ids_cost_little_memory(tmp_path: Path) -> None:
    """Twenty thousand ids click once each: beyond what is bounded, a million of them would take less than 64 MiB.

    `python -m bench.memory` lets a million come and prints what the process holds.
    """
    tracemalloc.start()
    counts = (10_000, 20_000)  # at the first one all that is bounded is full
    try:
        half, full = held_by_invented_ids(tmp_path, counts, lambda: tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert (full - half) / (counts[1] - counts[0]) * 1_000_000 < 64 * 2**20
