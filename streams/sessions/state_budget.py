"""How many bytes of a visitor are kept at most, and what goes first: a stranger's ids must not fill the changelog.

Half of the budget is for sessions that have ended: they stay for as many offsets as can be unacknowledged, so that a
redelivery tells the same session end again. A session that ends takes up to half of what is left there, its latest
events first, and at least its id, times and counts; so what is told once is what can be told again. A click that would
end one more where there is no room counts as a bot's; a tick leaves it to a later tick.

An eighth is for what one record says of the answers before it: the outcomes of its further lines are left out.

Where the whole is still too large, this goes, in this order and no more than it takes, by halves, the oldest first:

1. what was shown in sessions beside the current one;
2. events of those, but for the latest, and the ids by which their duplicates are found;
3. which inputs count for what is trending, should they come again;
4. click-throughs of the current session;
5. how far other partitions' sessions were taken in, but for the latest 16;
6. purchases, but for the latest 16;
7. events of the current session, but for the latest 10, and its event ids for duplicates, but for the latest 32;
8. what was shown last.
"""

from collections.abc import Callable
from itertools import takewhile
from typing import Final, TypeVar

from msgspec.structs import replace

from schemas.state import HEADER_BYTES, ClosedSession, OpenSession, Outcome, VisitorState, encoded_bytes
from streams.sessions.rules import SessionRules

MAX_REFERENCE_BYTES: Final = 1024
"""Of a closed session without its events: four ids of 128 bytes, a topic's name of 249, and numbers."""
LEAST_PURCHASES: Final = 16
LEAST_SOURCES: Final = 16
LEAST_EVENTS: Final = 10
LEAST_SEEN: Final = 32

_T = TypeVar("_T")
_Cut = Callable[[VisitorState], VisitorState]


class StateBudget:
    """The bounds in bytes that follow from the rules; holds no state, so every method is a function of its arguments.

    max_bytes: of a stored state, header included.
    """

    def __init__(self, rules: SessionRules) -> None:
        self.max_bytes = rules.max_state_bytes
        self._closing_bytes = rules.max_state_bytes // 2
        self._outcome_bytes = rules.max_state_bytes // 8
        # What clicks leave for ticks: every open session can end, after a click that has ended two.
        self._reserved_bytes = (rules.max_open_sessions + 3) * MAX_REFERENCE_BYTES

    def closing_room_bytes(self, state: VisitorState) -> int:
        """Count what is left for closed sessions beside the reserve; below 0 a click may end none."""
        return self._left_bytes(state) - self._reserved_bytes

    def can_close(self, state: VisitorState) -> bool:
        """Return whether one more closed session fits, at least without its events."""
        return self._left_bytes(state) >= MAX_REFERENCE_BYTES

    def kept(self, state: VisitorState, closed: ClosedSession) -> ClosedSession:
        """Return what is told, now and again, of a session that ends: all of it, or its latest events."""
        whole = replace(closed, session=replace(closed.session, seen=()))
        share_bytes = self.closing_room_bytes(state) // 2
        if encoded_bytes(whole) <= share_bytes:
            return whole
        bare = replace(closed, session=replace(whole.session, events=()))
        room = share_bytes - encoded_bytes(bare) - 4  # the list may have a longer head than an empty one
        count = sum(1 for _ in takewhile(lambda used: used <= room, _running_bytes(whole.session)))
        return replace(bare, session=replace(bare.session, events=whole.session.events[-count:] if count else ()))

    def outcomes(self, found: list[Outcome]) -> tuple[Outcome, ...]:
        """Return the first of a record's outcomes, as many as are told, now and again."""
        left, kept = self._outcome_bytes, list[Outcome]()
        for outcome in found:
            left -= encoded_bytes(outcome)
            if left < 0:
                break
            kept.append(outcome)
        return tuple(kept)

    def cut(self, state: VisitorState) -> VisitorState:
        """Take away what goes first until the state fits; as it is where it does."""
        for step in _STEPS:
            while encoded_bytes(state) + HEADER_BYTES > self.max_bytes and (smaller := step(state)) != state:
                state = smaller
        return state

    def _left_bytes(self, state: VisitorState) -> int:
        return self._closing_bytes - sum(encoded_bytes(closed) for closed in state.closings)


def _running_bytes(session: OpenSession) -> list[int]:
    """Sum up the bytes of the events, from the latest one back."""
    sums, used = list[int](), 0
    for event in reversed(session.events):
        used += encoded_bytes(event)
        sums.append(used)
    return sums


def _newer_half(values: tuple[_T, ...], least: int) -> tuple[_T, ...]:
    count = max(least, len(values) // 2)
    return values[-count:] if count else ()


def _without_what_was_shown_beside(state: VisitorState) -> VisitorState:
    return replace(state, parked=tuple(replace(one, last_answer=None, click_throughs=()) for one in state.parked))


def _with_half_beside(state: VisitorState) -> VisitorState:
    return replace(state, parked=tuple(replace(one, session=_halved(one.session, 1, 0)) for one in state.parked))


def _with_half_of_the_counted(state: VisitorState) -> VisitorState:
    return replace(state, counted=_newer_half(state.counted, 0))


def _without_click_throughs(state: VisitorState) -> VisitorState:
    return replace(state, click_throughs=())


def _with_fewer_sources(state: VisitorState) -> VisitorState:
    if state.identity is None:
        return state
    adopted = dict(_newer_half(tuple(state.identity.adopted.items()), LEAST_SOURCES))
    return replace(state, identity=replace(state.identity, adopted=adopted))


def _with_half_of_the_purchases(state: VisitorState) -> VisitorState:
    return replace(state, purchased=_newer_half(state.purchased, LEAST_PURCHASES))


def _with_half_of_the_session(state: VisitorState) -> VisitorState:
    if state.session is None:
        return state
    return replace(state, session=_halved(state.session, LEAST_EVENTS, LEAST_SEEN))


def _without_the_last_answer(state: VisitorState) -> VisitorState:
    return replace(state, last_answer=None)


def _halved(session: OpenSession, least_events: int, least_seen: int) -> OpenSession:
    return replace(
        session, events=_newer_half(session.events, least_events), seen=_newer_half(session.seen, least_seen)
    )


_STEPS: Final[tuple[_Cut, ...]] = (
    _without_what_was_shown_beside,
    _with_half_beside,
    _with_half_of_the_counted,
    _without_click_throughs,
    _with_fewer_sources,
    _with_half_of_the_purchases,
    _with_half_of_the_session,
    _without_the_last_answer,
)
