import pytest
from confluent_kafka import Producer
from hypothesis import given
from hypothesis import strategies as st

from streams.embedded_broker import EmbeddedBroker
from streams.replay_ledger import MAX_METADATA_LENGTH, ReplayLedger, decode_offsets, encode_offsets


@given(st.sets(st.integers(0, 300)))
def test_offsets_survive_their_spelling(offsets: set[int]) -> None:
    """What is decoded is what was encoded."""
    assert set(decode_offsets(encode_offsets(sorted(offsets)))) == offsets


@pytest.mark.parametrize(("offsets", "text"), [([], ""), ([4], "4"), ([4, 5, 6, 9], "4-6,9")])
def test_neighbours_are_one_range(offsets: list[int], text: str) -> None:
    """A run of offsets takes the place of two numbers."""
    assert encode_offsets(offsets) == text


def test_the_lowest_offsets_are_forgotten_where_all_do_not_fit() -> None:
    """The text stays below the brokers' limit, and what is left are the highest offsets."""
    offsets = range(0, 10_000, 2)
    text = encode_offsets(offsets)
    kept = list(decode_offsets(text))
    assert len(text) <= MAX_METADATA_LENGTH
    assert kept == list(offsets[-len(kept) :])
    assert len(kept) > 600


def test_what_was_noted_is_there_for_the_next_one() -> None:
    """Another ledger of the same group reads it back; another group knows nothing."""
    with EmbeddedBroker() as broker:
        config = {"bootstrap.servers": broker.address}
        Producer(config).list_topics("dlq", timeout=10)  # the embedded broker makes a topic when it is asked for
        with ReplayLedger(config, group="g", topic="dlq") as ledger:
            assert ledger.replayed([0, 1]) == {0: set(), 1: set()}
            ledger.note({0: {3, 4, 8}, 1: set()})
        with ReplayLedger(config, group="g", topic="dlq") as ledger:
            assert ledger.replayed([0, 1]) == {0: {3, 4, 8}, 1: set()}
        with ReplayLedger(config, group="h", topic="dlq") as ledger:
            assert ledger.replayed([0]) == {0: set()}
