import random
from base64 import b85encode

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from streams.cluster.topics import TopicsError
from streams.local.embedded_broker import EmbeddedBroker
from streams.tools.replay_ledger import MAX_METADATA_LENGTH, ReplayLedger, decode_offsets, encode_offsets


@given(st.sets(st.integers(0, 300)))
def test_offsets_survive_their_spelling(offsets: set[int]) -> None:
    """What is decoded is what was encoded."""
    assert set(decode_offsets(encode_offsets(sorted(offsets)))) == offsets


@pytest.mark.parametrize("step", [1, 2, 3])
def test_ten_thousand_offsets_in_a_pattern_fit(step: int) -> None:
    """As many letters as one replay looks at, where other reasons lie in between, are all remembered."""
    offsets = range(1_000_000, 1_000_000 + 10_000 * step, step)
    assert list(decode_offsets(encode_offsets(offsets))) == list(offsets)


def test_the_lowest_offsets_are_forgotten_where_all_do_not_fit() -> None:
    """The text stays below the brokers' limit, and what is left are the highest offsets."""
    offsets = sorted(random.Random(1).sample(range(1_000_000), 10_000))
    text = encode_offsets(offsets)
    kept = list(decode_offsets(text))
    assert len(text) <= MAX_METADATA_LENGTH
    assert kept == offsets[-len(kept) :]
    assert 2_000 < len(kept) < 10_000


def test_what_was_noted_is_there_for_the_next_one() -> None:
    """Another ledger of the same group reads it back; another group knows nothing."""
    with EmbeddedBroker() as broker:
        config = {"bootstrap.servers": broker.address}
        Producer(config).list_topics("dlq", timeout=10)  # the embedded broker makes a topic when it is asked for
        with ReplayLedger(config, group="g", topic="dlq") as ledger:
            assert ledger.replayed([0, 1]) == {0: set(), 1: set()}
            assert ledger.note({0: {3, 4, 8}, 1: set()}) == 0
        with ReplayLedger(config, group="g", topic="dlq") as ledger:
            assert ledger.replayed([0, 1]) == {0: {3, 4, 8}, 1: set()}
        with ReplayLedger(config, group="h", topic="dlq") as ledger:
            assert ledger.replayed([0]) == {0: set()}


def test_what_does_not_fit_is_counted() -> None:
    """A second replay would send those letters again, so their number must be told."""
    offsets = set(random.Random(1).sample(range(1_000_000), 10_000))
    with EmbeddedBroker() as broker:
        config = {"bootstrap.servers": broker.address}
        Producer(config).list_topics("dlq", timeout=10)
        with ReplayLedger(config, group="g", topic="dlq") as ledger:
            forgotten = ledger.note({0: offsets})
            assert forgotten == 10_000 - len(ledger.replayed([0])[0]) > 0


@pytest.mark.parametrize("text", ["not ours", "12-40,44", b85encode(b"12").decode()])
def test_notes_of_somebody_else_are_one_line(text: str) -> None:
    """A commit with other metadata names the group that holds it."""
    with EmbeddedBroker() as broker:
        config = {"bootstrap.servers": broker.address}
        Producer(config).list_topics("dlq", timeout=10)
        other = Consumer(config | {"group.id": "g-dead-letter-replay"})
        other.commit(offsets=[TopicPartition("dlq", 0, 1, text)], asynchronous=False)
        other.close()
        with (
            ReplayLedger(config, group="g", topic="dlq") as ledger,
            pytest.raises(TopicsError, match="delete the group"),
        ):
            ledger.replayed([0])
