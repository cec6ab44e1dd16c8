"""Planning a replay; reading and sending: tests/kafka/test_dlq.py."""

import pytest

from agents.dead_letters import plan_replay
from schemas.state import InputPosition
from schemas.validation import Rejection
from streams.dead_letter_log import REPLAY_HEADER, DeadLetter, read_dead_letter
from streams.dead_letters import InputRecord, dead_letter


def letter(offset: int, *headers: tuple[str, bytes]) -> DeadLetter:
    """Make the letter at `offset` of partition 0."""
    record = InputRecord(InputPosition("clickstream", 0, 1), b"k", b"v", 0, headers)
    written = dead_letter(record, Rejection("undecodable", "no"), "dlq")
    return read_dead_letter(InputRecord(InputPosition("dlq", 0, offset), b"k", b"v", 0, written.headers))


@pytest.mark.parametrize(("again", "offsets", "left"), [(False, [1], 3), (True, [1, 2, 3], 1)])
def test_again_lifts_only_what_was_replayed(*, again: bool, offsets: list[int], left: int) -> None:
    """What can never be sent stays, whatever is asked for."""
    foreign = read_dead_letter(InputRecord(InputPosition("dlq", 0, 4), b"k", b"v", 0))
    letters = [letter(1), letter(2), letter(3, (REPLAY_HEADER, b"dlq-0-0")), foreign]
    plan = plan_replay(letters, "session-control", {0: {2}}, again=again)
    assert [one.position.offset for one in plan.letters] == offsets
    assert plan.left.total() == left
    assert plan.left["foreign"] == 1
