"""Clicks and control records of visitors who were erased, seen from the pipeline and from the actor."""

from typing import Any

import pytest
import structlog

from schemas import wire
from schemas.events import Erase
from schemas.handovers import Adoption, Handover
from schemas.ids import SessionId, VisitorId
from schemas.state import InputPosition, OpenSession, decode_state
from streams.records import InputRecord
from streams.state.blocked_ids import is_block_key
from tests.agents.clicks.acting import GARBAGE, START_MS, Acting, Suffering, click, control

V1 = VisitorId("v1")
UNTIL_MS = START_MS + 1000
ERASE = Erase(visitor_id=V1, reach="self", blocked_until_ms=UNTIL_MS)
SESSION = OpenSession(SessionId("s"), None, START_MS, START_MS, 1, (), ())


@pytest.fixture(autouse=True)
def logged() -> Any:
    """Catch the log lines."""
    with structlog.testing.capture_logs() as entries:
        yield entries


def erase(worker: Any, erasure: Erase = ERASE) -> None:
    """Erase as an owner does: first the block, then the state."""
    block = worker.pipeline.states.block(erasure)
    if block is not None:
        worker.states.write(0, block)
    worker.states.drop(0, erasure.visitor_id.encode())


def status(records: list[Any]) -> str:
    """Return what was answered."""
    return wire.decode_recommendation_set(records[0].value).status


def tick(worker: Any, offset: int, stream_time_ms: int) -> None:
    """Let a tick do what is due."""
    committed = [InputPosition("clickstream", 0, worker.offset)]
    worker.states.close_due(worker.pipeline, InputPosition("session-control", 0, offset), stream_time_ms, committed)


async def test_a_click_of_an_erased_visitor_is_answered_and_writes_nothing(worker: Any) -> None:
    """Not even a tombstone, whose key would name the visitor again; the answer is that of a click without consent."""
    await worker.click("v1", 0)
    erase(worker)
    step = worker.decide("v1", 1)
    assert step.write is None
    assert [record.topic for record in await step.answer()] == ["recommendations"]
    for fields in ({}, {"consent": False}, {"consent": True}, {"event_type": "session_end"}):
        assert status(await worker.click("v1", 2, **fields)) == "no_consent"
    assert [is_block_key(key) for key in worker.store.states] == [True]
    assert worker.count("insession_blocked_inputs_total", kind="click") == 5


async def test_a_block_is_forgotten_at_its_end_and_not_before(worker: Any) -> None:
    """By the first tick of that time; then a click begins anew."""
    erase(worker)
    assert not worker.states.has_due(0, UNTIL_MS - 1)
    tick(worker, 0, UNTIL_MS - 1)
    assert len(worker.store.states) == 1
    assert worker.states.has_due(0, UNTIL_MS)
    tick(worker, 1, UNTIL_MS)
    assert worker.store.states == {}
    assert status(await worker.click("v1", 1001)) == "answered"


async def test_a_click_after_the_end_of_a_block_begins_anew_though_no_tick_came(worker: Any) -> None:
    """Its record's own time counts."""
    erase(worker)
    assert status(await worker.click("v1", 1000)) == "no_consent"
    assert status(await worker.click("v1", 1001)) == "answered"
    assert decode_state(worker.store.states[b"v1"]).session is not None


async def test_a_block_is_recovered_with_its_end(worker: Any) -> None:
    """Whoever takes the partition over builds the index from the headers of what is stored."""
    erase(worker)
    headers = [(key, worker.pipeline.states.header(key, 0, value)) for key, value in worker.store.states.items()]
    worker.states.open_partition(0, headers)
    assert not worker.states.has_due(0, UNTIL_MS - 1)
    assert worker.states.has_due(0, UNTIL_MS)


async def test_a_later_erasure_moves_the_end_of_a_block(worker: Any) -> None:
    """One without a block lifts the earlier one."""
    erase(worker)
    erase(worker, Erase(visitor_id=V1, reach="self", blocked_until_ms=UNTIL_MS + 10))
    assert status(await worker.click("v1", 1005)) == "no_consent"
    erase(worker, Erase(visitor_id=V1, reach="self", blocked_until_ms=0))
    assert status(await worker.click("v1", 1006)) == "answered"


async def test_an_erasure_of_an_older_tool_blocks_nothing(worker: Any) -> None:
    """It names no time: the next click begins anew."""
    await worker.click("v1", 0)
    erase(worker, Erase(visitor_id=V1))
    assert worker.store.states == {}
    assert status(await worker.click("v1", 1)) == "answered"


async def test_others_do_not_name_an_erased_id_again(worker: Any) -> None:
    """A login on that device would keep the cookie in the customer's state, and ask for its session."""
    erase(worker)
    records = await worker.click("customer", 1, anonymous_id="v1")
    assert status(records) == "answered"
    assert decode_state(worker.store.states[b"customer"]).identity is None
    assert "session-control" not in [record.topic for record in records]


@pytest.mark.parametrize(
    "record",
    [
        Handover(visitor_id=V1, to=VisitorId("customer"), partition=0, until_ms=START_MS),
        Adoption(
            visitor_id=V1,
            predecessor=VisitorId("cookie"),
            source=InputPosition("clickstream", 1, 0),
            sessions=(SESSION,),
        ),
    ],
    ids=["handover", "adoption"],
)
async def test_no_control_record_brings_an_erased_visitor_back(worker: Any, record: Any) -> None:
    """It was on its way when the visitor was erased."""
    erase(worker)
    before = dict(worker.store.states)
    at = InputRecord(InputPosition("session-control", 0, 5), None, wire.encode(record), START_MS)
    step = worker.pipeline.join(at, record, worker.states)
    assert (step.write, list(await step.answer())) == (None, [])
    assert worker.store.states == before
    assert worker.count("insession_blocked_inputs_total", kind="control") == 1


async def test_the_owner_writes_the_block_before_the_state_goes(worker: Any) -> None:
    """So a crash between the two leaves a state to be erased, and no visitor without a block; the files are told."""
    told: list[int] = []
    acting = Acting(worker)
    acting.actor._note_erased = told.append
    await acting.actor.recovered()
    await acting.run(click(0), control(0, ERASE))
    assert [is_block_key(key) for key in acting.table.states] == [True]
    assert told == []
    await acting.settle(is_acknowledged=True)
    assert told == [0]
    await acting.windows.close()


async def test_a_damaged_block_is_put_aside(worker: Any) -> None:
    """As any state; the click that came upon it is answered."""
    suffering = Suffering(worker)
    block = worker.pipeline.states.block(ERASE)
    suffering.table.states[block.key] = GARBAGE
    await suffering.actor.recovered()
    await suffering.run(click(0))
    assert [letter.key for letter in suffering.letters.records] == [block.key]
    assert list(suffering.table.states) == [b"v1"]
    await suffering.windows.close()
