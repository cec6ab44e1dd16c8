import pytest
from msgspec.structs import replace

from schemas.ids import ItemId, SessionId, VisitorId
from schemas.state import (
    AnswerRef,
    ClickThrough,
    ClosedSession,
    Identity,
    InputPosition,
    Move,
    OpenSession,
    Outcome,
    ParkedSession,
    ShownAnswer,
    Successor,
    VisitorState,
)
from streams.cluster.partitioner import crc32_partition, murmur2_partition
from streams.cluster.rehoming import Placements, rehomed

SESSION = OpenSession(
    session_id=SessionId("s"), explicit_id=None, started_ms=1, latest_ms=2, event_count=1, events=(), seen=()
)
ANSWER = AnswerRef(offset=6, time_ms=1, tier="knn", model_version=None, experiment=None)
SHOWN = ShownAnswer(ANSWER, SessionId("s"), (ItemId("i"),))
STATE = VisitorState(
    offsets={"clicks": 7, "control": 2},
    last_status="answered",
    latest_ms=2,
    session=SESSION,
    closings=(ClosedSession(InputPosition("clicks", 1, 7), "inactivity", SESSION, Move(VisitorId("w"), 1)),),
    purchased=(ItemId("i"),),
    last_answer=SHOWN,
    click_throughs=(ClickThrough(ANSWER, ItemId("i"), 1),),
    last_outcome=Outcome(ANSWER, SessionId("s"), 1, 5),
    parked=(ParkedSession(SESSION, SHOWN),),
    identity=Identity(successors=(Successor(VisitorId("w"), 1, 7),), adopted={"clicks-0": 3}),
    topic_ids=(5, 6),
)


def home(_key: bytes) -> int:
    """Return where another visitor lies now."""
    return 3


def test_a_state_that_moves_leaves_its_offsets_and_keeps_the_visitor() -> None:
    """Sessions, purchases and what was adopted stay; what names a partition names the right one."""
    moved = rehomed(STATE, 1, 3, home)
    assert (moved.offsets, moved.topic_ids, moved.closings) == ({}, (), ())
    assert (moved.session, moved.purchased) == (STATE.session, STATE.purchased)
    assert moved.identity == Identity(successors=(Successor(VisitorId("w"), 3, 7),), adopted={"clicks-0": 3})
    answers = [
        moved.last_answer.answer,  # type: ignore[union-attr]
        moved.click_throughs[0].answer,
        moved.last_outcomes[0].answer,
        moved.parked[0].last_answer.answer,  # type: ignore[union-attr]
    ]
    assert {answer.partition for answer in answers} == {1}


def test_a_state_that_stays_is_the_same_but_for_where_others_went() -> None:
    """Its offsets are still of its partition."""
    stayed = rehomed(STATE, 1, 1, home)
    assert stayed.closings[0].move == Move(VisitorId("w"), 3)
    assert stayed.identity is not None
    assert stayed.identity.successors[0].partition == 3
    assert replace(stayed, closings=STATE.closings, identity=STATE.identity) == STATE


def test_moving_again_changes_nothing() -> None:
    """A run that ended early is run again; and a second growth keeps where an answer was given."""
    moved = rehomed(STATE, 1, 3, home)
    assert rehomed(moved, 1, 3, home) == moved
    assert rehomed(moved, 3, 7, home).last_answer == moved.last_answer


@pytest.mark.parametrize("partitioner", [murmur2_partition, crc32_partition])
def test_the_partitioner_is_told_by_where_the_keys_lie(partitioner: object) -> None:
    """Also while a part of them was moved already; keys that none explains are counted."""
    assert callable(partitioner)
    placements = Placements(2, 4)
    for number in range(40):
        key = f"v{number}".encode()
        placements.see(key, partitioner(key, 2 if number % 2 else 4))
    assert placements.partitioner is partitioner
    for number in range(400):
        placements.see(f"w{number}".encode(), number % 4)
    assert placements.partitioner is None
    assert placements.misplaced > 50
