"""Open sessions of one visitor side by side, by the shop's own session ids: two devices, one customer.

The state's `session` is that of the latest event; the others are *parked* with what was shown in them.
"""

from msgspec.structs import replace

from schemas.ids import SessionId
from schemas.state import OpenSession, ParkedSession, ShownAnswer, VisitorState


def turned_to(state: VisitorState, session_id: SessionId | None) -> VisitorState:
    """Make the session of an event with `session_id` the current one; none is current where it opens another.

    An event without an id belongs to the current session, and the first one with an id gives it to a session without.
    """
    if session_id is None or (state.session is not None and state.session.explicit_id == session_id):
        return state
    found = next((parked for parked in state.parked if parked.session.explicit_id == session_id), None)
    if found is None and (state.session is None or state.session.explicit_id is None):
        return state
    others = tuple(parked for parked in state.parked if parked is not found)
    if state.session is not None:
        others = (*others, ParkedSession(state.session, state.last_answer, state.click_throughs))
    return replace(
        state,
        session=None if found is None else found.session,
        last_answer=None if found is None else found.last_answer,
        click_throughs=() if found is None else found.click_throughs,
        parked=others,
    )


def quietest(state: VisitorState) -> OpenSession | None:
    """Return the parked session whose latest event is the oldest; None where none is parked."""
    return min((parked.session for parked in state.parked), key=lambda session: session.latest_ms, default=None)


def without(state: VisitorState, session: OpenSession) -> VisitorState:
    """Take a session out of those that are open."""
    if state.session is session:
        return replace(state, session=None, last_answer=None, click_throughs=())
    return replace(state, parked=tuple(parked for parked in state.parked if parked.session is not session))


def with_shown(state: VisitorState, shown: ShownAnswer | None) -> VisitorState:
    """Keep an answer for the parked session in which it was given."""
    if shown is None or not state.parked:
        return state
    parked = tuple(
        replace(one, last_answer=shown) if one.session.session_id == shown.session_id and _is_newer(shown, one) else one
        for one in state.parked
    )
    return replace(state, parked=parked)


def _is_newer(shown: ShownAnswer, parked: ParkedSession) -> bool:
    last = parked.last_answer
    began_before = shown.answer.time_ms >= parked.session.started_ms
    return began_before and (last is None or shown.answer.offset > last.answer.offset)
