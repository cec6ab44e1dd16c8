from collections.abc import Iterator

import pytest

from schemas.errors import UsageError
from schemas.topic_url import parse_topic_url
from streams.cluster.topic_ranges import offsets_of
from streams.cluster.topic_reader import TopicReader
from streams.local.embedded_broker import EmbeddedBroker
from streams.records import OutputRecord
from streams.tools.sender import Sender

START_MS = 1_769_860_800_000
"""2026-01-31T12:00Z."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Share a broker with five records on partition 0 of `t` and two on partition 1, a second apart."""
    with EmbeddedBroker() as broker:
        sender = Sender({"bootstrap.servers": broker.address}, client_id="test")
        for partition, count in ((0, 5), (1, 2)):
            for number in range(count):
                sender.send(OutputRecord("t", b"k", b"v", partition=partition), time_ms=START_MS + number * 1000)
        sender.flush()
        yield broker.address


def offsets(address: str, query: str) -> dict[int, tuple[int, int]]:
    """Return first and end of the partitions that have records."""
    with TopicReader({"bootstrap.servers": address}) as reader:
        found = offsets_of(parse_topic_url(f"kafka://{address}/t{query}"), reader)
    return {partition: (wanted.start, wanted.stop) for partition, wanted in found.items() if wanted}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {0: (0, 5), 1: (0, 2)}),
        ("?from=beginning&to=end", {0: (0, 5), 1: (0, 2)}),
        ("?from=1", {0: (1, 5), 1: (1, 2)}),
        ("?from=3&to=100", {0: (3, 5)}),
        ("?to=3", {0: (0, 3), 1: (0, 2)}),
        ("?from=0:2,1:1&to=0:4,1:2", {0: (2, 4), 1: (1, 2)}),
        ("?from=0:2", {0: (2, 5)}),
        ("?from=4&to=2", {}),
        ("?from=end", {}),
    ],
)
def test_a_part_is_offsets_of_each_partition(address: str, query: str, expected: dict[int, tuple[int, int]]) -> None:
    """The end is exclusive; a number for all is as far as each goes; a partition that is not named is left out."""
    assert offsets(address, query) == expected


@pytest.mark.parametrize(
    ("query", "said"),
    [("?from=9:0", "no partition 9; it has 4"), ("?to=0:6", "partition 0 ends at 5, before 6; was it made anew")],
)
def test_offsets_that_are_not_there_are_told(address: str, query: str, said: str) -> None:
    """Nothing is read around them: what continues another read would have a hole."""
    with pytest.raises(UsageError, match=said):
        offsets(address, query)
