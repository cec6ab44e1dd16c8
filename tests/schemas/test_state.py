import msgspec
import pytest
from msgspec.structs import replace

from schemas.ids import ItemId, ModelVersion, SessionId, VisitorId
from schemas.records import SessionEvent
from schemas.state import (
    NEVER_MS,
    STATE_VERSION,
    AnswerRef,
    ClickThrough,
    ClosedSession,
    Identity,
    InputPosition,
    Move,
    OpenSession,
    Outcome,
    Predecessor,
    ShownAnswer,
    StateHeader,
    StateVersionError,
    Successor,
    UnreadableStateError,
    VisitorState,
    decode_state,
    encode_mark,
    encode_state,
    header_or_due,
    is_mark,
    mark_key,
    read_header,
    read_visitor,
    visitor_of,
)

SESSION = OpenSession(
    session_id=SessionId("s"),
    explicit_id=None,
    started_ms=1,
    latest_ms=2,
    event_count=1,
    events=(SessionEvent("view", 2, ItemId("i"), 9.5),),
    seen=(2**64 - 1,),
)
ANSWER = AnswerRef(offset=6, time_ms=1, tier="knn", model_version=ModelVersion(3), experiment=None)
STATE = VisitorState(
    offsets={"clickstream": 7},
    last_status="answered",
    latest_ms=2,
    clock_lag_ms=40,
    session=SESSION,
    closings=(ClosedSession(InputPosition("clickstream", 0, 7), "inactivity", SESSION),),
    purchased=(ItemId("i"),),
    last_answer=ShownAnswer(ANSWER, SessionId("s"), (ItemId("i"), ItemId("k"))),
    click_throughs=(ClickThrough(ANSWER, ItemId("i"), 1),),
    last_outcome=Outcome(ANSWER, SessionId("s"), None, 900),
)
IDENTITY = Identity(
    predecessors=(Predecessor(VisitorId("a"), InputPosition("clickstream", 0, 3), 5, SessionId("s")),),
    successors=(Successor(VisitorId("w"), 2, 7),),
    adopted={"clickstream-1": 9},
)


def test_state_round_trips() -> None:
    """What is stored is what is read back, 64-bit hashes and nested sessions included."""
    assert decode_state(encode_state(STATE, due_ms=99)) == STATE
    moved = ClosedSession(InputPosition("clickstream", 0, 7), "inactivity", SESSION, Move(VisitorId("w"), 2, 1))
    joined = replace(STATE, closings=(moved,), identity=IDENTITY)
    assert decode_state(encode_state(joined, due_ms=99)) == joined


def test_state_without_the_latest_fields_is_read_with_their_defaults() -> None:
    """A value that was written before a field was there needs no upgrade; neither does its reader of then."""
    header, body = encode_state(STATE, due_ms=99)[:18], encode_state(STATE, due_ms=99)[18:]
    older = header + msgspec.msgpack.encode(msgspec.msgpack.decode(body)[:-10])
    assert decode_state(older) == replace(STATE, last_answer=None, click_throughs=(), last_outcome=None)
    newer = header + msgspec.msgpack.encode([*msgspec.msgpack.decode(body), "of a later release"])
    assert decode_state(newer) == STATE


def test_an_offset_counts_for_the_very_topic_that_it_is_of() -> None:
    """Ids are kept beside the offsets, each with its own; a topic made anew under the name has applied nothing."""
    clicks, control = InputPosition("clicks", 0, 7, 0xFFFF_FFFF), InputPosition("control", 0, 3, 12)
    state = replace(STATE, offsets={}).with_applied(clicks).with_applied(control)
    state = decode_state(encode_state(state, due_ms=0))
    assert (state.applied_offset(clicks), state.applied_offset(control)) == (7, 3)
    anew = replace(clicks, topic_id=9)
    assert (state.applied_offset(anew), state.is_made_void_by(anew)) == (None, True)
    state = state.with_applied(replace(anew, offset=0))
    assert (state.offsets, state.applied_offset(anew), state.applied_offset(control)) == (
        {"clicks": 0, "control": 3},
        0,
        3,
    )


def test_an_offset_without_an_id_counts_for_the_topic_that_is_there() -> None:
    """So states from before the ids, and a replay without a broker, find what they have applied."""
    assert STATE.applied_offset(InputPosition("clickstream", 0, 8, 5)) == 7
    assert STATE.with_applied(InputPosition("clickstream", 0, 8)).topic_ids == ()
    known = STATE.with_applied(InputPosition("clickstream", 0, 8, 5))
    assert known.applied_offset(InputPosition("clickstream", 0, 8)) == 8
    assert not known.is_made_void_by(InputPosition("orders", 0, 0, 5))


def test_ids_take_a_few_bytes() -> None:
    """They are stored with every visitor."""
    ids = STATE.with_applied(InputPosition("clickstream", 0, 7, 0xFFFF_FFFF))
    assert len(encode_state(ids, due_ms=0)) - len(encode_state(STATE, due_ms=0)) == 5


def test_header_is_readable_without_the_body() -> None:
    """The expiry index of a recovered partition needs the first bytes only."""
    header = read_header(encode_state(STATE, due_ms=99)[:18])
    assert (header.due_ms, header.clock_lag_ms) == (99, 40)


def test_never_due_fits_the_header() -> None:
    """A state without a next deadline is stored as the largest signed 64-bit time."""
    assert read_header(encode_state(STATE, due_ms=NEVER_MS)).due_ms == NEVER_MS


@pytest.mark.parametrize("version", [2, 9, 255])
def test_a_newer_version_is_refused_with_a_remedy(version: int) -> None:
    """It stops the worker with a message instead of resetting the visitor."""
    value = bytes([version]) + encode_state(STATE, due_ms=99)[1:]
    for read in (decode_state, read_header, header_or_due):
        with pytest.raises(StateVersionError, match=f"has version {version}.*run the version that wrote it"):
            read(value)  # type: ignore[operator]


@pytest.mark.parametrize(
    "value",
    [b"", b"\x00" + bytes(40), b"\x01short", b'{"visitor_id": "v1", "event_type": "view"}', b"\xff" * 40, b"1" * 40],
)
def test_foreign_values_are_told_from_newer_ones(value: bytes) -> None:
    """They are no state of any version; in the expiry index they are due at once and move no clock."""
    for read in (decode_state, read_header):
        with pytest.raises(UnreadableStateError):
            read(value)  # type: ignore[operator]
    header = header_or_due(value)
    assert (header.due_ms, header.clock_lag_ms) == (0, NEVER_MS)


def test_body_that_is_no_state_is_refused() -> None:
    """A right header before a wrong body is refused too."""
    with pytest.raises(UnreadableStateError, match="cannot be decoded"):
        decode_state(encode_state(STATE, due_ms=1)[:18] + msgspec.msgpack.encode({"a": 1}))


def test_older_versions_are_read_through_the_upgrades(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each upgrade turns one version's body into the next version's, in order."""
    monkeypatch.setattr("schemas.state.STATE_VERSION", 3)
    body = encode_state(STATE, due_ms=1)[18:]
    steps: list[int] = []

    def step(version: int) -> object:
        return lambda old: (steps.append(version), old)[1]

    value = b"\x01" + bytes(17) + body
    assert decode_state(value, upgrades={1: step(1), 2: step(2)}) == STATE  # type: ignore[dict-item]
    assert steps == [1, 2]


VISITOR = read_visitor(encode_state(STATE, due_ms=99, is_quiet=True), None)
MOVED_ON = replace(STATE, offsets={**STATE.offsets, "clickstream": 99}, last_status="late", last_topic="clickstream")


def test_a_mark_tells_of_the_input_that_moved_nothing() -> None:
    """Read together with the state it follows, it gives what the input left; further marks follow the same state."""
    mark = encode_mark(VISITOR, MOVED_ON)
    found = read_visitor(encode_state(STATE, due_ms=99, is_quiet=True), mark)
    assert found.state == replace(MOVED_ON, last_outcome=None, further_outcomes=())
    assert found.written_offsets == STATE.offsets
    assert found.header == StateHeader(99, STATE.clock_lag_ms, is_quiet=True)


def test_a_mark_of_another_state_says_nothing() -> None:
    """It was overtaken by a later write, or the state that it follows is gone and was made anew."""
    mark = encode_mark(VISITOR, MOVED_ON)
    for later in (MOVED_ON, replace(STATE, offsets={}), replace(STATE, topic_ids=(77,))):
        assert read_visitor(encode_state(later, due_ms=1), mark).state == later


def test_a_mark_of_a_newer_version_is_refused_and_one_that_is_none_is_told() -> None:
    """As a state is; and a worker from before there were marks takes none for a state."""
    value, mark = encode_state(STATE, due_ms=1), encode_mark(VISITOR, MOVED_ON)
    with pytest.raises(StateVersionError, match="run the version that wrote it"):
        read_visitor(value, b"\x03" + mark[1:])
    for broken in (b"", b"\x02", mark[:-3]):
        with pytest.raises(UnreadableStateError, match="mark"):
            read_visitor(value, broken)
    assert mark[0] > STATE_VERSION


def test_the_keys_of_marks_are_no_keys_of_visitors() -> None:
    """No UTF-8 begins with the byte in front of them."""
    assert is_mark(mark_key(b"v1"))
    assert not is_mark("\u00ff".encode())
    assert visitor_of(mark_key(b"v1")) == visitor_of(b"v1") == b"v1"
