"""Planning a replay, and its end before time; reading and sending: tests/kafka/test_dlq.py."""

import pytest
from confluent_kafka import Producer

from agents.upkeep.dead_letters import Replayed, plan_replay, replay
from schemas.state import InputPosition
from schemas.validation import Rejection
from streams.delivery.dead_letters import dead_letter
from streams.local.embedded_broker import EmbeddedBroker
from streams.records import InputRecord
from streams.tools.dead_letter_log import REPLAY_HEADER, DeadLetter, read_dead_letter
from streams.tools.replay_ledger import ReplayLedger
from streams.tools.sender import Sender


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


def test_an_interrupted_replay_has_taken_note_of_all_that_it_sent() -> None:
    """The signal is heard between chunks, so the next replay sends the rest and nothing twice."""
    letters = [letter(offset) for offset in range(1_200)]
    with EmbeddedBroker() as broker:
        config = {"bootstrap.servers": broker.address}
        for topic in ("clickstream", "dlq"):
            Producer(config).list_topics(topic, timeout=10)  # the embedded broker makes a topic when it is asked for
        sender = Sender(config, client_id="test")
        with ReplayLedger(config, group="g", topic="dlq") as ledger:
            done = replay(sender, letters, ledger, lambda _: None, is_over=lambda: sender.acknowledged > 0)
            assert done == Replayed(sent=500, forgotten=0)
            assert ledger.replayed([0]) == {0: set(range(500))}
            rest = plan_replay(letters, "session-control", ledger.replayed([0]), again=False)
            assert len(rest.letters) == 700
