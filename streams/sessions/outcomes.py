"""What the shopper did after an answer, as a pure decision: `(state, events, shown answer) -> (state, outcomes)`.

A worked example (window 30 min; times in minutes; the answers are there at once):

    time  event         answer before it   outcome
    0     view A                           none: nothing was shown before
    1     view B        to 0: B, C         click, position 1; B is clicked through now
    2     view D        to 1: C, A         click, position null: D was not shown
    3     cart B        to 2: E            cart, position 1 of the answer to 0, through which B was clicked
    4     purchase D    to 3: E, D         purchase, position 2 of the answer to 3: nobody clicked through to D
    32    purchase B    to 4: C            purchase, position null: the click-through is older than the window

Hit rate of the next click = clicks with a position / clicks; MRR = mean of 1 / position over the clicks, null as 0.
These are the offline Recall@k and MRR@k over the clicks for which an answer was there in time. As there, a view of the
very item that the answer was given for is a target like any other: the chain leaves out what was bought, not what was
seen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from msgspec import structs

from schemas.errors import UsageError
from schemas.events import EVENT_FACTS, Action, ClickEvent, EventType
from schemas.state import AnswerRef, ClickThrough, Outcome, ShownAnswer, VisitorState
from streams.sessions.parked import with_shown
from streams.sessions.sessionizer import Advance
from streams.sessions.state_budget import StateBudget

ACTIONS: Final[Mapping[EventType, Action]] = {
    event_type: facts.action for event_type, facts in EVENT_FACTS.items() if facts.action is not None
}
"""The event types that are held against an answer."""


@dataclass(frozen=True, slots=True)
class OutcomeRules:
    """Which actions are held against which answer.

    window: Event time from the answered event to the action, inclusive.
    max_click_throughs: Items of a session whose click-through is kept for a cart or purchase, the latest; 0 = none.
    """

    window: timedelta = timedelta(minutes=30)
    max_click_throughs: int = 32

    def __post_init__(self) -> None:
        """Refuse rules under which nothing can happen."""
        if self.window < timedelta(0):
            raise UsageError(f"outcomes.window must be at least 0, found {self.window}")
        if not 0 <= self.max_click_throughs <= 1000:
            raise UsageError(f"outcomes.max_click_throughs must be from 0 to 1000, found {self.max_click_throughs}")


class Outcomes:
    """The rules of attribution; holds no state, so every method is a function of its arguments."""

    def __init__(self, rules: OutcomeRules, budget: StateBudget) -> None:
        self._rules = rules
        self._budget = budget
        self._window_ms = rules.window // timedelta(milliseconds=1)

    def follow(self, advance: Advance, events: Sequence[ClickEvent], shown: ShownAnswer | None) -> Advance:
        """Add to what a record's `events` did what they say of the answer before it; a redelivery is left as it is.

        shown: the visitor's latest answer that was there before this record, unless an earlier one took it already.
        """
        if advance.state is None or advance.is_redelivery:
            return advance
        state, throughs, outcomes = advance.state, advance.state.click_throughs, list[Outcome]()
        last = _latest_answer(state, shown)
        for line in advance.joined if advance.status == "answered" else ():
            event = events[line]
            outcome = self._outcome(structs.replace(state, click_throughs=throughs), last, event, line)
            if outcome is None:
                continue
            outcomes.append(outcome)
            if outcome.position is not None and event.event_type == "view" and event.item_id is not None:
                throughs = self._with(throughs, ClickThrough(outcome.answer, event.item_id, outcome.position))
        kept = self._budget.outcomes(outcomes)
        state = structs.replace(
            with_shown(state, shown),
            last_answer=last,
            click_throughs=throughs,
            last_outcome=kept[0] if kept else None,
            further_outcomes=kept[1:],
        )
        return structs.replace(advance, state=state, outcomes=kept)

    def _outcome(self, state: VisitorState, last: ShownAnswer | None, event: ClickEvent, line: int) -> Outcome | None:
        item_id = event.item_id
        if item_id is None or event.event_type not in ACTIONS or state.session is None:
            return None
        session_id, time_ms = state.session.session_id, event_time_ms(state, event)
        if event.event_type != "view":
            for through in state.click_throughs:
                if through.item_id == item_id and self._is_open(through.answer, time_ms):
                    delay_ms = time_ms - through.answer.time_ms
                    return Outcome(through.answer, session_id, through.position, delay_ms, line)
        if last is None or not self._is_open(last.answer, time_ms):
            return None
        position = last.items.index(item_id) + 1 if item_id in last.items else None
        return Outcome(last.answer, session_id, position, time_ms - last.answer.time_ms, line)

    def _is_open(self, answer: AnswerRef, time_ms: int) -> bool:
        """Return whether an event at `time_ms` may follow from the answer; an older one out of order may not."""
        return 0 <= time_ms - answer.time_ms <= self._window_ms

    def _with(self, kept: tuple[ClickThrough, ...], new: ClickThrough) -> tuple[ClickThrough, ...]:
        others = tuple(through for through in kept if through.item_id != new.item_id)
        kept = (*others, new)
        return kept[-self._rules.max_click_throughs :] if self._rules.max_click_throughs else ()


def event_time_ms(state: VisitorState, event: ClickEvent) -> int:
    """Return the event time of an event that moved `state`: no further ahead than the rules let it count."""
    return min(event.event_time_ms, state.latest_ms)


def _place(answer: AnswerRef) -> tuple[int, int]:
    """Return what two answers share whose offsets tell which came first."""
    return answer.topic_id, answer.partition


def _latest_answer(state: VisitorState, shown: ShownAnswer | None) -> ShownAnswer | None:
    """Return the latest answer of the open session; `shown` may be of one that has ended, and be overtaken."""
    session, last = state.session, state.last_answer
    if shown is None or session is None or shown.session_id != session.session_id:
        return last
    if shown.answer.time_ms < session.started_ms:  # the shop's id has come back: an earlier session of the same name
        return last
    if last is None or _place(shown.answer) != _place(last.answer):
        return shown
    return shown if shown.answer.offset > last.answer.offset else last
