from collections.abc import Iterator, Mapping
from typing import Any

from schemas.state import InputPosition
from streams.dead_letters import InputRecord
from streams.fencing import CLAIM_KEY, Owner
from streams.state_copies import StateCopies

OLD, NEW = Owner(1, b"worker-a").headers(), Owner(2, b"worker-b").headers()
RECORDS = [(b"v", b"first", OLD), (CLAIM_KEY, None, NEW), (b"v", b"good", NEW), (b"v", b"stale", OLD), (b"w", b"1", [])]


class Log:
    """A changelog partition, read as `TopicReader` does."""

    def read(self, topic: str, offsets: Mapping[int, range]) -> Iterator[InputRecord]:
        """Give its records."""
        for offset in offsets[0]:
            key, value, headers = RECORDS[offset]
            yield InputRecord(InputPosition(topic, 0, offset), key, value, 0, headers)


def test_copies_hold_what_a_recovery_would() -> None:
    """Neither what a former owner wrote too late, nor claims: a tool must not move a stale state."""
    told: list[int] = []
    log: Any = Log()
    with StateCopies() as copies:
        copies.load(log, "changelog", {0: range(len(RECORDS))}, told.append)
        assert list(copies.items(0)) == [(b"v", b"good"), (b"w", b"1")]
    assert sum(told) == len(RECORDS)
