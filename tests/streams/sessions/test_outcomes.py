from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from schemas.errors import UsageError
from schemas.events import ClickEvent
from schemas.ids import ItemId, ModelVersion
from schemas.state import AnswerRef, InputPosition, ParkedSession, ShownAnswer, VisitorState
from streams.sessions.outcomes import OutcomeRules, Outcomes, event_time_ms
from streams.sessions.rules import SessionRules
from streams.sessions.sessionizer import Advance, Arrival, InputTopics, Sessionizer
from streams.sessions.state_budget import StateBudget

GAP_MS = 30 * 60_000
GRACE_MS = 60_000
START_MS = 1_700_000_000_000
WINDOW_MS = 600_000
RULES = OutcomeRules(window=timedelta(milliseconds=WINDOW_MS), max_click_throughs=3)


class Shopper:
    """One visitor; what an event is answered with is there before the next one, unless a test keeps it back."""

    def __init__(self, rules: OutcomeRules = RULES, sessions: SessionRules | None = None) -> None:
        topics = InputTopics("clicks", "control", clickstream_window=256, control_window=4)
        self.sessionizer = Sessionizer(sessions or SessionRules(), topics)
        self.outcomes = Outcomes(rules, StateBudget(SessionRules()))
        self.state: VisitorState | None = None
        self.shown: ShownAnswer | None = None
        self.offset = -1

    def does(
        self, at_ms: int, item_id: str | None, event_type: str = "view", *, offset: int | None = None, **fields: Any
    ) -> Advance:
        """Apply an event at START_MS + at_ms, at the next offset or a given one."""
        self.offset = self.offset + 1 if offset is None else offset
        event = ClickEvent(
            visitor_id="v",  # type: ignore[arg-type]
            event_type=event_type,  # type: ignore[arg-type]
            event_time=START_MS + at_ms,
            item_id=item_id,  # type: ignore[arg-type]
            **fields,
        )
        arrival = Arrival(InputPosition("clicks", 0, self.offset), START_MS + at_ms)
        advance = self.outcomes.follow(self.sessionizer.advance(self.state, (event,), arrival), (event,), self.shown)
        self.shown, self.state = None, advance.state or self.state
        return advance

    def orders(self, at_ms: int, *items: str, offset: int | None = None, event_type: str = "purchase") -> Advance:
        """Apply a record with a line for each item."""
        self.offset = self.offset + 1 if offset is None else offset
        lines = [
            ClickEvent(visitor_id="v", event_type=event_type, event_time=START_MS + at_ms, item_id=item)  # type: ignore[arg-type]
            for item in items
        ]
        arrival = Arrival(InputPosition("clicks", 0, self.offset), START_MS + at_ms)
        advance = self.outcomes.follow(self.sessionizer.advance(self.state, lines, arrival), lines, self.shown)
        self.shown, self.state = None, advance.state or self.state
        return advance

    def sees(self, *items: str, offset: int | None = None, time_ms: int | None = None, tier: Any = "model") -> None:
        """Let the answer to the last event, or to an earlier one, be there."""
        assert self.state is not None
        assert self.state.session is not None
        time_ms = self.state.latest_ms if time_ms is None else START_MS + time_ms
        answer = AnswerRef(self.offset if offset is None else offset, time_ms, tier, ModelVersion(7), "arm")
        self.shown = ShownAnswer(answer, self.state.session.session_id, tuple(map(ItemId, items)))

    def tick(self, at_ms: int) -> None:
        """Let the session end by a tick."""
        assert self.state is not None
        result = self.sessionizer.tick(self.state, InputPosition("control", 0, 0), START_MS + at_ms)
        assert result is not None
        self.state = result.state


@pytest.fixture
def shopper() -> Shopper:
    """Make a visitor who viewed `a` and sees b, c, d."""
    shopper = Shopper()
    shopper.does(0, "a")
    shopper.sees("b", "c", "d")
    return shopper


def followed(advance: Advance) -> tuple[int, int | None, int] | None:
    """Return the answer's offset, the position and the delay of an outcome."""
    if not advance.outcomes:
        return None
    (outcome,) = advance.outcomes
    return outcome.answer.offset, outcome.position, outcome.delay_ms


@pytest.mark.parametrize(("item", "position"), [("b", 1), ("c", 2), ("d", 3), ("e", None)])
def test_a_click_is_held_against_the_latest_answer(shopper: Shopper, item: str, position: int | None) -> None:
    """The outcome names the answer, the item's place in it from 1 or null, and the event time between them."""
    advance = shopper.does(900, item)
    assert followed(advance) == (0, position, 900)
    (outcome,) = advance.outcomes
    assert outcome.answer == AnswerRef(0, START_MS, "model", ModelVersion(7), "arm")
    assert outcome.session_id == "clicks-0-0"
    assert advance.state is not None
    assert advance.state.last_outcomes == (outcome,)


def test_the_first_event_of_a_session_has_no_outcome() -> None:
    """Nothing was shown before it."""
    assert Shopper().does(0, "a").outcomes == ()


def test_each_line_of_an_order_is_held_against_its_own_answer(shopper: Shopper) -> None:
    """The one through which its item was clicked, else the latest; each outcome names its line."""
    shopper.does(10, "c")
    shopper.sees("d")
    advance = shopper.orders(20, "c", "d", "unseen")
    assert [(one.answer.offset, one.position, one.line) for one in advance.outcomes] == [
        (0, 2, 0),
        (1, 1, 1),
        (1, None, 2),
    ]
    assert advance.state is not None
    assert advance.state.last_outcomes == advance.outcomes


def test_a_replayed_order_says_the_same_of_each_line_again(shopper: Shopper) -> None:
    """Though another answer was there by then; an order sent again at another offset says nothing."""
    advance = shopper.orders(20, "b", "c")
    shopper.sees("c")
    again = shopper.orders(20, "b", "c", offset=1)
    assert again.is_redelivery
    assert again.outcomes == advance.outcomes
    assert len(again.outcomes) == 2
    assert again.state == advance.state


def test_a_view_of_a_batch_is_a_click_through_for_the_lines_behind_it(shopper: Shopper) -> None:
    """The same item bought later follows from the answer through which it was clicked."""
    batch = shopper.orders(10, "b", "c", event_type="view")
    assert [one.position for one in batch.outcomes] == [1, 2]
    bought = shopper.orders(20, "c", "b")
    assert [(one.answer.offset, one.position) for one in bought.outcomes] == [(0, 2), (0, 1)]


@pytest.mark.parametrize(
    ("delay_ms", "is_outcome"), [(WINDOW_MS - 1, True), (WINDOW_MS, True), (WINDOW_MS + 1, False), (0, True)]
)
@pytest.mark.parametrize("event_type", ["view", "cart", "purchase"])
def test_the_window_is_inclusive(shopper: Shopper, event_type: str, delay_ms: int, *, is_outcome: bool) -> None:
    """An action exactly the window after the answered event is its outcome; one millisecond later it is nobody's."""
    expected = (0, 1, delay_ms) if is_outcome else None
    assert followed(shopper.does(delay_ms, "b", event_type)) == expected


@pytest.mark.parametrize(("after_ms", "position"), [(WINDOW_MS, 1), (WINDOW_MS + 1, None)])
def test_the_window_of_a_click_through_begins_with_its_answer(
    shopper: Shopper, after_ms: int, position: int | None
) -> None:
    """A cart is credited to the answer through which the item was clicked, within the window of that answer."""
    shopper.does(WINDOW_MS - 1, "b")
    shopper.sees("x")
    answer = 0 if position else 1
    advance = shopper.does(after_ms, "b", "cart")
    assert followed(advance) == (answer, position, after_ms - (0 if position else WINDOW_MS - 1))


def test_a_purchase_follows_the_latest_click_through_of_its_item(shopper: Shopper) -> None:
    """Clicked in two answers, the later one is credited, whatever was shown since."""
    shopper.does(1000, "b")
    shopper.sees("c", "b")
    shopper.does(2000, "b")
    shopper.sees("z")
    shopper.does(3000, "y")
    shopper.sees("b")
    assert followed(shopper.does(4000, "b", "purchase")) == (1, 2, 3000)


def test_a_cart_without_a_click_through_follows_the_latest_answer(shopper: Shopper) -> None:
    """Put in from the list itself: the place in the latest answer counts; elsewhere found: null."""
    assert followed(shopper.does(1000, "c", "cart")) == (0, 2, 1000)
    assert followed(shopper.does(2000, "z", "cart")) == (0, None, 2000)


def test_click_throughs_are_bounded_and_the_newest_are_kept() -> None:
    """Beyond the bound the oldest click-through is forgotten; one item takes one place."""
    shopper = Shopper()
    shopper.does(0, "start")
    for n, item in enumerate(("a", "b", "b", "c", "d"), start=1):
        shopper.sees(item)
        shopper.does(n, item)
    assert shopper.state is not None
    assert [through.item_id for through in shopper.state.click_throughs] == ["b", "c", "d"]
    assert shopper.state.click_throughs[0].answer.offset == 2


@pytest.mark.parametrize(
    ("event_type", "item"),
    [("search", None), ("search", "b"), ("remove", "b"), ("favorite", "b"), ("session_end", None)],
)
def test_other_events_have_no_outcome(shopper: Shopper, event_type: str, item: str | None) -> None:
    """Only a view, cart or purchase of an item is a target."""
    assert shopper.does(1000, item, event_type).outcomes == ()


def test_an_answer_counts_until_the_next_one_is_there(shopper: Shopper) -> None:
    """A slow answer is not seen: the click is held against what was there before."""
    assert followed(shopper.does(1000, "b")) == (0, 1, 1000)
    assert followed(shopper.does(2000, "c")) == (0, 2, 2000)
    shopper.sees("x")
    assert followed(shopper.does(3000, "x")) == (2, 1, 1000)


def test_an_overtaken_answer_does_not_replace_a_later_one(shopper: Shopper) -> None:
    """Answers may be ready in another order than their clicks: the later click's answer is what is on the screen."""
    shopper.does(1000, "e")
    shopper.sees("x")
    shopper.does(2000, "f")
    shopper.sees("old", offset=0, time_ms=0)
    assert followed(shopper.does(3000, "x")) == (1, 1, 2000)


def test_a_view_of_the_same_item_again_counts_like_any_other(shopper: Shopper) -> None:
    """A reload is a target, as offline: a miss where the answer leaves the item out, a hit where it reminds of it."""
    assert followed(shopper.does(1000, "a")) == (0, None, 1000)
    shopper.sees("a", "b")
    assert followed(shopper.does(2000, "a")) == (1, 1, 1000)


def test_an_event_older_than_the_answered_one_has_no_outcome(shopper: Shopper) -> None:
    """Out of order within grace: the shopper did it before the answer was there."""
    shopper.does(GRACE_MS, "e")
    shopper.sees("x")
    assert shopper.does(GRACE_MS - 1, "x").outcomes == ()


@pytest.mark.parametrize(
    ("status", "change"),
    [
        ("duplicate", {"at_ms": 2 * GRACE_MS, "event_id": "e", "item_id": "a"}),
        ("late", {"at_ms": 0}),
        ("no_consent", {"at_ms": 2 * GRACE_MS, "consent": False}),
    ],
)
def test_what_is_not_answered_anew_has_no_outcome(status: str, change: dict[str, Any]) -> None:
    """Duplicates, late events and shoppers without consent are held against nothing."""
    shopper = Shopper()
    shopper.does(2 * GRACE_MS, "a", event_id="e")
    shopper.sees("b")
    advance = shopper.does(**{"item_id": "b", **change})
    assert (advance.status, advance.outcomes) == (status, ())


def test_a_duplicate_leaves_the_answer_for_the_next_event(shopper: Shopper) -> None:
    """The answer is taken into the state with the next write, whatever that was caused by."""
    shopper.does(1000, "b", event_id="e")
    shopper.sees("x")
    assert shopper.does(1000, "b", event_id="e").status == "duplicate"
    assert followed(shopper.does(2000, "x")) == (1, 1, 1000)


def test_a_bot_has_no_outcome() -> None:
    """From the event that marks the session on."""
    shopper = Shopper(sessions=SessionRules(bot_burst_events=2))
    for n in range(2):
        shopper.does(n, "a")
        shopper.sees("b")
    for n in range(2, 4):
        advance = shopper.does(n, "b")
        assert (advance.status, advance.outcomes) == ("bot", ())


def test_a_replay_of_the_last_offset_has_the_same_outcome(shopper: Shopper) -> None:
    """The state after it is all that is left, and says it again; an answer that is there now changes nothing."""
    first = shopper.does(1000, "b")
    shopper.sees("other")
    again = shopper.does(1000, "b", offset=1)
    assert again == structs.replace(first, is_redelivery=True, joined=())


def test_a_replay_of_an_older_offset_has_none(shopper: Shopper) -> None:
    """It is `replayed`: a newer event took the place of what it said."""
    shopper.does(1000, "b")
    shopper.does(2000, "c")
    before = shopper.state
    advance = shopper.does(1000, "b", offset=1)
    assert (advance.status, advance.outcomes, advance.state) == ("replayed", (), before)


def test_a_replay_of_an_event_without_an_outcome_has_none(shopper: Shopper) -> None:
    """The outcome of the event before it is not said again."""
    shopper.does(1000, "b", event_id="e")
    shopper.does(1000, "b", event_id="e")
    advance = shopper.does(1000, "b", offset=2, event_id="e")
    assert (advance.is_redelivery, advance.outcomes) == (True, ())


@pytest.mark.parametrize("is_there", [True, False], ids=["in the state", "in flight"])
@pytest.mark.parametrize("end", ["inactivity", "session_id_changed", "session_end", "tick"])
def test_an_answer_ends_with_its_session(end: str, *, is_there: bool) -> None:
    """Neither what was shown nor what was clicked through is of any use to the next session."""
    shopper = Shopper(OutcomeRules(window=timedelta(days=1)))
    shopper.does(0, "a", session_id="A")
    shopper.sees("b", "c")
    shopper.does(1, "b", session_id="A")
    shopper.sees("d")
    in_flight, at_ms, next_id = shopper.shown, 2, "A"
    if is_there:
        shopper.does(2, None, "search", session_id="A")
    shopper.shown = None
    if end == "session_end":
        shopper.does(3, None, "session_end", session_id="A")
    elif end == "tick":
        shopper.tick(2 * GAP_MS)
        at_ms = 2 * GAP_MS
    elif end == "inactivity":
        at_ms = 2 * GAP_MS
    else:
        next_id = "B"
    shopper.shown = None if is_there else in_flight
    assert shopper.does(at_ms + 2, "d", session_id=next_id).outcomes == ()
    assert shopper.does(at_ms + 3, "b", "purchase", session_id=next_id).outcomes == ()


def test_an_answer_of_an_earlier_session_of_the_same_id_is_none_of_the_new_one(shopper: Shopper) -> None:
    """A, B, A, one at a time: an answer to the first A that came late is not what the third session saw."""
    shopper = Shopper(sessions=SessionRules(max_open_sessions=1))
    shopper.does(0, "a", session_id="A")
    shopper.sees("b")
    in_flight, shopper.shown = shopper.shown, None
    shopper.does(1, "c", session_id="B")
    shopper.shown = in_flight
    assert shopper.does(2, "b", session_id="A").outcomes == ()


def test_an_answer_of_a_topic_made_anew_is_the_latest_one() -> None:
    """Offsets of two topics do not tell which answer came first."""
    shopper = Shopper()
    shopper.offset = 90
    shopper.does(0, "a")
    shopper.sees("b")
    shopper.does(1, "a")
    assert shopper.state is not None
    assert shopper.state.session is not None
    answer = AnswerRef(0, START_MS + 1, "model", None, None, topic_id=2)
    anew = ShownAnswer(answer, shopper.state.session.session_id, (ItemId("c"),))
    shopper.shown = anew
    (outcome,) = shopper.does(2, "c").outcomes
    assert (outcome.answer, outcome.position) == (anew.answer, 1)


def test_each_device_has_its_own_answers() -> None:
    """An answer that was seen on one is what the next click on that one is held against, whatever came between."""
    shopper = Shopper()
    shopper.does(0, "a", session_id="laptop")
    shopper.sees("b", "c")
    assert shopper.does(1000, "x", session_id="phone").outcomes == ()
    shopper.sees("y")
    (on_laptop,) = shopper.does(2000, "c", session_id="laptop").outcomes
    (on_phone,) = shopper.does(3000, "y", session_id="phone").outcomes
    assert [(one.session_id, one.position, one.answer.offset) for one in (on_laptop, on_phone)] == [
        ("laptop", 2, 0),
        ("phone", 1, 1),
    ]


def test_a_clock_that_runs_ahead_counts_as_far_as_the_session_lets_it() -> None:
    """An event from the future is answered, and followed, at the time that the session keeps of it."""
    shopper = Shopper()
    event = ClickEvent(visitor_id="v", event_type="view", event_time=START_MS + 10**9, item_id="a")  # type: ignore[arg-type]
    arrival = Arrival(InputPosition("clicks", 0, 0), START_MS)
    state = shopper.sessionizer.advance(None, (event,), arrival).state
    assert state is not None
    assert event_time_ms(state, event) == START_MS + 60_000


STEPS = st.tuples(
    st.integers(-GRACE_MS, GAP_MS + 1),
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from(["view", "cart", "purchase", "session_end", "search"]),
    st.sampled_from([None, "A", "B"]),
    st.booleans(),
)


def _without_shown(state: VisitorState) -> VisitorState:
    return structs.replace(state, parked=tuple(ParkedSession(one.session) for one in state.parked))


@given(steps=st.lists(STEPS, max_size=20))
def test_an_outcome_never_reaches_beyond_its_session_or_window(steps: list[tuple[int, str, str, Any, bool]]) -> None:
    """Whatever happens: an earlier offset, within the window, in the same session; all else in the state is as ever."""
    shopper, plain, clock_ms = Shopper(), Shopper(), 0
    sessions: dict[int, str] = {}
    for step_ms, item, event_type, session_id, is_answered_in_time in steps:
        clock_ms = max(0, clock_ms + step_ms)
        advance = shopper.does(clock_ms, item, event_type, session_id=session_id)
        plain.does(clock_ms, item, event_type, session_id=session_id)
        assert shopper.state is not None
        for outcome in advance.outcomes:
            assert outcome.answer.offset < shopper.offset
            assert 0 <= outcome.delay_ms <= WINDOW_MS
            assert sessions[outcome.answer.offset] == outcome.session_id
        unlike = {"last_answer": None, "click_throughs": (), "last_outcome": None, "further_outcomes": ()}
        assert _without_shown(structs.replace(shopper.state, **unlike)) == plain.state
        assert len(shopper.state.click_throughs) <= RULES.max_click_throughs
        if advance.status == "answered" and shopper.state.session is not None:
            sessions[shopper.offset] = shopper.state.session.session_id
            if is_answered_in_time:
                shopper.sees("a", "b", time_ms=min(clock_ms, shopper.state.latest_ms - START_MS))


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"window": timedelta(milliseconds=-1)}, r"outcomes\.window"),
        ({"max_click_throughs": -1}, r"outcomes\.max_click_throughs"),
        ({"max_click_throughs": 1001}, r"outcomes\.max_click_throughs"),
    ],
)
def test_rules_without_sense_are_refused(rules: dict[str, Any], message: str) -> None:
    """The message names the setting."""
    with pytest.raises(UsageError, match=message):
        OutcomeRules(**rules)
