"""What becomes of a sample with a mapping: read as the worker reads it behind `insession rekey`, under each visitor."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from schemas.click_reader import REKEYED_HEADER, ClickReader, Clicks
from schemas.mapping import FIELDS, FieldMapping
from schemas.payload import decode_payload
from schemas.validation import Ignored, Rejection, RejectReason
from streams.records import InputRecord

Decode = Callable[[bytes], Any]

_PLACEHOLDERS: Final = frozenset({
    "undefined", "null", "none", "nil", "nan", "0", "-1", "unknown", "anonymous", "guest", "n/a", "na", "-",
    "(not set)", "[object object]",
})  # fmt: skip
_MOST_OF_ONE: Final = 0.25
_ENOUGH_RECORDS: Final = 20
_MAX_SHOWN: Final = 60


@dataclass(slots=True)
class Trial:
    """What became of the records; each is one of readable (it gives clicks), ignored and rejected.

    rejected: by reason. keyed: readable records whose key is their visitor already. interactions: clicks by event type.
    visitors: readable records by visitor. filled: clicks by field that has a value. repairs: by field.
    """

    records: int = 0
    readable: int = 0
    ignored: int = 0
    keyed: int = 0
    rejected: Counter[RejectReason] = field(default_factory=Counter)
    interactions: Counter[str] = field(default_factory=Counter)
    visitors: Counter[str] = field(default_factory=Counter)
    filled: Counter[str] = field(default_factory=Counter)
    repairs: Counter[str] = field(default_factory=Counter)

    def add(self, record: InputRecord, outcomes: Iterable[Clicks | Ignored | Rejection]) -> None:
        """Count what became of a record under its visitors."""
        self.records += 1
        found = list(outcomes)
        clicks = [one for one in found if isinstance(one, Clicks)]
        if clicks:
            self.readable += 1
            keys = {one.events[0].visitor_id.encode() for one in clicks}
            self.keyed += keys == {record.key}
            for one in clicks:
                self._count(one)
            return
        rejected = next((one for one in found if isinstance(one, Rejection)), None)
        if rejected is None:
            self.ignored += 1
        else:
            self.rejected[rejected.reason] += 1

    def _count(self, clicks: Clicks) -> None:
        self.visitors[clicks.events[0].visitor_id] += 1
        self.repairs.update(repair.field for repair in clicks.repairs)
        for click in clicks.events:
            self.interactions[click.event_type] += 1
            self.filled.update(name for name in FIELDS if getattr(click, name) is not None)


def tried(records: Iterable[InputRecord], mapping: FieldMapping, decode: Decode = decode_payload) -> Trial:
    """Read a sample with a mapping."""
    reader = reader_of(mapping, decode)
    trial = Trial()
    for record in records:
        trial.add(record, as_rekeyed(reader, record))
    return trial


def reader_of(mapping: FieldMapping, decode: Decode) -> ClickReader:
    """Make the reader; only the default decoding has a short way for clicks that are ours."""
    return ClickReader(mapping, None if decode is decode_payload else decode)


def as_rekeyed(reader: ClickReader, record: InputRecord) -> Iterator[Clicks | Ignored | Rejection]:
    """Read a record as its copies behind `insession rekey` are read, one for each visitor in it."""
    visitors = record.rejection or reader.visitor_ids(record.key, record.value, record.headers)
    if not isinstance(visitors, tuple):
        yield visitors
        return
    headers = record.headers if len(visitors) == 1 else (*record.headers, (REKEYED_HEADER, b""))
    for visitor in visitors:
        yield reader.read(visitor.encode(), record.value, record.time_ms, headers)


def visitor_warnings(visitors: Counter[str]) -> Iterator[str]:
    """Report ids that stand for nobody, and of one visitor who has a large share of the records."""
    total = visitors.total()
    for visitor, count in visitors.most_common(_ENOUGH_RECORDS):
        share = f"{count:,} of {total:,} readable records ({count / total:.0%})"
        if is_placeholder(visitor):
            name = repr(visitor[:_MAX_SHOWN])
            yield f"{share} are of visitor {name}, which stands for no one: all of them share a session"
        elif total >= _ENOUGH_RECORDS and count > _MOST_OF_ONE * total:
            yield f"{share} are of one visitor, {visitor[:_MAX_SHOWN]!r}: is that a shopper?"


def is_placeholder(visitor: str) -> bool:
    """Return what programs write where they know no visitor, all-zero ids among it."""
    text = visitor.strip().lower()
    return text in _PLACEHOLDERS or (set(text) <= set("0-{}") and "0" in text)
