from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from schemas.state import InputPosition, VisitorState, decode_state, encode_mark, encode_state, mark_key, read_visitor
from streams.records import InputRecord
from streams.state.copies import StateCopies
from streams.state.fencing import CLAIM_KEY, Owner

OLD, NEW = Owner(1, b"worker-a").headers(), Owner(2, b"worker-b").headers()
RECORDS = [(b"v", b"first", OLD), (CLAIM_KEY, None, NEW), (b"v", b"good", NEW), (b"v", b"stale", OLD), (b"w", b"1", [])]
Record = tuple[bytes, bytes | None, Sequence[tuple[str, bytes]]]


class Log:
    """A changelog partition, read as `TopicReader` does."""

    def __init__(self, records: Sequence[Record]) -> None:
        self._records = records

    def read(self, topic: str, offsets: Mapping[int, range]) -> Iterator[InputRecord]:
        """Yield its records."""
        for offset in offsets[0]:
            key, value, headers = self._records[offset]
            yield InputRecord(InputPosition(topic, 0, offset), key, value, 0, list(headers))


def test_copies_hold_what_a_recovery_would() -> None:
    """Neither what a former owner wrote too late, nor claims: a tool must not move a stale state."""
    told: list[int] = []
    log: Any = Log(RECORDS)
    with StateCopies() as copies:
        copies.load(log, "changelog", {0: range(len(RECORDS))}, told.append)
        assert list(copies.items(0)) == [(b"v", b"good"), (b"w", b"1")]
    assert sum(told) == len(RECORDS)


def test_a_mark_that_a_former_owner_wrote_too_late_says_nothing() -> None:
    """Marks are fenced as states are: those of the owner are put into the state, later ones of another are not."""
    state = VisitorState({"clickstream": 1}, "answered", 1)
    value = encode_state(state, due_ms=2)
    duplicate, late = (
        encode_mark(read_visitor(value, None), replace(state, offsets={"clickstream": offset}, last_status=status))
        for offset, status in ((2, "duplicate"), (9, "late"))
    )
    records: list[Record] = [
        (b"v", value, OLD),
        (CLAIM_KEY, None, NEW),
        (mark_key(b"v"), duplicate, NEW),
        (mark_key(b"v"), late, OLD),
    ]
    log: Any = Log(records)
    with StateCopies() as copies:
        copies.load(log, "changelog", {0: range(len(records))}, lambda _: None)
        ((key, whole),) = copies.items(0)
    found = decode_state(whole)
    assert (key, found.offsets, found.last_status) == (b"v", {"clickstream": 2}, "duplicate")
