from msgspec.structs import replace

from schemas.ids import SessionId
from schemas.state import ClosedSession, Identity, InputPosition, OpenSession, VisitorState
from streams.tools.state_import import with_former_topics

SESSION = OpenSession(
    session_id=SessionId("s"), explicit_id=None, started_ms=1, latest_ms=2, event_count=1, events=(), seen=()
)


def test_what_has_no_id_is_of_a_former_topic_afterwards() -> None:
    """Offsets, causes and adoptions: the topics that are there now make them void."""
    state = VisitorState(
        {"clicks": 7},
        "answered",
        2,
        session=SESSION,
        closings=(ClosedSession(InputPosition("clicks", 0, 7), "inactivity", SESSION),),
        identity=Identity(adopted={"clicks-1": 9, "clicks-2@ab": 4}),
    )
    marked = with_former_topics(state)
    now = InputPosition("clicks", 0, 7, 99)
    assert (state.applied_offset(now), marked.applied_offset(now)) == (7, None)
    assert not marked.closings[0].cause.is_same_as(now)
    assert marked.identity == Identity(adopted={"clicks-1@1": 9, "clicks-2@ab": 4})
    assert marked.session == state.session
    assert with_former_topics(marked) == marked


def test_what_has_an_id_stays() -> None:
    """It tells by itself whether the topic is another one."""
    state = VisitorState({}, "answered", 2).with_applied(InputPosition("clicks", 0, 7, 5))
    assert with_former_topics(state) == state
    half = replace(state, offsets={"clicks": 7, "control": 1})
    assert with_former_topics(half).topic_ids == (5, 1)
