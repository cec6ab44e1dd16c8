from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from schemas.events import ClickEvent
from schemas.ids import SessionId
from schemas.state import CountedInput, CountedLine, InputPosition, OpenSession, VisitorState
from streams.sessions.counted_views import MAX_ITEMS, PERIOD_MS
from streams.sessions.rules import SessionRules
from streams.sessions.sessionizer import Advance, Arrival, InputTopics, Sessionizer, summarise

GAP_MS = 30 * 60_000
GRACE_MS = 60_000
START_MS = 1_700_000_000_000
RULES = SessionRules(bot_burst_events=1000)
TOPICS = InputTopics("clicks", "control", clickstream_window=256, control_window=4)


class Visitor:
    """Feeds one visitor's events to the sessionizer at consecutive offsets."""

    def __init__(self, rules: SessionRules = RULES) -> None:
        self.sessionizer = Sessionizer(rules, TOPICS)
        self.state: VisitorState | None = None
        self.offset = -1
        self.control_offset = -1
        self.topic_id = 1

    def click(
        self, at_ms: int = 0, event_type: str = "view", *, record_ms: int | None = None, **fields: Any
    ) -> Advance:
        """Apply an event at START_MS + at_ms; its record is timestamped alike unless told."""
        self.offset += 1
        return self.at_offset(self.offset, at_ms, event_type, record_ms=record_ms, **fields)

    def at_offset(
        self,
        offset: int,
        at_ms: int,
        event_type: str = "view",
        *,
        record_ms: int | None = None,
        topic: str = "clicks",
        **fields: Any,
    ) -> Advance:
        """Apply an event at a given offset."""
        fields = {"item_id": f"i{at_ms}"} | fields
        event = ClickEvent(visitor_id="v", event_type=event_type, event_time=START_MS + at_ms, **fields)  # type: ignore[arg-type]
        position = InputPosition(topic, 0, offset, self.topic_id)
        arrival = Arrival(position, START_MS + (at_ms if record_ms is None else record_ms))
        advance = self.sessionizer.advance(self.state, (event,), arrival)
        self.state = advance.state or self.state
        return advance

    def record(
        self, events: Sequence[ClickEvent], *, record_ms: int | None = None, offset: int | None = None
    ) -> Advance:
        """Apply a record of several events, timestamped like the first one unless told."""
        self.offset = self.offset + 1 if offset is None else offset
        time_ms = events[0].event_time_ms if record_ms is None else START_MS + record_ms
        advance = self.sessionizer.advance(
            self.state, events, Arrival(InputPosition("clicks", 0, self.offset), time_ms)
        )
        self.state = advance.state or self.state
        return advance

    def make_topics_anew(self) -> None:
        """Delete the topics and create them again: offsets begin with 0."""
        self.topic_id, self.offset, self.control_offset = self.topic_id + 1, -1, -1

    def tick(self, at_ms: int, offset: int | None = None) -> Any:
        """Apply a tick at stream time START_MS + at_ms."""
        assert self.state is not None
        self.control_offset = self.control_offset + 1 if offset is None else offset
        position = InputPosition("control", 0, self.control_offset, self.topic_id)
        result = self.sessionizer.tick(self.state, position, START_MS + at_ms)
        if result is not None:
            self.state = result.state
        return result

    @property
    def times(self) -> list[int]:
        """Event times of the open session, relative to START_MS."""
        assert self.state is not None
        assert self.state.session is not None
        return [event.time_ms - START_MS for event in self.state.session.events]


@pytest.mark.parametrize(("step_ms", "ends"), [(GAP_MS - 1, False), (GAP_MS, False), (GAP_MS + 1, True)])
def test_inactivity_gap_is_inclusive(step_ms: int, ends: bool) -> None:
    """An event at exactly the gap joins the session; one millisecond later it starts the next."""
    visitor = Visitor()
    visitor.click(0)
    advance = visitor.click(step_ms)
    assert [closed.end_reason for closed in advance.closings] == (["inactivity"] if ends else [])
    assert visitor.times == ([step_ms] if ends else [0, step_ms])


@pytest.mark.parametrize(
    ("behind_ms", "status"), [(GRACE_MS - 1, "answered"), (GRACE_MS, "answered"), (GRACE_MS + 1, "late")]
)
def test_grace_period_is_inclusive(behind_ms: int, status: str) -> None:
    """An event at exactly the grace period behind the latest is inserted; one millisecond older it is late."""
    visitor = Visitor()
    visitor.click(0)
    visitor.click(10 * 60_000)
    advance = visitor.click(10 * 60_000 - behind_ms)
    assert advance.status == status
    assert visitor.times == sorted(visitor.times)
    assert len(visitor.times) == (3 if status == "answered" else 2)


def test_late_event_moves_nothing_but_the_offset() -> None:
    """A late event leaves the session, the clock and the purchases as they were."""
    visitor = Visitor()
    visitor.click(10 * 60_000)
    before = visitor.state
    visitor.click(0, "purchase")
    assert before is not None
    assert visitor.state is not None
    assert visitor.state.offsets == {"clicks": 1}
    assert visitor.state.session == before.session
    assert visitor.state.purchased == ()


@pytest.mark.parametrize(("length_ms", "ends"), [(-1, False), (0, False), (1, True)])
def test_max_session_duration_is_inclusive(length_ms: int, ends: bool) -> None:
    """A session lasts at most the maximum; the first event beyond it starts the next."""
    rules = SessionRules(max_session_duration=timedelta(minutes=40), bot_burst_events=1000)
    visitor = Visitor(rules)
    visitor.click(0)
    visitor.click(20 * 60_000)
    advance = visitor.click(40 * 60_000 + length_ms)
    assert [closed.end_reason for closed in advance.closings] == (["max_duration"] if ends else [])


ONE_AT_A_TIME = replace(RULES, max_open_sessions=1)


def test_explicit_ids_part_sessions_that_are_open_side_by_side() -> None:
    """Two devices of one visitor in turn: two sessions of their own events, which end each in its time."""
    visitor = Visitor()
    for n in range(8):
        advance = visitor.click(n * 1000, session_id=("laptop", "phone")[n % 2])
        assert (advance.status, advance.closings) == ("answered", ())
    assert visitor.state is not None
    found = {session.session_id: [event.item_id for event in session.events] for session in visitor.state.open_sessions}
    assert found == {"laptop": ["i0", "i2000", "i4000", "i6000"], "phone": ["i1000", "i3000", "i5000", "i7000"]}
    assert visitor.sessionizer.due_ms(visitor.state) == START_MS + 6000 + GAP_MS + GRACE_MS + 1
    (first,) = visitor.tick(6001 + GAP_MS + GRACE_MS).closings
    (second,) = visitor.tick(7001 + GAP_MS + GRACE_MS).closings
    assert [closed.session.session_id for closed in (first, second)] == ["laptop", "phone"]


def test_a_tick_that_ends_several_sessions_names_them_apart() -> None:
    """Session ends of one visitor and one tick have ids of their own, again at a replay."""
    visitor = Visitor()
    for n, session_id in enumerate("ABC"):
        visitor.click(n, session_id=session_id)
    closings = visitor.tick(2 * GAP_MS).closings
    ids = [summarise(closed, "key", place).id for place, closed in enumerate(closings)]
    assert ids == ["control-0-0-key", "control-0-0-key-1", "control-0-0-key-2"]
    assert visitor.tick(2 * GAP_MS, offset=0).closings == closings


def test_an_event_joins_the_session_that_it_names_and_without_an_id_the_latest() -> None:
    """Even where it is older than the last event of another device; the end of a session names one, too."""
    visitor = Visitor()
    visitor.click(0, session_id="A")
    visitor.click(1000, session_id="B")
    assert visitor.click(500, session_id="A").status == "answered"
    assert visitor.times == [0, 500]
    visitor.click(1500)
    assert visitor.times == [0, 500, 1500]
    (ended,) = visitor.click(1600, "session_end", item_id=None, session_id="B").closings
    assert ended.session.session_id == "B"
    assert visitor.click(1700, "session_end", item_id=None, session_id="C").status == "ended"
    assert visitor.times == [0, 500, 1500]


def test_one_session_too_many_ends_the_one_that_was_quiet_longest() -> None:
    """Whoever changes the id with every click keeps a bounded state."""
    visitor = Visitor(replace(RULES, max_open_sessions=2))
    visitor.click(0, session_id="A")
    visitor.click(1000, session_id="B")
    visitor.click(2000, session_id="A")
    (closed,) = visitor.click(3000, session_id="C").closings
    assert (closed.session.session_id, closed.end_reason) == ("B", "session_id_changed")
    assert visitor.state is not None
    assert [session.session_id for session in visitor.state.open_sessions] == ["A", "C"]


def test_a_session_that_comes_back_after_the_gap_is_another_one() -> None:
    """Under the same id; the one that was parked ends where its time was over."""
    visitor = Visitor()
    visitor.click(0, session_id="A")
    visitor.click(GAP_MS, session_id="B")
    (closed,) = visitor.click(GAP_MS + 1, session_id="A").closings
    assert (closed.session.session_id, closed.end_reason) == ("A", "inactivity")
    assert visitor.times == [GAP_MS + 1]


def test_session_ids_can_be_ignored() -> None:
    """Then time alone parts sessions, and their ids are ours."""
    visitor = Visitor(replace(RULES, ignore_session_ids=True))
    for n, session_id in enumerate("ABA"):
        assert visitor.click(n, session_id=session_id).closings == ()
    assert visitor.times == [0, 1, 2]
    assert visitor.state is not None
    assert visitor.state.session is not None
    assert visitor.state.session.session_id == "clicks-0-0"


def test_zero_switches_off_what_it_bounds() -> None:
    """No duplicates are looked for, nothing that was bought is kept, nobody is a bot."""
    off = replace(RULES, max_seen_event_ids=0, max_purchased_items=0, bot_burst_events=0)
    visitor = Visitor(off)
    for _ in range(100):
        assert visitor.click(0, "purchase", event_id="e", item_id="i").status == "answered"
    assert visitor.state is not None
    assert visitor.state.session is not None
    assert (visitor.state.session.seen, visitor.state.purchased) == ((), ())
    assert Visitor(replace(RULES, bot_events_per_minute=0)).click(0).status == "answered"


def test_with_one_session_at_a_time_explicit_ids_a_b_a_are_three_sessions() -> None:
    """A change of the shop's session id ends the session; a former id coming back starts a new one."""
    visitor = Visitor(ONE_AT_A_TIME)
    assert visitor.click(0, session_id="A").closings == ()
    (first,) = visitor.click(1000, session_id="B").closings
    (second,) = visitor.click(2000, session_id="A").closings
    assert [c.session.session_id for c in (first, second)] == ["A", "B"]
    assert {c.end_reason for c in (first, second)} == {"session_id_changed"}
    assert visitor.state is not None
    assert visitor.state.session is not None
    assert visitor.state.session.event_count == 1


def test_older_event_of_another_session_id_is_late() -> None:
    """An event within grace that belongs to the session before does not end the open one."""
    visitor = Visitor(ONE_AT_A_TIME)
    visitor.click(0, session_id="A")
    visitor.click(1000, session_id="B")
    advance = visitor.click(500, session_id="A")
    assert (advance.status, advance.closings) == ("late", ())
    assert visitor.times == [1000]


def test_event_older_than_the_last_closed_session_is_late() -> None:
    """Nothing is inserted behind a close, even within grace and without an id."""
    visitor = Visitor(ONE_AT_A_TIME)
    visitor.click(0, session_id="A")
    visitor.click(1000, session_id="A")
    visitor.click(1500, session_id="B")
    assert visitor.click(999).status == "late"
    assert visitor.click(1000).status == "answered"


def test_session_id_that_comes_late_is_adopted() -> None:
    """A session opened without an id takes the first explicit one and keeps the id that was answered with."""
    visitor = Visitor()
    visitor.click(0)
    assert visitor.click(1000, session_id="A").closings == ()
    assert visitor.state is not None
    assert visitor.state.session is not None
    assert visitor.state.session.session_id == "clicks-0-0"
    visitor.click(2000, session_id="B")
    assert [session.explicit_id for session in visitor.state.open_sessions] == ["A", "B"]


def test_duplicate_is_recognised_by_event_id_inside_the_session() -> None:
    """The second event of an id and item changes nothing; without an id nothing is deduplicated."""
    visitor = Visitor()
    assert visitor.click(0, event_id="e1").status == "answered"
    assert visitor.click(5, event_id="e1", item_id="i0").status == "duplicate"
    assert visitor.click(5, event_id="e2").status == "answered"
    assert visitor.click(6).status == visitor.click(6).status == "answered"
    assert visitor.times == [0, 5, 6, 6]


def test_deduplication_memory_is_bounded() -> None:
    """The oldest event ids are forgotten first."""
    visitor = Visitor(replace(RULES, max_seen_event_ids=2))
    for name in ("a", "b", "c"):
        visitor.click(0, event_id=name)
    assert visitor.click(0, event_id="c").status == "duplicate"
    assert visitor.click(0, event_id="a").status == "answered"


def test_future_event_time_counts_at_most_as_arrival_plus_allowed_skew() -> None:
    """A clock that runs ahead cannot push the visitor's time beyond the allowed skew."""
    visitor = Visitor()
    visitor.click(3_600_000, record_ms=0)
    assert visitor.times == [60_000]
    assert visitor.click(1, record_ms=1).status == "answered"


def test_clock_that_runs_behind_is_no_reason_to_be_late() -> None:
    """Time is the event's: a visitor whose clock is an hour slow has an ordinary session."""
    visitor = Visitor()
    statuses = {visitor.click(at_ms, record_ms=at_ms + 3_600_000).status for at_ms in (0, 1000, 2000)}
    assert statuses == {"answered"}
    assert visitor.state is not None
    assert visitor.state.clock_lag_ms == 3_600_000


def test_ten_year_old_log_has_no_late_event() -> None:
    """Only the visitor's own order in time decides what is late, never the wall clock."""
    visitor = Visitor()
    decade_ms = 10 * 365 * 24 * 3_600_000
    statuses = {visitor.click(at_ms - decade_ms, record_ms=0).status for at_ms in range(0, 10 * GAP_MS, GAP_MS // 2)}
    assert statuses == {"answered"}


def test_session_end_event_closes_and_opens_nothing() -> None:
    """A session_end event ends the open session; a second one finds nothing to end."""
    visitor = Visitor()
    visitor.click(0)
    advance = visitor.click(1000, "session_end", item_id=None)
    assert advance.status == "ended"
    assert [closed.end_reason for closed in advance.closings] == ["session_end_event"]
    assert visitor.click(2000, "session_end", item_id=None).closings == ()
    assert visitor.click(500).status == "late"


def test_no_consent_leaves_no_trace() -> None:
    """Without consent nothing is written of a visitor of whom nothing is kept."""
    advance = Visitor().click(1000, consent=False)
    assert (advance.state, advance.status) == (None, "no_consent")


def test_withdrawn_consent_leaves_what_a_replay_must_find_and_nothing_else() -> None:
    """A crash takes the inputs back that are not committed: each tells what it told, and no session begins anew."""
    visitor = Visitor()
    visitor.click(0)
    (closed,) = visitor.click(GAP_MS + 1).closings
    visitor.click(GAP_MS + 2, "purchase")
    assert visitor.click(GAP_MS + 3, consent=False).closings == ()
    forgotten = visitor.state
    latest_ms = START_MS + GAP_MS + 2
    counted = tuple(CountedInput(InputPosition("clicks", 0, offset, 1), (CountedLine(0),)) for offset in (0, 1))
    left = VisitorState({"clicks": 3}, "no_consent", latest_ms, closings=(closed,), topic_ids=(1,), counted=counted)
    assert forgotten == left
    assert [visitor.at_offset(offset, offset).status for offset in range(3)] == ["replayed"] * 3
    assert visitor.at_offset(1, GAP_MS + 1).closings == (closed,)
    again = visitor.at_offset(3, GAP_MS + 3, consent=False)
    assert (again.status, again.is_redelivery, again.state) == ("no_consent", True, forgotten)


def test_a_forgotten_visitor_is_gone_with_the_tick_after_the_commit() -> None:
    """And not before it, nor with a tick that only repeats: a replay would begin a session that never was."""
    visitor = Visitor()
    visitor.click(0)
    visitor.click(1, consent=False)
    assert visitor.state is not None
    assert visitor.sessionizer.due_ms(visitor.state) == START_MS
    position = InputPosition("control", 0, 0)
    for stream_time_ms, committed in ((START_MS, 1), (-1, 2)):
        known = [InputPosition("clicks", 0, committed, visitor.topic_id)]
        assert visitor.sessionizer.tick(visitor.state, position, stream_time_ms, known) is None
    made_anew = InputPosition("clicks", 0, 0, visitor.topic_id + 1)
    for one in (InputPosition("clicks", 0, 2, visitor.topic_id), made_anew, InputPosition("orders", 0, 0)):
        result = visitor.sessionizer.tick(visitor.state, position, START_MS, [one])
        assert result is not None
        assert result.state is None


def test_consent_that_is_given_again_begins_a_visitor_anew() -> None:
    """However old its event is: nothing is known of the time before."""
    visitor = Visitor()
    visitor.click(GAP_MS)
    visitor.click(GAP_MS, consent=False)
    advance = visitor.click(0, record_ms=GAP_MS)
    assert (advance.status, visitor.times) == ("answered", [0])
    assert visitor.click(1).status == "answered"


def test_withdrawn_consent_that_is_replayed_leaves_what_came_after_it() -> None:
    """The visitor agreed again: the state is of then."""
    visitor = Visitor()
    visitor.click(0)
    visitor.click(1, consent=False)
    visitor.click(2)
    after = visitor.state
    assert visitor.at_offset(1, 1, consent=False).status == "no_consent"
    assert visitor.state == after


def test_a_visitor_is_not_forgotten_while_its_inputs_can_come_again() -> None:
    """A backlog of months is read faster than its offsets are committed."""
    visitor = Visitor()
    visitor.click(0)
    visitor.click(1, "session_end", item_id=None)
    assert visitor.state is not None
    position, later_ms = InputPosition("control", 0, 0), START_MS + 31 * 24 * 3_600_000
    assert visitor.sessionizer.tick(visitor.state, position, later_ms, [InputPosition("clicks", 0, 1)]) is None
    result = visitor.sessionizer.tick(visitor.state, position, later_ms, [InputPosition("clicks", 0, 2)])
    assert result is not None
    assert result.state is None


def test_visitor_over_the_rate_limit_is_a_bot_until_the_session_ends() -> None:
    """A burst beyond the limit marks the session: its events are answered cheaply and move nothing."""
    visitor = Visitor(SessionRules(bot_burst_events=5, bot_events_per_minute=1))
    statuses = [visitor.click(n).status for n in range(8)]
    assert statuses == ["answered"] * 5 + ["bot"] * 3
    assert len(visitor.times) == 5
    advance = visitor.click(GAP_MS + 5)
    assert advance.status == "answered"
    assert advance.closings[0].session.is_bot


def test_human_pace_never_looks_like_a_bot() -> None:
    """Events at just under the allowed rate leak away as fast as they come."""
    visitor = Visitor(SessionRules(bot_burst_events=5, bot_events_per_minute=60, max_kept_events=5))
    assert {visitor.click(n * 1000).status for n in range(200)} == {"answered"}


def test_kept_events_are_bounded_and_counted() -> None:
    """The latest events are kept, all are counted, and the start of the session is not forgotten."""
    visitor = Visitor(replace(RULES, max_kept_events=3))
    for n in range(6):
        visitor.click(n)
    assert visitor.times == [3, 4, 5]
    assert visitor.state is not None
    assert visitor.state.session is not None
    assert (visitor.state.session.event_count, visitor.state.session.started_ms) == (6, START_MS)


def test_purchases_outlive_the_session() -> None:
    """What was bought is remembered across sessions, once each and bounded."""
    visitor = Visitor(replace(RULES, max_purchased_items=2))
    for n, item in enumerate(("a", "b", "b", "c")):
        visitor.click(n * (GAP_MS + 1), "purchase", item_id=item)
    assert visitor.state is not None
    assert visitor.state.purchased == ("b", "c")


def test_replay_of_the_last_offset_answers_alike_and_writes_the_same_state() -> None:
    """After a crash the last offset comes again: same status, same state, same session end."""
    visitor = Visitor()
    visitor.click(0)
    first = visitor.click(GAP_MS + 1)
    again = visitor.at_offset(1, GAP_MS + 1)
    assert first == structs.replace(again, is_redelivery=False, joined=first.joined)


def test_replay_of_an_older_offset_changes_nothing() -> None:
    """An offset below the visitor's last is `replayed`, writes the state again and re-emits only its own closing."""
    visitor = Visitor()
    visitor.click(0)
    closing = visitor.click(GAP_MS + 1)
    visitor.click(GAP_MS + 2)
    before = visitor.state
    again = visitor.at_offset(1, GAP_MS + 1)
    assert (again.status, again.state, again.closings) == ("replayed", before, closing.closings)
    assert visitor.at_offset(0, 0).closings == ()


def test_replay_of_a_topics_last_offset_is_marked_where_another_topic_came_after_it() -> None:
    """What is known of the last event is the other topic's; each topic has offsets of its own, ticks change nothing."""
    visitor = Visitor()
    visitor.click(0)
    order = visitor.at_offset(900, 1, "purchase", topic="orders")
    visitor.tick(2)
    before = visitor.state
    again = visitor.at_offset(0, 0)
    assert (order.status, again.status, again.state) == ("answered", "replayed", before)
    assert visitor.at_offset(900, 1, "purchase", topic="orders").status == "answered"
    assert visitor.click(3).status == "answered"
    assert visitor.at_offset(900, 1, "purchase", topic="orders").status == "replayed"


def test_closing_is_kept_while_its_record_may_be_unacknowledged() -> None:
    """A quick A, B, A flip keeps both closings; offsets beyond the window drop them."""
    visitor = Visitor(ONE_AT_A_TIME)
    for n, session_id in enumerate(("A", "B", "C")):
        visitor.click(n, session_id=session_id)
    assert visitor.state is not None
    assert len(visitor.state.closings) == 2
    visitor.at_offset(1 + 256, 10, session_id="C")
    assert len(visitor.state.closings) == 2
    visitor.at_offset(1 + 257, 11, session_id="C")
    assert [closed.cause.offset for closed in visitor.state.closings] == [2]


@pytest.mark.parametrize(("over_ms", "ends"), [(-1, False), (0, False), (1, True)])
def test_tick_ends_a_session_only_after_gap_and_grace(over_ms: int, ends: bool) -> None:
    """No event that belongs to the session can arrive in time after gap plus grace."""
    visitor = Visitor()
    visitor.click(0)
    assert visitor.state is not None
    due_ms = visitor.sessionizer.due_ms(visitor.state)
    result = visitor.tick(GAP_MS + GRACE_MS + over_ms)
    assert (result is not None and len(result.closings) == 1) == ends
    assert due_ms == START_MS + GAP_MS + GRACE_MS + 1


def test_replayed_tick_ends_the_same_session_again() -> None:
    """A tick that comes again re-emits its closing with the same id and writes the same state."""
    visitor = Visitor()
    visitor.click(0)
    first = visitor.tick(GAP_MS * 2)
    assert visitor.tick(GAP_MS * 2, offset=0) == first


def test_tick_closing_is_dropped_by_a_later_tick() -> None:
    """A closing by tick stays due until enough ticks have passed, then the state forgets it."""
    visitor = Visitor()
    visitor.click(0)
    visitor.tick(GAP_MS * 2)
    for _ in range(4):
        assert visitor.tick(GAP_MS * 2) is None
    result = visitor.tick(GAP_MS * 2)
    assert result.state.closings == ()
    assert visitor.sessionizer.due_ms(result.state) == START_MS + 30 * 24 * 3_600_000 + 1


def test_visitor_without_a_session_is_forgotten_after_the_retention() -> None:
    """State does not grow for ever: a visitor who stays away is tombstoned."""
    visitor = Visitor()
    visitor.click(0)
    visitor.tick(GAP_MS * 2)
    assert visitor.tick(30 * 24 * 3_600_000 + 1).state is None


def test_tick_older_than_the_visitors_last_is_ignored() -> None:
    """A replayed tick below the last applied one has nothing to do."""
    visitor = Visitor()
    visitor.click(0)
    visitor.tick(GAP_MS * 2, offset=7)
    visitor.click(GAP_MS * 2)
    assert visitor.tick(GAP_MS * 9, offset=6) is None


def test_summary_names_the_visitor_by_key_only() -> None:
    """The session end carries the pseudonym and the causing offset, not the visitor id."""
    visitor = Visitor()
    visitor.click(0)
    (closed,) = visitor.click(GAP_MS + 1).closings
    summary = summarise(closed, "k3y")
    assert (summary.id, summary.visitor_key, summary.event_count) == ("clicks-0-1-k3y", "k3y", 1)


@given(
    steps=st.lists(st.integers(1, GAP_MS - GRACE_MS), max_size=12),
    delays=st.lists(st.integers(0, GRACE_MS), min_size=13, max_size=13),
    kept=st.integers(1, 15),
)
def test_arrival_order_within_grace_does_not_change_the_session(steps: list[int], delays: list[int], kept: int) -> None:
    """Permutations within grace that cross no close give the same session (event times distinct)."""
    times = [0]
    for step in steps:
        times.append(times[-1] + step)
    order = sorted(range(len(times)), key=lambda i: (times[i] + delays[i], i))
    rules = replace(RULES, max_kept_events=kept)
    sessions = []
    for arrival_order in (range(len(times)), order):
        visitor = Visitor(rules)
        assert {visitor.click(times[i]).status for i in arrival_order} == {"answered"}
        assert visitor.state is not None
        sessions.append(visitor.state.session)
    assert sessions[0] == sessions[1]


@given(
    events=st.lists(
        st.tuples(
            st.integers(-2 * GRACE_MS, 2 * GAP_MS),
            st.sampled_from(["view", "cart", "purchase", "session_end"]),
            st.sampled_from([None, "A", "B"]),
            st.sampled_from([None, "e1", "e2"]),
        ),
        max_size=20,
    )
)
def test_any_input_keeps_the_state_sound_and_replays_idempotently(events: list[tuple[int, str, Any, Any]]) -> None:
    """Whatever arrives: kept events are in order, no offset is applied twice, and every closing is emitted once."""
    visitor, clock_ms, emitted = Visitor(), 0, []
    for step_ms, event_type, session_id, event_id in events:
        clock_ms = max(0, clock_ms + step_ms)
        advance = visitor.click(clock_ms, event_type, session_id=session_id, event_id=event_id)
        emitted += [closed.cause for closed in advance.closings]
        assert visitor.state is not None
        if visitor.state.session is not None:
            assert visitor.times == sorted(visitor.times)
            assert visitor.state.session.event_count > 0
        again = visitor.at_offset(visitor.offset, clock_ms, event_type, session_id=session_id, event_id=event_id)
        assert structs.replace(again, is_redelivery=False, joined=advance.joined, is_still=advance.is_still) == advance
    assert len(emitted) == len(set(emitted))


def lines(event_type: str, at_ms: int, items: Sequence[str], **fields: Any) -> list[ClickEvent]:
    """Make the lines of one act at START_MS + at_ms."""
    return [
        ClickEvent(visitor_id="v", event_type=event_type, event_time=START_MS + at_ms, item_id=item, **fields)  # type: ignore[arg-type]
        for item in items
    ]


ORDER = [f"i{number}" for number in range(80)]


def test_an_order_of_many_lines_is_one_act() -> None:
    """It is no bot's burst, each line is an event of the session, and each item is bought."""
    visitor = Visitor(SessionRules(bot_burst_events=3, max_kept_events=100))
    visitor.click(0)
    advance = visitor.record(lines("purchase", 10, ORDER, event_id="o"))
    assert (advance.status, advance.joined) == ("answered", tuple(range(80)))
    assert visitor.state is not None
    assert visitor.state.session is not None
    assert visitor.state.session.event_count == 81
    assert visitor.state.purchased == tuple(ORDER)
    assert visitor.click(20).status == "answered"


def test_the_lines_of_an_order_in_records_of_their_own_count_once_for_the_bot_rule() -> None:
    """They are purchases of one moment; as many at moments of their own are a bot's."""
    rules = SessionRules(bot_burst_events=3)
    at_once, apart = Visitor(rules), Visitor(rules)
    one_moment = [at_once.click(0, "purchase", item_id=item, event_id=f"o-{item}").status for item in ORDER]
    assert set(one_moment) == {"answered"}
    assert apart.record(lines("purchase", 0, ["i0"])).status == "answered"
    assert {apart.click(1 + number, "purchase", item_id=item).status for number, item in enumerate(ORDER)} >= {"bot"}


def test_an_order_that_is_sent_again_is_a_duplicate_as_a_whole() -> None:
    """Recognised by the message's id and the first item; another order of the same id is another one."""
    visitor = Visitor()
    visitor.record(lines("purchase", 0, ["a", "b"], event_id="o"))
    again = visitor.record(lines("purchase", 0, ["a", "b"], event_id="o"))
    assert (again.status, again.joined) == ("duplicate", ())
    assert visitor.record(lines("purchase", 5, ["c"], event_id="o")).status == "answered"
    assert visitor.times == [0, 0, 5]


@pytest.mark.parametrize("gap_event", [None, "session_end"])
def test_a_batch_across_the_ends_of_sessions_names_closings_and_sessions_apart(gap_event: str | None) -> None:
    """Two sessions end and a third opens in one record; a replay emits the same once more."""
    visitor = Visitor()
    batch: list[ClickEvent] = []
    for number in range(3):
        batch += lines("view", number * (GAP_MS + 1), [f"i{number}"])
        if gap_event is not None and number < 2:
            batch += lines(gap_event, number * (GAP_MS + 1) + 1, ["x"])
    advance = visitor.record(batch, record_ms=2 * GAP_MS)
    ids = [summarise(closed, "key", place).id for place, closed in enumerate(advance.closings)]
    assert ids == ["clicks-0-0-key", "clicks-0-0-key-1"]
    sessions = {closed.session.session_id for closed in advance.closings}
    assert visitor.state is not None
    assert visitor.state.session is not None
    assert len(sessions | {visitor.state.session.session_id}) == 3
    assert advance.joined == (len(batch) - 1,)
    again = visitor.record(batch, record_ms=2 * GAP_MS, offset=0)
    assert (again.closings, again.state, again.status) == (advance.closings, advance.state, advance.status)


@pytest.mark.parametrize(
    ("acts", "status"),
    [
        ([("view", 10, "n1"), ("view", 20, "known")], "answered"),
        ([("view", 10, "known"), ("view", 20, "n1")], "answered"),
        ([("view", 10, "known"), ("view", -GRACE_MS - 1, "n1")], "late"),
        ([("view", -GRACE_MS - 1, "n1"), ("view", 10, "known")], "duplicate"),
        ([("view", 10, "n1"), ("session_end", 20, "n2")], "ended"),
        ([("view", 10, "n1"), ("session_end", 20, "n2"), ("view", -GRACE_MS - 1, "n3")], "ended"),
    ],
)
def test_the_status_of_a_mixed_record_is_that_of_the_last_act_that_moved_the_session(
    acts: list[tuple[str, int, str]], status: str
) -> None:
    """Where none moved it, of the last one."""
    visitor = Visitor()
    visitor.click(0, event_id="known")
    events = [event for kind, at_ms, name in acts for event in lines(kind, at_ms, ["i0"], event_id=name)]
    assert visitor.record(events, record_ms=20).status == status


@given(
    steps=st.lists(
        st.tuples(
            st.integers(-2 * GRACE_MS, GAP_MS + 2),
            st.sampled_from(["view", "cart", "purchase", "session_end"]),
            st.sampled_from([None, "A", "B"]),
            st.sampled_from([None, "e1", "e2"]),
        ),
        min_size=1,
        max_size=12,
    ),
    burst=st.sampled_from([2, 1000]),
)
def test_a_batch_gives_the_sessions_of_its_events_one_by_one(
    steps: list[tuple[int, str, Any, Any]], burst: int
) -> None:
    """Up to the ids that name offsets; and to read it again changes nothing."""
    rules = SessionRules(bot_burst_events=burst)
    batched, single = Visitor(rules), Visitor(rules)
    clock_ms, batch, closings = -1, list[ClickEvent](), []
    for number, (step_ms, event_type, session_id, event_id) in enumerate(steps):
        moved_ms = max(0, clock_ms + step_ms)
        clock_ms = moved_ms + (moved_ms == clock_ms)  # neighbours of one moment could be lines of one act
        item = [f"i{number}"]
        batch += lines(event_type, clock_ms, item, session_id=session_id, event_id=event_id)
    record_ms = max(event.event_time_ms for event in batch) - START_MS
    for event in batch:
        closings += single.record([event], record_ms=record_ms).closings
    advance = batched.record(batch, record_ms=record_ms)
    assert [_unnamed(closed.session) for closed in advance.closings] == [_unnamed(one.session) for one in closings]
    assert [closed.end_reason for closed in advance.closings] == [closed.end_reason for closed in closings]
    assert advance.state is not None
    assert single.state is not None
    for name in ("latest_ms", "ended_ms", "rate_level", "rate_ms", "purchased"):
        assert getattr(advance.state, name) == getattr(single.state, name)
    assert list(map(_unnamed, advance.state.open_sessions)) == list(map(_unnamed, single.state.open_sessions))
    again = batched.record(batch, record_ms=record_ms, offset=0)
    assert structs.replace(again, is_redelivery=False, joined=advance.joined) == advance


def _unnamed(session: OpenSession) -> OpenSession:
    return structs.replace(session, session_id=SessionId("any"))


def test_a_topic_made_anew_makes_offsets_void_and_leaves_the_session() -> None:
    """Its first clicks have offsets that the state has seen: they are new all the same, and join the session."""
    visitor = Visitor()
    for at_ms in range(5):
        visitor.click(at_ms, "purchase")
    assert visitor.state is not None
    session_id = visitor.state.session.session_id  # type: ignore[union-attr]
    visitor.make_topics_anew()
    advance = visitor.click(10)
    assert (advance.status, advance.is_redelivery) == ("answered", False)
    assert visitor.state.session is not None
    assert (visitor.state.session.session_id, visitor.state.session.event_count) == (session_id, 6)
    assert len(visitor.state.purchased) == 5
    assert visitor.at_offset(0, 10).is_redelivery
    assert visitor.click(11).status == "answered"


def test_what_the_topic_before_has_closed_is_told_again_by_the_first_input_of_the_new_one() -> None:
    """Its own offset never comes again; the id stays, a replay repeats it, and it goes with the window."""
    visitor = Visitor()
    visitor.click(0)
    (closed,) = visitor.click(GAP_MS + 1).closings
    visitor.make_topics_anew()
    (again,) = visitor.click(GAP_MS + 2).closings
    assert summarise(again, "k") == summarise(closed, "k")
    assert visitor.click(GAP_MS + 3).closings == ()
    assert visitor.at_offset(0, GAP_MS + 2).closings == (again,)
    assert visitor.state is not None
    assert visitor.state.closings == (again,)
    visitor.at_offset(257, GAP_MS + 4)
    assert visitor.state.closings == ()


def test_ticks_of_a_control_topic_made_anew_end_sessions() -> None:
    """Their offsets are below those that the state has applied; what an earlier tick has ended is told again."""
    visitor = Visitor()
    visitor.click(0)
    (closed,) = visitor.tick(GAP_MS + GRACE_MS + 1, offset=50).closings
    visitor.click(2 * GAP_MS)
    visitor.make_topics_anew()
    again, second = visitor.tick(4 * GAP_MS).closings
    assert summarise(again, "k") == summarise(closed, "k")
    assert second.cause == InputPosition("control", 0, 0, 2)


def test_a_state_from_before_the_ids_knows_its_replays() -> None:
    """Its offset counts as one of the topic that is there, and so does the cause of what it has closed."""
    visitor = Visitor()
    visitor.topic_id = 0
    visitor.click(0)
    (closed,) = visitor.click(GAP_MS + 1).closings
    visitor.topic_id = 7
    advance = visitor.at_offset(1, GAP_MS + 1)
    assert (advance.is_redelivery, advance.closings) == (True, (closed,))


def counted(advance: Advance) -> list[int]:
    """Return the places of the events that count."""
    return [line.line for line in advance.counted]


def test_the_first_view_of_an_item_in_a_session_counts() -> None:
    """Not another one, nor a cart or a purchase; in a session of a later period it counts anew."""
    visitor = Visitor()
    first = visitor.click(0, item_id="a", location="nl/nh/ams")
    assert counted(first) == [0]
    for event_type in ("view", "cart", "purchase"):
        assert counted(visitor.click(1, event_type, item_id="a")) == []
    assert counted(visitor.click(2, "cart", item_id="b")) == []
    assert counted(visitor.click(3, item_id="b")) == [0]
    assert counted(visitor.click(PERIOD_MS, item_id="a")) == [0]


def test_a_visitor_counts_once_an_item_and_period_whatever_the_sessions() -> None:
    """A session id is the client's to choose; each of these opens a session, and the fifth ends the first."""
    visitor = Visitor()
    told = [counted(visitor.click(n, item_id="a", session_id=f"s{n}")) for n in range(2 * RULES.max_open_sessions)]
    assert told == [[0], *([[]] * (len(told) - 1))]
    assert counted(visitor.click(len(told), item_id="b", session_id="s0")) == [0]
    assert counted(visitor.click(PERIOD_MS, item_id="a", session_id="later")) == [0]
    assert counted(visitor.click(PERIOD_MS + 1, item_id="b", session_id="later")) == [0]
    assert counted(visitor.click(PERIOD_MS + 2, item_id="a", session_id="last")) == []


def test_time_that_goes_back_begins_no_period_anew() -> None:
    """A click may be a little older than the one before it: beyond the end of a period it counted already."""
    visitor = Visitor()
    begin = PERIOD_MS - START_MS % PERIOD_MS
    assert counted(visitor.click(begin, item_id="a", session_id="one")) == [0]
    assert counted(visitor.click(begin - 1, item_id="a", session_id="two", event_id="e")) == []
    assert counted(visitor.click(begin + 1, item_id="a", session_id="three")) == []


def test_of_what_a_visitor_counted_for_the_latest_is_remembered() -> None:
    """The state stays small; the oldest item may count again."""
    visitor = Visitor(replace(RULES, bot_burst_events=0))
    for n in range(MAX_ITEMS + 1):
        visitor.click(n, item_id=f"i{n}")
    assert counted(visitor.click(MAX_ITEMS + 1, item_id="i1", session_id="other")) == []
    assert counted(visitor.click(MAX_ITEMS + 2, item_id="i0", session_id="other")) == [0]


def test_what_moves_no_session_does_not_count() -> None:
    """Whether a late view was the first of its session is not known; a duplicate was there before."""
    visitor = Visitor(replace(RULES, bot_burst_events=3))
    visitor.click(10 * GRACE_MS, item_id="a", event_id="e")
    assert counted(visitor.click(10 * GRACE_MS, item_id="a", event_id="e")) == []
    late = visitor.click(0, item_id="b")
    assert (late.status, counted(late)) == ("late", [])
    advances = [visitor.click(10 * GRACE_MS + n, item_id=f"i{n}") for n in range(6)]
    assert [advance.status for advance in advances[-2:]] == ["bot", "bot"]
    assert [counted(advance) for advance in advances] == [
        [0] if advance.status == "answered" else [] for advance in advances
    ]


def test_the_views_of_one_record_count_once_an_item() -> None:
    """A batch may hold several, and lines that are no views."""
    visitor = Visitor()
    views = [event for item in ("a", "b", "a") for event in lines("view", 0, [item], event_id=f"e-{item}")]
    advance = visitor.record([*views, *lines("cart", 1, ["c"], event_id="e-c")])
    assert counted(advance) == [0, 1]


def test_an_event_without_a_place_counts_at_its_sessions() -> None:
    """The place as it was then is kept, since the session may move on."""
    visitor = Visitor()
    visitor.click(0, item_id="a", location="nl")
    first = visitor.click(1, item_id="b")
    visitor.click(2, item_id="c", location="de")
    assert [line.location for line in first.counted] == ["nl"]
    assert visitor.at_offset(1, 1, item_id="b").counted == first.counted


def test_a_replay_counts_as_it_did() -> None:
    """Also an offset below the visitor's last, as long as it may come again: its first record may never have left."""
    visitor = Visitor()
    advances = [visitor.click(n, item_id=item) for n, item in enumerate(("a", "b", "a"))]
    again = [visitor.at_offset(n, n, item_id=item) for n, item in enumerate(("a", "b", "a"))]
    assert [advance.status for advance in again] == ["replayed", "replayed", "answered"]
    assert [advance.counted for advance in again] == [advance.counted for advance in advances]
    visitor.at_offset(300, 3, item_id="c")
    assert visitor.state is not None
    assert [one.position.offset for one in visitor.state.counted] == [300]


def test_what_counts_is_known_of_the_topic_that_it_is_of() -> None:
    """One that was made anew has the same offsets for other inputs, another topic has offsets of its own."""
    visitor = Visitor()
    visitor.click(0, item_id="a")
    order = visitor.at_offset(0, 1, item_id="b", topic="orders")
    assert visitor.at_offset(0, 1, item_id="b", topic="orders").counted == order.counted
    assert counted(visitor.at_offset(0, 0, item_id="a")) == [0]
    visitor.make_topics_anew()
    assert counted(visitor.click(2, "cart", item_id="c")) == []
    assert counted(visitor.at_offset(0, 2, "cart", item_id="c")) == []


def test_a_replay_counts_as_it_did_after_consent_was_withdrawn() -> None:
    """The view was before that; its record may never have left."""
    visitor = Visitor()
    visitor.click(0, item_id="a")
    assert visitor.click(1, item_id="b", consent=False).counted == ()
    assert counted(visitor.at_offset(0, 0, item_id="a")) == [0]
