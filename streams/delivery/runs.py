"""Runs: contiguous records of a partition that go through Faust as one message, so that its work is done once for many.

What Faust does for a message (a task, a queue, a stream's turn, sensors) costs several times what a click costs us.
Offsets are checked by the run, at the consumer and at the actor: its first offset and its length tell all. Faust hands
a run through as it is, since the inputs' codec is "raw".
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, Self

MAX_RECORDS: Final = 64
"""Of a run: what the actor takes in between two looks at whether it should go on."""


class Run:
    """Records whose offsets follow each other without a hole, with the names that Faust asks of a record.

    records: aiokafka's, oldest first; at least one.
    """

    __slots__ = ("offset", "partition", "records", "timestamp", "timestamp_type", "topic")

    key = checksum = None
    headers: Sequence[tuple[str, bytes]] = ()
    serialized_key_size = serialized_value_size = 0

    def __init__(self, records: Sequence[Any]) -> None:
        first = records[0]
        self.topic, self.partition, self.offset = first.topic, first.partition, first.offset
        self.timestamp, self.timestamp_type = first.timestamp, first.timestamp_type
        self.records = records

    @property
    def value(self) -> Self:
        """Return the run itself: it is what the message holds."""
        return self

    @property
    def offsets(self) -> range:
        """Return the offsets of its records."""
        return range(self.offset, self.offset + len(self.records))

    def since(self, offset: int) -> "Run":
        """Return the records from `offset` on, which must be in it."""
        return Run(self.records[offset - self.offset :])


def runs_of(fetched: Sequence[Any]) -> list[Run]:
    """Cut the records that were fetched of a partition into runs, in their order."""
    runs: list[Run] = []
    for stretch in _without_holes(fetched):
        parts = (stretch[at : at + MAX_RECORDS] for at in range(0, len(stretch), MAX_RECORDS))
        runs.extend(Run(part) for part in parts)
    return runs


def _without_holes(fetched: Sequence[Any]) -> Iterator[Sequence[Any]]:
    if fetched[-1].offset - fetched[0].offset + 1 == len(fetched):
        yield fetched
        return
    begin = 0
    for at in range(1, len(fetched)):
        if fetched[at].offset != fetched[at - 1].offset + 1:
            yield fetched[begin:at]
            begin = at
    yield fetched[begin:]
