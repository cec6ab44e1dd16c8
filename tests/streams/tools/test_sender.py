from collections.abc import Iterator

import pytest

from streams.cluster.topic_reader import TopicReader
from streams.local.embedded_broker import EmbeddedBroker
from streams.records import OutputRecord
from streams.tools.sender import Sender, SendError


@pytest.fixture(scope="module")
def config() -> Iterator[dict[str, str]]:
    """Share an embedded broker."""
    with EmbeddedBroker() as broker:
        yield {"bootstrap.servers": broker.address}


def test_a_record_arrives_whole_and_is_counted_when_it_is_there(config: dict[str, str]) -> None:
    """Key, value, headers, partition and timestamp are as given; progress ends at the count."""
    sender = Sender(config, client_id="test")
    seen: list[int] = []
    sender.send(OutputRecord("t", b"k", b"v", (("h", b"1"), ("h", b"2")), partition=3), time_ms=1_700_000_000_000)
    sender.send(OutputRecord("t", None, None, (), partition=3))
    sender.flush(seen.append)
    assert (sender.acknowledged, seen[-1]) == (2, 2)
    with TopicReader(config) as reader:
        first, second = reader.read("t", {3: range(2)})
    assert (first.key, first.value, first.headers, first.time_ms) == (
        b"k",
        b"v",
        (("h", b"1"), ("h", b"2")),
        1_700_000_000_000,
    )
    assert (second.key, second.value) == (None, None)


def test_a_record_that_is_too_large_is_refused_at_once(config: dict[str, str]) -> None:
    """The error names the topic."""
    with pytest.raises(SendError, match="t takes no record"):
        Sender(config, client_id="test").send(OutputRecord("t", b"k", bytes(2 << 20)))


def test_a_refusal_by_the_broker_ends_it(config: dict[str, str]) -> None:
    """A topic's missing partition is known only after the metadata came; every later call raises, too."""
    sender = Sender(config, client_id="test")
    sender.send(OutputRecord("fresh", b"k", b"v", partition=99))
    for _ in range(2):
        with pytest.raises(SendError, match="fresh took no record"):
            sender.flush()
