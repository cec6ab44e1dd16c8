import asyncio
from collections.abc import AsyncIterator
from typing import Any

import faust
import pytest
import structlog
from faust.types import TP

from agents.clicks.actor import LOST_AFTER_SECONDS, SLICE, send_ticks
from agents.clicks.clocks import WorkerClocks
from agents.clicks.visitor_states import MAX_WRITES_A_TICK
from schemas import wire
from schemas.events import ClickEvent, Erase, Tick
from schemas.handovers import Adoption, Control, Handover
from schemas.ids import ItemId, SessionId, VisitorId
from schemas.state import MAX_STATE_BYTES, InputPosition, OpenSession, decode_state
from streams.delivery.dead_letters import HEADER_PREFIX
from streams.delivery.record_batches import MarkedValue
from streams.fakes import ListSink
from streams.records import Delivery, Undecodable
from streams.sessions.expiry import STATES_A_TURN
from tests.agents.clicks.acting import (
    CLICKS,
    CONTROL,
    EXPIRED_MS,
    START_MS,
    AbortError,
    Acting,
    FakeEvent,
    click,
    control,
    one_record,
    run_of,
)


@pytest.fixture(autouse=True)
def logged() -> Any:
    """Catch the log lines."""
    with structlog.testing.capture_logs() as entries:
        yield entries


@pytest.fixture
async def acting(worker: Any) -> AsyncIterator[Acting]:
    """Make an actor whose partition 0 is recovered."""
    acting = Acting(worker)
    await acting.actor.recovered()
    yield acting
    await acting.windows.close()


async def test_a_click_is_acknowledged_when_its_records_are(acting: Acting) -> None:
    """State is written at once; the ack waits until the broker has the answer."""
    event = click(0)
    await acting.run(event)
    assert acting.sent() == ["recommendations", "intent-signals"]
    assert b"v1" in acting.table.states
    assert not acting.has_acked(event)
    await acting.settle(is_acknowledged=True)
    assert acting.has_acked(event)


async def test_a_header_without_a_value_is_an_empty_one(acting: Acting) -> None:
    """Kafka allows null there; such a record, bad as it may be, must not end the worker, which would read it again."""
    await acting.run(one_record(CLICKS, 0, b"v1", b"\xff", (("traceparent", None), ("h", b"1"))))
    (letter,) = acting.sink.records
    assert list(letter.headers[:2]) == [("traceparent", b""), ("h", b"1")]


@pytest.mark.parametrize("tp", [CLICKS, CONTROL])
@pytest.mark.parametrize("original", [b"v", None])
async def test_what_the_client_could_not_decode_is_dead_lettered(
    acting: Acting, tp: TP, original: bytes | None
) -> None:
    """Whatever it holds otherwise, with the original value, and acknowledged when the letter is safe."""
    event = one_record(tp, 0, b"v1", MarkedValue(original, Undecodable("an odd name")))
    await acting.run(event)
    (letter,) = acting.sink.records
    assert (letter.key, letter.value, type(letter.value) is MarkedValue) == (b"v1", original, False)
    assert dict(letter.headers)[HEADER_PREFIX + "reason"] == b"undecodable"
    assert dict(letter.headers)[HEADER_PREFIX + "message"] == b"an odd name"
    assert not acting.has_acked(event)
    await acting.settle(is_acknowledged=True)
    assert acting.has_acked(event)


async def test_a_record_that_the_consumer_refuses_is_not_taken(acting: Acting) -> None:
    """A record behind a lost one changes nothing and is not acknowledged; it comes again, and nobody waits for it."""
    acting.app.consumer.refused = {0}
    event = click(0)
    await acting.run(event)
    await acting.settle(is_acknowledged=True)
    assert (acting.sent(), acting.table.states, acting.acknowledged) == ([], {}, [])
    assert acting.has_released(event)


async def test_a_run_is_taken_in_slices(acting: Acting) -> None:
    """Each is confirmed at one go and is one write to the files; in between, others have their turn."""
    turns: list[int] = []

    async def others() -> None:
        while True:
            turns.append(len(acting.table.writes))
            await asyncio.sleep(0)

    beside = asyncio.create_task(others())
    await acting.run(run_of(*[click(offset, f"v{offset}") for offset in range(2 * SLICE + 1)]))
    beside.cancel()
    assert acting.app.consumer.confirmed == [
        range(SLICE),
        range(SLICE, 2 * SLICE),
        range(2 * SLICE, 2 * SLICE + 1),
    ]
    assert [len(write) for write in acting.table.writes] == [SLICE, SLICE, 1]
    assert set(turns) >= {1, 2, 3}
    assert acting.sent().count("recommendations") == 2 * SLICE + 1


async def test_clicks_of_a_slice_see_each_others_state(acting: Acting) -> None:
    """Long before it is in the files; of a visitor's states there, only the last one counts."""
    await acting.run(run_of(click(0), click(1, "v2"), click(2)))
    state = decode_state(acting.table.states[b"v1"])
    assert state.session is not None
    assert (state.session.event_count, state.offsets) == (2, {"clickstream": 2})
    assert [sorted(write) for write in acting.table.writes] == [[b"v1", b"v2"]]


async def test_a_run_is_released_when_all_that_was_taken_of_it_is_acknowledged(acting: Acting) -> None:
    """A rebalance waits for it until then; each record is acknowledged as soon as its own turn comes."""
    event = run_of(*[click(offset, f"v{offset}") for offset in range(3)])
    await acting.run(event)
    first, second = (acting.sink.deliveries[at : at + 2] for at in (0, 2))
    for delivery in (*second, *first[:1]):
        delivery.settle()
    assert acting.acknowledged == []
    first[1].settle()
    assert acting.acknowledged == [(CLICKS, 0), (CLICKS, 1)]
    assert not acting.has_released(event)
    acting.sink.acknowledge_all()
    assert acting.has_acked(event)


async def test_a_run_is_not_released_while_some_of_it_is_not_taken(acting: Acting) -> None:
    """Though all that was taken so far is acknowledged: the rest may have to wait for room, or for a schema."""
    gate = FakeGate()
    acting.gate = gate
    acting.make_actor()
    event = run_of(click(0), click(1, "v2"))
    gate.hold(event.records[1].value)
    running = acting.begin_run(event)
    await acting.settle(is_acknowledged=True)
    assert acting.acknowledged == [(CLICKS, 0)]
    assert not acting.has_released(event)
    gate.let_through()
    await running
    await acting.settle(is_acknowledged=True)
    assert acting.has_acked(event)


async def test_what_the_consumer_refuses_of_a_run_is_let_go(acting: Acting) -> None:
    """What was taken before is answered and acknowledged, then the run is released; the rest comes again."""
    acting.app.consumer.refused = {SLICE}
    event = run_of(*[click(offset, f"v{offset}") for offset in range(2 * SLICE)])
    await acting.run(event)
    assert len(acting.table.states) == SLICE
    assert not acting.has_released(event)
    await acting.settle(is_acknowledged=True)
    assert acting.acknowledged == [(CLICKS, offset) for offset in range(SLICE)]
    assert acting.has_released(event)


async def test_what_waits_for_room_has_its_states_in_the_files(acting: Acting) -> None:
    """A full window may take as long as the brokers; the run goes on when the oldest event is acknowledged."""
    acting.span = 2
    event = run_of(*[click(offset, f"v{offset}") for offset in range(4)])
    running = acting.begin_run(event)
    await acting.settle()
    assert sorted(acting.table.states) == [b"v0", b"v1"]
    assert (acting.sent().count("recommendations"), running.done()) == (2, False)
    acting.sink.acknowledge_all()
    await acting.settle()
    assert sorted(acting.table.states) == [b"v0", b"v1", b"v2", b"v3"]
    assert not acting.has_released(event)
    await acting.settle(is_acknowledged=True)
    await running
    assert acting.has_acked(event)


async def test_others_go_on_while_many_states_are_read_at_a_start(acting: Acting) -> None:
    """Pages, heartbeats and the guard of the start among them; it counts the turns."""
    await acting.run(click(0))
    state = acting.table.states[b"v1"]
    acting.table.states |= {b"w%d" % number: state for number in range(2 * STATES_A_TURN)}
    await acting.actor.assigned(acting.app, set())
    recovering = asyncio.ensure_future(acting.actor.recovered())
    turns_seen = set()
    while not recovering.done():
        await asyncio.sleep(0)
        turns_seen.add(acting.app.turns)
    assert turns_seen >= {1, 2}


async def test_a_partition_that_goes_while_its_states_are_read_is_not_taken_for_ours(acting: Acting) -> None:
    """Another worker moves its sessions on; when it comes back, its states are read anew."""
    await acting.run(click(0))
    state = acting.table.states[b"v1"]
    acting.table.states |= {b"w%d" % number: state for number in range(2 * STATES_A_TURN)}
    await acting.actor.assigned(acting.app, set())
    recovering = asyncio.ensure_future(acting.actor.recovered())
    await asyncio.sleep(0)
    assert acting.app.turns == 1
    await acting.actor.assigned(acting.app, set())
    await recovering
    assert acting.actor._states.expiry.partitions() == set()
    await acting.actor.recovered()
    assert acting.actor._states.expiry.partitions() == {0}


@pytest.mark.parametrize(("next_offset", "ends"), [(1, 1), (0, 0), (2, 0)])
async def test_a_tick_ends_due_sessions_of_the_clicks_before_it(acting: Acting, next_offset: int, ends: int) -> None:
    """Once all of them are taken: lag or an old log never makes input late."""
    tick = Tick(next_offset=next_offset, stream_time_ms=EXPIRED_MS)
    await acting.run(click(0), control(0, tick))
    assert acting.sent().count("session-ends") == ends
    assert (decode_state(acting.table.states[b"v1"]).session is None) is bool(ends)


async def test_clicks_of_others_since_a_tick_hold_up_no_end(acting: Acting) -> None:
    """A busy partition would have none: on most of its ticks somebody clicks before they are read."""
    acting.now_ms = START_MS
    await acting.run(click(0), click(1, "v2"))
    acting.now_ms = EXPIRED_MS
    await acting.run(control(0, Tick(next_offset=1, stream_time_ms=EXPIRED_MS)))
    assert decode_state(acting.table.states[b"v1"]).session is None
    assert decode_state(acting.table.states[b"v2"]).session is not None


async def test_a_tick_ends_no_session_of_clicks_since(acting: Acting) -> None:
    """A phone was offline for an hour; its clicks come one by one between those of others, and are one session."""
    acting.now_ms, hour_ms = EXPIRED_MS, 3_600_000
    phone = [click(n, "phone", at_ms=EXPIRED_MS - hour_ms, record_ms=EXPIRED_MS) for n in (0, 2)]
    others = [click(n, "other", at_ms=EXPIRED_MS, record_ms=EXPIRED_MS) for n in (1, 3)]
    tick = Tick(next_offset=0, stream_time_ms=EXPIRED_MS - 50)
    await acting.run(phone[0], others[0], control(0, tick), phone[1], others[1])
    assert "session-ends" not in acting.sent()


async def test_a_tick_that_comes_late_ends_what_was_due_at_its_own_time(acting: Acting) -> None:
    """Meanwhile a click may lie there that belongs to what is due by now."""
    await acting.run(click(0), control(0, Tick(next_offset=1, stream_time_ms=START_MS + 60_000)))
    assert decode_state(acting.table.states[b"v1"]).session is not None


@pytest.mark.parametrize("happens", ["a click of long ago", "a clock that is behind"])
async def test_a_tick_that_comes_again_tells_again_what_it_has_ended(acting: Acting, happens: str) -> None:
    """Whatever time it is by then: nobody else tells it any more."""
    tick = Tick(next_offset=1, stream_time_ms=EXPIRED_MS)
    await acting.run(click(0), control(0, tick))
    acting.make_actor()
    if happens == "a clock that is behind":
        acting.now_ms = START_MS - 1_000
    await acting.actor.recovered()
    if happens == "a click of long ago":
        await acting.run(click(1, "v2", at_ms=START_MS - 30 * 86_400_000))
    await acting.run(control(0, tick))
    assert acting.sent().count("session-ends") == 2


async def test_a_tick_counts_where_all_clickstreams_have_come_to_its_moment(worker: Any) -> None:
    """It waits for each of them, names where each was, and one from a worker that did not know of them ends nothing."""
    acting, orders = Acting(worker, ["orders"]), TP("orders", 0)
    await acting.actor.recovered()
    await acting.run(click(0))
    assert acting.actor.due_ticks() == []
    acting.app.consumer.next[orders], acting.app.consumer.ends[orders] = 3, 4
    assert acting.actor.due_ticks() == []
    acting.app.consumer.ends[orders] = 3
    ((_, tick),) = acting.actor.due_ticks()
    assert tick == Tick(next_offset=1, stream_time_ms=EXPIRED_MS, next_offsets={"orders": 3})
    await acting.run(control(0, Tick(next_offset=1, stream_time_ms=EXPIRED_MS)))
    acting.app.consumer.next[orders] = 2
    await acting.run(control(1, tick))
    assert "session-ends" not in acting.sent()
    acting.app.consumer.next[orders] = 4
    await acting.run(control(2, tick))
    assert acting.sent().count("session-ends") == 1
    await acting.windows.close()


async def test_an_erasure_waits_for_the_visitors_clicks_on_every_topic(worker: Any) -> None:
    """A replay of any of them would bring the visitor back."""
    acting = Acting(worker, ["orders"])
    await acting.actor.recovered()
    erase = control(0, Erase(visitor_id=VisitorId("v1")))
    value = b'{"visitor_id": "v1", "event_time": %d, "sku": "a"}' % START_MS
    await acting.run(one_record(TP("orders", 0), 0, b"v1", value), erase)
    assert not acting.has_acked(erase)
    await acting.settle(is_acknowledged=True)
    assert acting.has_acked(erase)
    await acting.windows.close()


async def test_an_erasure_is_acknowledged_after_the_visitors_clicks(acting: Acting) -> None:
    """The state goes at once; the ack waits for the earlier clicks, so that no replay brings the visitor back."""
    first, erase = click(0), control(0, Erase(visitor_id=VisitorId("v1")))
    await acting.run(first, erase)
    assert acting.table.states == {}
    assert (acting.has_acked(first), acting.has_acked(erase)) == (False, False)
    await acting.settle(is_acknowledged=True)
    assert (acting.has_acked(first), acting.has_acked(erase)) == (True, True)
    assert acting.actor._states.shown.take(0, b"v1") is None


@pytest.mark.parametrize("value", [None, b"", b"no json", b'{"kind": "\xff"}', b'{"kind": "dance"}', b"[" * 100_000])
async def test_a_control_record_that_is_none_is_dead_lettered(acting: Acting, value: bytes | None) -> None:
    """Whatever the bytes are, the partition goes on."""
    event = one_record(CONTROL, 0, None, value)
    await acting.run(event, click(0))
    await acting.settle(is_acknowledged=True)
    letter = next(record for record in acting.sink.records if record.topic == "clickstream-dlq")
    assert (letter.value, dict(letter.headers)[HEADER_PREFIX + "topic"]) == (value, b"session-control")
    assert acting.has_acked(event)
    assert "recommendations" in acting.sent()


def login(offset: int) -> FakeEvent:
    """Make a click of v1 that says it was `cookie` before."""
    event = ClickEvent(
        visitor_id=VisitorId("v1"),
        event_type="view",
        event_time=START_MS + offset,
        item_id=ItemId("b"),
        anonymous_id=VisitorId("cookie"),
    )
    return one_record(CLICKS, offset, b"v1", wire.encode(event))


async def passed_on(acting: Acting, *events: FakeEvent) -> list[Control]:
    """Let the actor consume events and give the control records that it sends."""
    already = len(acting.sink.records)
    await acting.run(*events)
    await acting.settle(is_acknowledged=True)
    sent = [record for record in acting.sink.records[already:] if record.topic == "session-control"]
    return [wire.decode_control(record.value or b"") for record in sent]


async def test_a_login_sends_the_session_from_id_to_id(acting: Acting) -> None:
    """Handover to the cookie's owner, adoption to the customer's: the customer goes on with both clicks."""
    (handover,) = await passed_on(acting, click(0, "cookie"), login(1))
    assert handover == Handover(visitor_id=VisitorId("cookie"), to=VisitorId("v1"), partition=0, until_ms=START_MS + 1)
    (adoption,) = await passed_on(acting, control(0, handover))
    assert isinstance(adoption, Adoption)
    assert await passed_on(acting, control(1, adoption)) == []
    state, before = (decode_state(acting.table.states[key]) for key in (b"v1", b"cookie"))
    assert state.session is not None
    assert [event.item_id for event in state.session.events] == ["a", "b"]
    assert (before.session, "session-ends" in acting.sent()) == (None, False)


async def test_what_moves_on_is_sent_when_the_write_before_it_is_safe(acting: Acting) -> None:
    """After a crash between the two it would be sent again, and might hold something else."""
    written = Delivery("changelog", b"v1")
    acting.table.written = lambda: written
    await acting.run(login(0))
    assert acting.sent() == []
    written.settle()
    await acting.settle()
    assert acting.sent() == ["recommendations", "intent-signals", "session-control"]


async def test_an_erasure_reaches_the_other_ids_first(acting: Acting) -> None:
    """The state names them, so it goes last: with the erasure that the worker sends behind theirs, for that request."""
    (handover,) = await passed_on(acting, click(0, "cookie"), login(1))
    await passed_on(acting, control(0, handover))
    visitor, cookie = VisitorId("v1"), VisitorId("cookie")
    others = await passed_on(acting, control(1, Erase(visitor_id=visitor, request_id="r")))
    assert others == [
        Erase(visitor_id=cookie, reach="predecessors", request_id="r"),
        Erase(visitor_id=visitor, reach="self", request_id="r"),
    ]
    assert b"v1" in acting.table.states
    assert await passed_on(acting, control(2, others[0]), control(3, others[1])) == []
    assert acting.table.states == {}


async def test_an_erasure_of_the_cookie_reaches_the_customer(acting: Acting) -> None:
    """And from there what else the customer was."""
    (handover,) = await passed_on(acting, click(0, "cookie"), login(1))
    await passed_on(acting, control(0, handover))
    sent = [*await passed_on(acting, control(1, Erase(visitor_id=VisitorId("cookie"))))]
    offset = 2
    while sent:
        sent += await passed_on(acting, control(offset, sent.pop(0)))
        offset += 1
    assert acting.table.states == {}


async def test_withdrawn_consent_reaches_what_the_visitor_was_before(acting: Acting) -> None:
    """Nothing but the ids stays of the visitor until their erasures are sent."""
    await passed_on(acting, login(0))
    event = ClickEvent(
        visitor_id=VisitorId("v1"), event_type="view", event_time=START_MS, item_id=ItemId("a"), consent=False
    )
    sent = await passed_on(acting, one_record(CLICKS, 1, b"v1", wire.encode(event)))
    assert sent == [Erase(visitor_id=VisitorId("v1"), reach="predecessors")]
    assert decode_state(acting.table.states[b"v1"]).session is None
    cookie, final = await passed_on(acting, control(0, sent[0]))
    assert cookie == Erase(visitor_id=VisitorId("cookie"), reach="predecessors")
    await passed_on(acting, control(1, final))
    assert acting.table.states == {}


async def test_an_adoption_of_a_forgotten_visitor_is_counted(acting: Acting, worker: Any, logged: Any) -> None:
    """It was on its way when the visitor was erased."""
    session = OpenSession(SessionId("s"), None, START_MS, START_MS, 1, (), ())
    source = InputPosition("clickstream", 0, 0)
    adoption = Adoption(visitor_id=VisitorId("v1"), predecessor=VisitorId("cookie"), source=source, sessions=(session,))
    await passed_on(acting, control(0, adoption))
    assert acting.table.states == {}
    assert worker.count("insession_forgotten_adoptions_total") == 1
    assert "adoption_of_a_forgotten_visitor" in [line["event"] for line in logged]


async def test_a_state_that_would_grow_too_large_takes_no_session_in(acting: Acting, worker: Any) -> None:
    """The adoption is dead-lettered, with what it holds, and the partition goes on."""
    await passed_on(acting, login(0))
    session = OpenSession(SessionId("s" * MAX_STATE_BYTES), None, 0, 0, 1, (), ())
    source = InputPosition("clickstream", 1, 0)
    adoption = Adoption(visitor_id=VisitorId("v1"), predecessor=VisitorId("cookie"), source=source, sessions=(session,))
    await passed_on(acting, control(0, adoption))
    assert worker.count("insession_dead_letters_total", reason="too_large") == 1
    state = decode_state(acting.table.states[b"v1"])
    assert (state.parked, len(state.session.events if state.session else ())) == ((), 1)


async def test_a_state_that_cannot_be_read_ends_the_worker(acting: Acting) -> None:
    """Going on would lose the visitor's state; nothing is written or acknowledged."""
    event = click(0)
    acting.table.states[b"v1"] = b"\x09" + bytes(30)
    with pytest.raises(AbortError, match="run the version that wrote it"):
        await acting.run(event)
    assert (acting.sent(), acting.acknowledged, acting.app.consumer.released) == ([], [], [])


async def test_a_recovered_state_that_cannot_be_read_ends_the_worker(acting: Acting) -> None:
    """Faust would drop the error, and the partition's sessions would never end."""
    acting.table.states[b"v1"] = b"\x09" + bytes(17)
    acting.table.partitions = {0, 1}
    with pytest.raises(AbortError, match="run the version that wrote it"):
        await acting.actor.recovered()


async def test_recovered_sessions_are_due(acting: Acting) -> None:
    """The index is built from the states, of newly assigned partitions only."""
    await acting.run(click(0))
    await acting.actor.assigned(acting.app, set())
    acting.app.consumer.next[CLICKS] = 1
    assert acting.actor.due_ticks() == []
    await acting.actor.assigned(acting.app, {CLICKS, CONTROL})
    await acting.actor.recovered()
    assert acting.actor.due_ticks() == [(0, Tick(next_offset=1, stream_time_ms=EXPIRED_MS))]


async def test_fausts_signal_reaches_the_actor(acting: Acting) -> None:
    """Faust calls `assigned` in its own way, and the partition that went away is forgotten."""
    app = faust.App("signals", broker="kafka://127.0.0.1:1")
    app.on_partitions_assigned.connect(acting.actor.assigned)
    await app.on_partitions_assigned.send({CONTROL})
    assert acting.actor._states.expiry.partitions() == set()


@pytest.mark.parametrize("end", [1, 2, None])
async def test_ticks_are_due_on_caught_up_partitions_only(acting: Acting, end: int | None) -> None:
    """A partition with lag, or whose end is unknown, gets no tick; neither does one that is not ours."""
    await acting.run(click(0))
    acting.app.consumer.ends[CLICKS] = end
    assert [partition for partition, _ in acting.actor.due_ticks()] == ([0] if end == 1 else [])
    del acting.app.consumer.next[CLICKS]
    assert acting.actor.due_ticks() == []


async def test_no_tick_without_work(acting: Acting) -> None:
    """While no session has expired nothing is sent."""
    assert acting.actor.due_ticks() == []
    await acting.run(click(0))
    acting.now_ms = START_MS + 60_000
    assert acting.actor.due_ticks() == []


async def clicked(acting: Acting, visitors: int) -> None:
    """Let so many visitors click once; their sessions are due then."""
    acting.now_ms, acting.span = START_MS, visitors
    await acting.run(*(click(offset, f"v{offset}") for offset in range(visitors)))
    await acting.settle(is_acknowledged=True)
    acting.now_ms = EXPIRED_MS


async def test_what_a_tick_leaves_over_is_due_before_the_next_interval(acting: Acting) -> None:
    """Once a tick was taken that had more to end than it may, and what it ended is safe: ticks fill no window."""
    await clicked(acting, MAX_WRITES_A_TICK + 1)
    assert acting.actor.due_ticks(is_further=True) == []
    ((_, tick),) = acting.actor.due_ticks()
    await acting.run(control(0, tick))
    assert acting.sent().count("session-ends") == MAX_WRITES_A_TICK
    assert acting.actor.due_ticks(is_further=True) == []
    await acting.settle(is_acknowledged=True)
    assert acting.actor.due_ticks(is_further=True) == [(0, tick)]
    assert acting.actor.due_ticks(is_further=True) == []
    await acting.run(control(1, tick))
    assert acting.sent().count("session-ends") == MAX_WRITES_A_TICK + 1


async def test_ticks_that_go_on_end_fifty_sessions_each(acting: Acting) -> None:
    """Half of their writes drop what is known of earlier ends. A partition that goes leaves nothing over here."""
    await clicked(acting, 10 * MAX_WRITES_A_TICK)
    ((_, tick),) = acting.actor.due_ticks()
    for offset in range(10):
        await acting.run(control(offset, tick))
        await acting.settle(is_acknowledged=True)
    assert acting.sent().count("session-ends") == 10 * MAX_WRITES_A_TICK / 2
    assert acting.actor._states.left_over == {0}
    await acting.actor.assigned(acting.app, set())
    assert acting.actor._states.left_over == set()


async def test_due_ticks_go_to_their_partitions(acting: Acting) -> None:
    """The record names the partition, and has no key; the timer waits until it is safe."""
    await acting.run(click(0))
    sink = ListSink()
    sending = asyncio.create_task(send_ticks(acting.actor, sink, "session-control"))
    await acting.settle()
    (record,) = sink.records
    assert (record.topic, record.key, record.partition) == ("session-control", None, 0)
    assert wire.decode_control(record.value or b"") == Tick(next_offset=1, stream_time_ms=EXPIRED_MS)
    assert not sending.done()
    sink.acknowledge_all()
    await sending


async def test_a_tick_that_no_broker_takes_is_an_error(acting: Acting) -> None:
    """Of the timer, which ends the worker."""
    await acting.run(click(0))
    sink = ListSink()
    sending = asyncio.create_task(send_ticks(acting.actor, sink, "session-control"))
    await acting.settle()
    sink.deliveries[0].settle(OSError("no broker"))
    with pytest.raises(OSError, match="no broker"):
        await sending


async def test_a_partition_that_stands_still_is_fetched_again(acting: Acting) -> None:
    """What was lost between consumer and actor, with nothing behind it that shows it, is asked for after a while."""
    refetched = []
    for now in (0.0, LOST_AFTER_SECONDS - 1, LOST_AFTER_SECONDS, LOST_AFTER_SECONDS + 1, 2 * LOST_AFTER_SECONDS):
        await acting.actor.refetch_lost(now)
        refetched.append(len(acting.app.consumer.refetched))
    assert refetched == [0, 0, 1, 1, 2]


async def test_a_partition_that_moves_is_not_fetched_again(acting: Acting) -> None:
    """Progress starts the wait anew."""
    for n in range(5):
        acting.app.consumer.next[CLICKS] = n
        await acting.actor.refetch_lost(n * (LOST_AFTER_SECONDS - 1))
    assert acting.app.consumer.refetched == []


class FakeGate:
    """Lets records through as the test says; `awaited` is the schema that the input waits for.

    shut: let go when they are waited for; held: waited for until they are let through.
    """

    def __init__(self) -> None:
        self.awaited: int | None = None
        self.shut: set[bytes | None] = set()
        self.held: set[bytes | None] = set()
        self.asked: list[bytes | None] = []
        self._opening = asyncio.Event()

    def hold(self, value: bytes | None) -> None:
        """Have a value waited for."""
        self.held.add(value)

    def let_through(self) -> None:
        """Let everything through."""
        self.held.clear()
        self._opening.set()

    def is_open(self, value: bytes | None) -> bool:
        """Return whether a value is let through."""
        self.asked.append(value)
        return value not in self.shut | self.held

    async def opened(self, value: bytes | None) -> bool:
        """Wait for a value."""
        if value in self.held:
            await self._opening.wait()
        return value not in self.shut


async def test_a_record_that_is_let_go_has_not_arrived(worker: Any) -> None:
    """Its schema did not come before a rebalance: no state, no answer, no ack; the consumer brings it again."""
    gate, event = FakeGate(), click(0)
    acting = Acting(worker, gate=gate)
    gate.shut.add(event.records[0].value)
    await acting.run(event)
    await acting.settle(is_acknowledged=True)
    assert (acting.sent(), acting.table.states, acting.acknowledged) == ([], {}, [])
    assert acting.has_released(event)
    assert acting.app.consumer.next_offset(CLICKS) == 0
    gate.shut.clear()
    again = click(0)
    await acting.run(again)
    assert acting.app.consumer.next_offset(CLICKS) == 1
    await acting.settle(is_acknowledged=True)
    assert acting.has_acked(again)
    await acting.windows.close()


async def test_what_is_let_go_of_a_run_begins_with_the_record_that_waits(worker: Any) -> None:
    """Those before it are taken, answered and acknowledged; those behind it come again with it."""
    gate = FakeGate()
    acting = Acting(worker, gate=gate)
    event = run_of(*[click(offset, f"v{offset}") for offset in range(5)])
    gate.shut.add(event.records[2].value)
    await acting.run(event)
    assert acting.app.consumer.confirmed == [range(2)]
    assert not acting.has_released(event)
    await acting.settle(is_acknowledged=True)
    assert acting.acknowledged == [(CLICKS, 0), (CLICKS, 1)]
    assert sorted(acting.table.states) == [b"v0", b"v1"]
    assert acting.has_released(event)
    await acting.windows.close()


async def test_a_record_whose_schema_comes_is_taken_with_those_behind_it(worker: Any) -> None:
    """Those before it do not wait: their states are in the files, and their answers are sent."""
    gate = FakeGate()
    acting = Acting(worker, gate=gate)
    event = run_of(*[click(offset, f"v{offset}") for offset in range(4)])
    gate.hold(event.records[1].value)
    running = acting.begin_run(event)
    await acting.settle()
    assert (sorted(acting.table.states), acting.sent().count("recommendations")) == ([b"v0"], 1)
    assert acting.app.consumer.next_offset(CLICKS) == 1
    gate.let_through()
    await running
    assert acting.sent().count("recommendations") == 4
    await acting.settle(is_acknowledged=True)
    assert acting.has_acked(event)
    await acting.windows.close()


async def test_only_clicks_that_were_decoded_by_the_client_wait_for_a_schema(worker: Any) -> None:
    """Control records are JSON, and what the client could not decode is a dead letter."""
    gate = FakeGate()
    acting = Acting(worker, gate=gate)
    marked = one_record(CLICKS, 0, b"v1", MarkedValue(b"v", Undecodable("an odd name")))
    await acting.run(marked, control(0, Tick(next_offset=1, stream_time_ms=START_MS)))
    assert gate.asked == []
    await acting.windows.close()


async def test_what_waits_for_a_schema_is_not_fetched_again(worker: Any) -> None:
    """The partition stands still, and nothing is lost."""
    gate = FakeGate()
    acting = Acting(worker, gate=gate)
    gate.awaited = 42
    await acting.actor.refetch_lost(0.0)
    await acting.actor.refetch_lost(2 * LOST_AFTER_SECONDS)
    gate.awaited = None
    await acting.actor.refetch_lost(2 * LOST_AFTER_SECONDS)
    assert acting.app.consumer.refetched == []
    await acting.windows.close()


async def test_a_wrong_wall_clock_ends_no_session(acting: Acting) -> None:
    """Forty days ahead after a restart: time goes on from the newest click that there is, not from the wall clock."""
    await acting.run(click(0))
    restarted = Acting(acting.worker)
    restarted.table.states = acting.table.states
    wrong_ms = START_MS + 40 * 86_400_000
    passed_seconds = 0.0
    restarted.clocks = WorkerClocks(acting.worker.metrics, lambda: wrong_ms, lambda: passed_seconds)
    newest = asyncio.Future[int | None]()
    newest.set_result(START_MS)
    restarted.make_actor(lambda _: newest)
    restarted.app.consumer.next[CLICKS] = 1
    await restarted.actor.recovered()
    assert restarted.actor.due_ticks() == []
    await restarted.settle()
    assert restarted.actor.due_ticks() == []
    passed_seconds = 40 * 60.0
    assert [tick.stream_time_ms for _, tick in restarted.actor.due_ticks()] == [EXPIRED_MS]
    await restarted.windows.close()


async def test_time_that_cannot_be_found_begins_with_the_next_click(acting: Acting, logged: Any) -> None:
    """A broker that does not tell the newest click ends nothing, not the worker either."""
    acting.clocks = WorkerClocks(acting.worker.metrics, lambda: EXPIRED_MS, lambda: 0.0)

    async def lost(_: Any) -> int | None:
        raise ConnectionError("no broker")

    acting.make_actor(lost)
    await acting.actor.recovered()
    await acting.settle()
    assert [entry["event"] for entry in logged] == ["newest_click_not_found"]
    assert not acting.clocks.stream.is_set
    await acting.run(click(0))
    assert acting.clocks.stream.is_set


async def test_a_tick_from_the_future_ends_what_is_due_now(acting: Acting) -> None:
    """And nothing more: a worker with a wrong clock may have sent it at the very moment of ours."""
    await acting.run(click(0))
    far = Tick(next_offset=1, stream_time_ms=EXPIRED_MS + 86_400_000)
    acting.now_ms = START_MS + 60_000
    await acting.run(control(0, far))
    assert decode_state(acting.table.states[b"v1"]).session is not None
    acting.now_ms = EXPIRED_MS
    await acting.run(control(1, far))
    assert decode_state(acting.table.states[b"v1"]).session is None


async def test_a_tick_from_before_an_old_log_ends_nothing_of_it(acting: Acting) -> None:
    """Where clicks of long ago came since, time in the partition is that of long ago, and their sessions go on."""
    acting.now_ms = START_MS
    old = click(0, at_ms=START_MS - 30 * 86_400_000)
    await acting.run(old, control(0, Tick(next_offset=1, stream_time_ms=START_MS)))
    assert decode_state(acting.table.states[b"v1"]).session is not None


async def test_a_ticks_time_is_when_it_was_asked_for_more_clicks(worker: Any) -> None:
    """After a standstill the clicks of meanwhile lie on the topic; of several clickstreams the oldest answer counts."""
    acting, orders = Acting(worker, ["orders"]), TP("orders", 0)
    await acting.actor.recovered()
    await acting.run(click(0))
    acting.app.consumer.next[orders] = 0
    gone_seconds = (EXPIRED_MS - START_MS - 60_000) / 1000
    for tp in (CLICKS, orders):
        acting.app.consumer.ages_seconds = {tp: gone_seconds}
        assert acting.actor.due_ticks() == []
    acting.now_ms += 5_000
    acting.app.consumer.ages_seconds = {CLICKS: 5.0, orders: 2.0}
    ((_, tick),) = acting.actor.due_ticks()
    assert tick.stream_time_ms == EXPIRED_MS
    await acting.windows.close()


async def test_only_clicks_that_did_not_wait_tell_of_clocks(acting: Acting) -> None:
    """The last one of a backlog is old by itself; those that come to a partition that was read to its end are not."""
    await acting.run(click(0))
    assert acting.clocks.ages.skew_ms() is None
    await acting.run(click(1))
    assert acting.clocks.ages.skew_ms() == START_MS - EXPIRED_MS


async def test_only_the_last_of_a_run_may_tell_of_clocks(acting: Acting, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those before it waited at least as long as it took to come together."""
    await acting.actor.refetch_lost(0.0)
    seen: list[bool] = []
    monkeypatch.setattr(WorkerClocks, "read", lambda _self, _time_ms, *, is_fresh: seen.append(is_fresh))
    await acting.run(run_of(click(0), click(1), click(2)))
    assert seen == [False, False, True]


async def test_a_partition_that_stands_at_its_end_is_known_to(acting: Acting) -> None:
    """After a start without a backlog the very first click tells of clocks, too."""
    await acting.actor.refetch_lost(0.0)
    await acting.run(click(0))
    assert acting.clocks.ages.skew_ms() == START_MS - EXPIRED_MS
