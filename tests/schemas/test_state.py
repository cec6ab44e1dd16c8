import msgspec
import pytest
from msgspec.structs import replace

from schemas.ids import ItemId, ModelVersion, SessionId, VisitorId
from schemas.records import SessionEvent
from schemas.state import (
    NEVER_MS,
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
    StateVersionError,
    Successor,
    UnreadableStateError,
    VisitorState,
    decode_state,
    encode_state,
    header_or_due,
    read_header,
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
    older = header + msgspec.msgpack.encode(msgspec.msgpack.decode(body)[:-8])
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
