"""A visitor whose ids are as long as they may be, and who does whatever fills the state."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from schemas.errors import UsageError
from schemas.events import ClickEvent
from schemas.handovers import Adoption, Handover
from schemas.ids import ItemId, ModelVersion, SessionId, VisitorId
from schemas.records import SessionEvent
from schemas.state import (
    MAX_STATE_BYTES,
    AnswerRef,
    ClosedSession,
    InputPosition,
    OpenSession,
    ShownAnswer,
    VisitorState,
    decode_state,
    encode_state,
)
from streams.sessions.identity import Identities
from streams.sessions.outcomes import OutcomeRules, Outcomes
from streams.sessions.rules import SessionRules
from streams.sessions.sessionizer import Arrival, InputTopics, Sessionizer
from streams.sessions.state_budget import LEAST_EVENTS, LEAST_PURCHASES, StateBudget

START_MS = 1_700_000_000_000
MINUTE_MS = 60_000
TOPICS = InputTopics("clickstream", "session-control")
RULES = SessionRules(bot_burst_events=0)
VISITOR = VisitorId("v" * 128)

Closings = tuple[ClosedSession, ...]


def wide(text: object) -> Any:
    """Make an id of 128 bytes."""
    return f"{text}".ljust(128, "-")


class WideVisitor:
    """Takes one input after the other, as the pipeline does, and keeps what it wrote last."""

    def __init__(self, rules: SessionRules = RULES) -> None:
        self.rules = rules
        self.sessionizer = Sessionizer(rules, TOPICS)
        self.outcomes = Outcomes(OutcomeRules(), self.sessionizer.budget)
        self.identities = Identities(rules, TOPICS)
        self.stored: bytes | None = None
        self.now_ms = START_MS
        self.offset = self.control_offset = self.number = 0
        self.uncut: VisitorState | None = None

    @property
    def state(self) -> VisitorState | None:
        """Read the state as it is stored."""
        return None if self.stored is None else decode_state(self.stored)

    def record(
        self, *types: str, session: int | None = None, again: bool = False, **fields: Any
    ) -> tuple[str, Closings]:
        """Take a record with an event for each type, or the latest one again; gives its status and what it ended."""
        if not again:
            self.offset += 1
            self.number += len(types)
        events = [
            ClickEvent(
                visitor_id=VISITOR,
                event_type=event_type,  # type: ignore[arg-type]
                event_time=self.now_ms,
                item_id=wide(f"i{self.number - place}"),
                event_id=wide(f"e{self.number - place}"),
                session_id=None if session is None else wide(f"s{session}"),
                location=wide("l"),
                device=wide("d"),
                experiment=wide("x"),
                **fields,
            )
            for place, event_type in enumerate(types)
        ]
        arrival = Arrival(InputPosition("clickstream", 0, self.offset), self.now_ms)
        advance = self.sessionizer.advance(self.state, events, arrival)
        if not advance.is_redelivery and not advance.is_still:
            advance = self.outcomes.follow(advance, events, self.shown())
        joined = self.identities.follow(advance, events, arrival)
        self.write(joined.state)
        return advance.status, joined.closings

    def shown(self) -> ShownAnswer | None:
        """Return an answer of twenty items in the current session."""
        state = self.state
        if state is None or state.session is None:
            return None
        answer = AnswerRef(self.offset - 1, self.now_ms, "model", ModelVersion(20_231_114), wide("x"), "clickstream")
        items = tuple(wide(f"i{self.number + place}") for place in range(20))
        return ShownAnswer(answer, state.session.session_id, items)

    def tick(self) -> Closings:
        """Take a tick of now."""
        state = self.state
        self.control_offset += 1
        if state is None:
            return ()
        position = InputPosition("session-control", 0, self.control_offset)
        result = self.sessionizer.tick(state, position, self.now_ms)
        if result is None or result.state is None:
            return ()
        self.write(result.state)
        return result.closings

    def hand_over(self, to: int) -> Closings:
        """Take a handover of everything to another id."""
        self.control_offset += 1
        handover = Handover(visitor_id=VISITOR, to=wide(f"c{to}"), partition=1, until_ms=self.now_ms)
        position = InputPosition("session-control", 0, self.control_offset)
        joined = self.identities.hand_over(self.state, handover, position)
        self.write(joined.state)
        return joined.closings

    def adopt(self, predecessor: int, count: int) -> Closings:
        """Take in full sessions of an earlier id, each of another device."""
        self.control_offset += 1
        self.number += 1
        events = tuple(SessionEvent("view", self.now_ms, wide(f"a{self.number}-{place}"), 9.5) for place in range(50))
        seen = tuple(range(2**60, 2**60 + 200))
        sessions = tuple(
            OpenSession(wide(f"o{number}"), wide(f"o{number}"), self.now_ms, self.now_ms, 50, events, seen)
            for number in range(self.number, self.number + count)
        )
        adoption = Adoption(
            visitor_id=VISITOR,
            predecessor=wide(f"a{predecessor}"),
            source=InputPosition("clickstream", predecessor % 64, self.control_offset),
            sessions=sessions,
            purchased=tuple(wide(f"b{self.number}-{place}") for place in range(200)),
        )
        position = InputPosition("session-control", 0, self.control_offset)
        joined = self.identities.adopt(self.state, adoption, position)
        self.write(joined.state)
        return joined.closings

    def write(self, state: VisitorState | None) -> None:
        """Store a state within its budget."""
        if state is None:
            return
        self.uncut = state
        value = encode_state(state, due_ms=0)
        if len(value) > self.rules.max_state_bytes:
            value = encode_state(self.sessionizer.budget.cut(state), due_ms=0)
        self.stored = value


ACTS = st.one_of(
    st.tuples(st.just("record"), st.sampled_from(["view", "purchase", "cart"]), st.sampled_from([1, 5, 60, 300])),
    st.tuples(st.just("session"), st.integers(0, 9), st.sampled_from([1, 50])),
    st.tuples(st.just("switches"), st.integers(2, 40), st.integers(0, 9)),
    st.tuples(st.just("end"), st.just(0), st.just(0)),
    st.tuples(st.just("wait"), st.sampled_from([1, 40]), st.just(0)),
    st.tuples(st.just("tick"), st.just(0), st.just(0)),
    st.tuples(st.just("login"), st.integers(0, 20), st.just(0)),
    st.tuples(st.just("hand over"), st.integers(0, 9), st.just(0)),
    st.tuples(st.just("adopt"), st.integers(0, 20), st.integers(1, 5)),
)


def act(visitor: WideVisitor, what: tuple[str, Any, Any]) -> tuple[Closings, bool]:
    """Do one thing; gives what it ended, and whether that was a record, which can come again."""
    visitor.now_ms += 1000
    kind, one, other = what
    records: dict[str, Callable[[], tuple[str, Closings]]] = {
        "record": lambda: visitor.record(*[one] * other),
        "session": lambda: visitor.record(*["view"] * other, session=one),
        "end": lambda: visitor.record("session_end"),
        "login": lambda: visitor.record("view", anonymous_id=wide(f"a{one}")),
    }
    if kind in records:
        return records[kind]()[1], True
    if kind == "switches":
        for number in range(one):
            visitor.record("view", session=other + number)
    if kind == "wait":
        visitor.now_ms += one * MINUTE_MS
    controls: dict[str, Callable[[], Closings]] = {
        "tick": visitor.tick,
        "hand over": lambda: visitor.hand_over(one),
        "adopt": lambda: visitor.adopt(one, other),
    }
    return (controls[kind](), False) if kind in controls else ((), False)


@settings(max_examples=60, deadline=None)
@given(st.lists(ACTS, max_size=25))
def test_no_input_makes_a_state_larger_than_its_budget(acts: list[tuple[str, Any, Any]]) -> None:
    """What is stated to survive survives, and a replay tells the same session ends again."""
    visitor = WideVisitor()
    for what in acts:
        closings, is_record = act(visitor, what)
        assert visitor.stored is None or len(visitor.stored) <= RULES.max_state_bytes
        state, uncut = visitor.state, visitor.uncut
        if state is None or uncut is None:
            continue
        assert (state.closings, state.last_outcomes, state.ended_ms) == (
            uncut.closings,
            uncut.last_outcomes,
            uncut.ended_ms,
        )
        assert set(closings) <= set(state.closings)
        assert [one.session_id for one in state.open_sessions] == [one.session_id for one in uncut.open_sessions]
        assert [one.event_count for one in state.open_sessions] == [one.event_count for one in uncut.open_sessions]
        assert state.purchased[-LEAST_PURCHASES:] == uncut.purchased[-LEAST_PURCHASES:]
        if state.session is not None and uncut.session is not None:
            assert state.session.events[-LEAST_EVENTS:] == uncut.session.events[-LEAST_EVENTS:]
        if state.identity is not None and uncut.identity is not None:
            assert state.identity.predecessors == uncut.identity.predecessors
        if is_record:
            assert visitor.record("view", again=True)[1] == closings


def test_a_session_end_keeps_the_latest_events_that_fit() -> None:
    """Its record, and the one that a replay sends, tell the count of all and hold the same latest ones."""
    visitor = WideVisitor(SessionRules(bot_burst_events=0, max_kept_events=500))
    for _ in range(8):
        visitor.now_ms += 1000
        visitor.record(*["view"] * 60)
    assert visitor.state is not None
    assert visitor.state.session is not None
    before = visitor.state.session
    visitor.now_ms += 40 * MINUTE_MS
    _, (closed,) = visitor.record("view")
    kept = closed.session
    assert 0 < len(kept.events) < len(before.events)
    assert kept.events == before.events[-len(kept.events) :]
    assert (kept.session_id, kept.event_count, kept.seen) == (before.session_id, 480, ())
    _, (again,) = visitor.record("view", again=True)
    assert again == closed


def test_who_ends_more_sessions_than_there_is_room_for_is_a_bot() -> None:
    """What was told is kept, no further one ends, and it goes on when those are surely told."""
    visitor = WideVisitor()
    statuses, ends = [], []
    for number in range(120):
        visitor.now_ms += 1000
        status, closings = visitor.record("view", session=number)
        statuses.append(status)
        ends += closings
    assert statuses[0] == "answered"
    assert statuses[-1] == "bot"
    assert visitor.state is not None
    assert list(visitor.state.closings) == ends
    visitor.offset += TOPICS.clickstream_window
    visitor.record("view")
    visitor.now_ms += 1000
    assert visitor.record("view", session=200)[0] == "answered"


def test_ticks_end_what_is_open_however_full_the_state_is() -> None:
    """The room that clicks leave is theirs; what does not fit at once ends by a later tick."""
    visitor = WideVisitor()
    for number in range(120):
        visitor.now_ms += 1000
        visitor.record("view", session=number)
    assert visitor.state is not None
    is_open = {session.session_id for session in visitor.state.open_sessions}
    visitor.now_ms += 60 * MINUTE_MS
    ended: set[SessionId] = set()
    for _ in range(10):
        ended |= {closed.session.session_id for closed in visitor.tick()}
    assert ended == is_open
    assert visitor.state.open_sessions == ()


def test_a_record_of_many_lines_tells_the_outcomes_that_fit() -> None:
    """Those of its first lines, each of which a replay tells again."""
    visitor = WideVisitor()
    visitor.record("view")
    visitor.now_ms += 1000
    visitor.record(*["purchase"] * 500)
    assert visitor.state is not None
    lines = [outcome.line for outcome in visitor.state.last_outcomes]
    assert 10 < len(lines) < 500
    assert lines == list(range(len(lines)))


def test_a_state_that_fits_is_left_as_it_is() -> None:
    """The bounds of a shop's own ids are far below the budget."""
    budget = StateBudget(SessionRules())
    event = SessionEvent("view", START_MS, ItemId("i" * 36), 9.5)
    session = OpenSession(SessionId("s" * 36), None, START_MS, START_MS, 50, (event,) * 50, tuple(range(200)))
    state = VisitorState({"clickstream": 1}, "answered", START_MS, session=session, purchased=(ItemId("p" * 36),) * 200)
    assert budget.cut(state) == state
    huge = replace(state, purchased=(wide("p"),) * 2000)
    assert len(budget.cut(huge).purchased) < 2000
    assert budget.cut(huge).session == session


@pytest.mark.parametrize(
    ("max_state_bytes", "max_open_sessions"), [(40_959, 4), (1_000, 1), (MAX_STATE_BYTES + 1, 4), (65_536, 11)]
)
def test_a_budget_that_cannot_hold_is_refused(max_state_bytes: int, max_open_sessions: int) -> None:
    """Below what open sessions take, and above what a changelog record can hold."""
    with pytest.raises(UsageError, match=r"sessions\.max_state_bytes"):
        SessionRules(max_state_bytes=max_state_bytes, max_open_sessions=max_open_sessions)
