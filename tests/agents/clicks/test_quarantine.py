"""Stored states that nobody can decode, seen from the actor."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import structlog

from agents.clicks import quarantine
from agents.clicks.quarantine import Quarantine
from schemas.events import Erase, Tick
from schemas.handovers import Adoption
from schemas.ids import SessionId, VisitorId
from schemas.pseudonym import pseudonym
from schemas.state import InputPosition, OpenSession, decode_state
from streams.fakes import ListSink
from streams.records import Delivery
from tests.agents.clicks.acting import (
    CHANGELOG,
    EXPIRED_MS,
    GARBAGE,
    START_MS,
    AbortError,
    FakeEvent,
    Suffering,
    click,
    control,
    run_of,
)

SESSION = OpenSession(SessionId("s"), None, START_MS, START_MS, 1, (), ())


@pytest.fixture(autouse=True)
def logged() -> Any:
    """Catch the log lines."""
    with structlog.testing.capture_logs() as entries:
        yield entries


@pytest.fixture
async def suffering(worker: Any) -> AsyncIterator[Suffering]:
    """Make the actor."""
    acting = Suffering(worker)
    yield acting
    await acting.windows.close()


def adoption(offset: int) -> FakeEvent:
    """Make an adoption by v1."""
    adopted = Adoption(
        visitor_id=VisitorId("v1"),
        predecessor=VisitorId("cookie"),
        source=InputPosition("clickstream", 0, 1),
        sessions=(SESSION,),
    )
    return control(offset, adopted)


async def test_a_click_on_an_unreadable_state_is_answered_as_a_first_one(suffering: Suffering, logged: Any) -> None:
    """The bytes are a dead letter before they are overwritten, the worker goes on, and it is counted."""
    await suffering.begin(v1=GARBAGE)
    await suffering.run(click(0), click(1, "v2"))
    assert suffering.sent().count("recommendations") == 2
    assert decode_state(suffering.table.states[b"v1"]).session is not None
    (letter,) = suffering.read()
    assert (letter.key, letter.value, letter.reason, letter.is_cut) == (b"v1", GARBAGE, "unreadable_state", False)
    assert "cannot be decoded" in letter.detail
    assert suffering.letters.held == [GARBAGE]
    assert suffering.worker.count("insession_states_quarantined_total") == 1
    (line,) = [entry for entry in logged if entry["event"] == "state_unreadable"]
    assert (line["visitor_key"], line["partition"]) == (pseudonym(b"secret", b"v1"), 0)
    assert "v1" not in {str(value) for value in line.values()}


async def test_the_letter_is_no_input(suffering: Suffering) -> None:
    """Its headers name the changelog and no offset, so that nothing books it or sends it to a topic again."""
    await suffering.begin(v1=GARBAGE)
    await suffering.run(click(0))
    (letter,), (record,) = suffering.read(), suffering.letters.records
    told = {name.removeprefix("__insession.errors."): content.decode() for name, content in record.headers}
    assert letter.origin is None
    assert told == {
        "id": f"{CHANGELOG}-0-{pseudonym(b'secret', b'v1')}",
        "reason": "unreadable_state",
        "message": letter.detail,
        "topic": CHANGELOG,
        "partition": "0",
    }
    assert (record.topic, record.partition) == ("clickstream-dlq", 0)


@pytest.mark.parametrize("stored", [GARBAGE, b"", b"\x01", b'{"visitor_id": "v1"}', b"\xff" * 40])
async def test_a_tick_puts_aside_what_nobody_clicks_on(suffering: Suffering, stored: bytes) -> None:
    """Found at recovery, it is due at once; the sessions beside it end by the same tick."""
    await suffering.begin(v1=stored)
    await suffering.run(click(0, "v2"))
    ((_, tick),) = suffering.actor.due_ticks()
    await suffering.run(control(0, tick))
    assert suffering.sent().count("session-ends") == 1
    assert set(suffering.table.states) == {b"v2"}
    assert [letter.value for letter in suffering.read()] == [stored]


async def test_a_tick_puts_aside_a_key_that_is_no_visitor(suffering: Suffering) -> None:
    """A foreign record in the changelog: its value may even be a state."""
    await suffering.begin()
    await suffering.run(click(0))
    suffering.table.states[b"\xfe"] = suffering.table.states[b"v1"]
    suffering.actor._states.expiry.put(0, b"\xfe", 0)
    await suffering.run(control(0, Tick(next_offset=1, stream_time_ms=EXPIRED_MS)))
    assert [letter.key for letter in suffering.read()] == [b"\xfe"]
    assert b"\xfe" not in suffering.table.states


async def test_an_adoption_by_an_unreadable_visitor_goes_on(suffering: Suffering) -> None:
    """Control records read states, too."""
    await suffering.begin(v1=GARBAGE)
    event = adoption(0)
    await suffering.run(event)
    await suffering.settle(is_acknowledged=True)
    assert suffering.has_acked(event)
    assert [letter.value for letter in suffering.read()] == [GARBAGE]


async def test_an_erasure_keeps_no_letter_of_the_erased(suffering: Suffering) -> None:
    """What cannot be decoded is forgotten all the same."""
    await suffering.begin(v1=GARBAGE)
    await suffering.run(control(0, Erase(visitor_id=VisitorId("v1"))))
    assert (suffering.table.states, suffering.letters.records) == ({}, [])


async def test_a_newer_state_is_never_put_aside(suffering: Suffering) -> None:
    """The message names the visitor's pseudonym and the partition, and says which version to run."""
    newer = b"\x09" + bytes(17) + b"x"
    suffering.table.states[b"v1"] = newer
    with pytest.raises(AbortError, match=f"visitor {pseudonym(b'secret', b'v1')} in partition 0: .*run the version"):
        await suffering.run(click(0))
    assert suffering.table.states == {b"v1": newer}
    assert suffering.letters.records == []


async def test_a_newer_state_stops_the_recovery_by_name(suffering: Suffering) -> None:
    """There, too, it is said whose it is and where."""
    with pytest.raises(AbortError, match=f"visitor {pseudonym(b'secret', b'v1')} in partition 0: .*run the version"):
        await suffering.begin(v1=b"\x09" + bytes(17))


@pytest.mark.parametrize(("unreadable", "readable"), [(4, 0), (4, 50), (20, 1000)])
async def test_many_unreadable_states_stop_the_worker_before_one_is_dropped(
    suffering: Suffering, unreadable: int, readable: int
) -> None:
    """A fault of the whole table must not wipe it visitor by visitor, restart by restart."""
    await suffering.begin()
    await suffering.run(click(0, "good"))
    good = suffering.table.states[b"good"]
    await suffering.begin(
        **{f"bad{number}": GARBAGE for number in range(unreadable)},
        **{f"good{number}": good for number in range(readable)},
    )
    before = dict(suffering.table.states)
    with pytest.raises(AbortError, match=f"^{unreadable} of .* states of .*cannot be decoded.*insession state accept"):
        await suffering.run(click(1, "bad0"))
    assert suffering.table.states == before
    assert suffering.letters.records == []


async def test_a_worker_that_finds_more_and_more_of_them_ends(
    suffering: Suffering, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sample may miss what goes on elsewhere in the table."""
    monkeypatch.setattr(quarantine, "MAX_KEPT", 2)
    await suffering.begin()
    for offset in range(2):
        suffering.table.states[b"v1"] = GARBAGE
        await suffering.run(click(offset))
    suffering.table.states[b"v1"] = GARBAGE
    with pytest.raises(AbortError, match="2 states could not be decoded since the start"):
        await suffering.run(click(2))


async def test_nothing_is_dropped_before_its_letter_is_safe(suffering: Suffering) -> None:
    """A broker that refuses the letter ends the worker with the state as it was."""
    suffering.letters.refusal = OSError("no broker")
    await suffering.begin(v1=GARBAGE)
    with pytest.raises(AbortError):
        await suffering.run(click(0))
    assert suffering.table.states == {b"v1": GARBAGE}


async def test_states_before_an_unreadable_one_are_in_the_files_while_its_letter_is_on_its_way(
    suffering: Suffering,
) -> None:
    """As everything that waits for the brokers in the middle of a slice; the tombstone follows, then the new state."""
    letters = ListSink()
    suffering.actor._quarantine = Quarantine(letters, suffering.worker.pipeline, CHANGELOG)
    await suffering.begin(v1=GARBAGE)
    running = suffering.begin_run(run_of(click(0, "v2"), click(1), click(2, "v3")))
    await suffering.settle()
    assert suffering.table.states.keys() == {b"v1", b"v2"}
    assert (suffering.table.states[b"v1"], len(letters.records)) == (GARBAGE, 1)
    written = Delivery("changelog", b"v1")
    suffering.table.written = lambda: written
    letters.acknowledge_all()
    await suffering.settle()
    assert suffering.table.states.keys() == {b"v2"}
    assert suffering.sent().count("recommendations") == 1
    written.settle()
    await running
    assert suffering.table.states.keys() == {b"v1", b"v2", b"v3"}
    assert suffering.sent().count("recommendations") == 3


async def test_a_letter_that_no_broker_takes_keeps_the_state(suffering: Suffering) -> None:
    """The worker ends, and the next one comes upon the state again."""
    letters = ListSink()
    suffering.actor._quarantine = Quarantine(letters, suffering.worker.pipeline, CHANGELOG)
    await suffering.begin(v1=GARBAGE)
    running = suffering.begin_run(click(0))
    await suffering.settle()
    letters.deliveries[0].settle(OSError("no broker"))
    with pytest.raises(AbortError, match="no broker"):
        await running
    assert suffering.table.states == {b"v1": GARBAGE}
