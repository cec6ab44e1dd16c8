"""What the values of a sample are in bytes: their encoding, what is around it, and the id of their schema."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from msgspec import Struct, json

from schemas.byte_kinds import describe_payload
from schemas.framing import unframe
from schemas.payload import decode_payload, unpacked
from streams.records import InputRecord

_BOM: Final = b"\xef\xbb\xbf"
_ENOUGH: Final = 500
_WIRE_LENGTHS: Final = {1: 8, 5: 4}


class Seen(Struct, frozen=True, kw_only=True):
    """What most values are.

    encoding: `json`, `avro`, `protobuf`, or in words what it is; None = there is no value.
    framing: `confluent`, `gzip`, `bom`, `json in text`, `json list` or `json lines`, the outermost first; None = bare.
    schema_id: the registry's id of the schema, where there is one.
    """

    encoding: str | None = None
    framing: str | None = None
    schema_id: int | None = None

    def __str__(self) -> str:
        """Return a name of it for people."""
        schema = "" if self.schema_id is None else f" with schema id {self.schema_id}"
        name = {"json": "JSON", "avro": "Avro", "protobuf": "Protobuf"}.get(self.encoding or "", self.encoding)
        around = "" if self.framing is None else f" ({self.framing})"
        return f"{name or 'nothing'}{schema}{around}"


def seen_in(records: Iterable[InputRecord]) -> Counter[Seen]:
    """Count what the values are; tombstones are left out, and most of a large sample is."""
    values = [record.value for record in records if record.value is not None]
    return Counter(map(seen, values[:: max(1, len(values) // _ENOUGH)]))


def seen(value: bytes) -> Seen:
    """Return what one value is."""
    around: list[str] = []
    if value.startswith(b"\x1f\x8b"):
        around.append("gzip")
        try:
            value = unpacked(value)
        except ValueError:
            return Seen(encoding="damaged gzip data")
    framed = unframe(value)
    try:
        whole = decode_payload(value)
    except (ValueError, RecursionError):
        what = describe_payload(value)
        if framed is not None and what is not None and "schema id" in what:
            encoding = "protobuf" if _is_protobuf(framed.payload) else "avro"
            return Seen(encoding=encoding, framing=_joined([*around, "confluent"]), schema_id=framed.schema_id)
        return Seen(encoding=what or "unknown bytes", framing=_joined(around))
    schema_id = None if framed is None else framed.schema_id
    content = value if framed is None else framed.payload
    around += [] if framed is None else ["confluent"]
    around += ["bom"] if content.startswith(_BOM) else []
    around += _inside(content.removeprefix(_BOM), whole)
    return Seen(encoding="json", framing=_joined(around), schema_id=schema_id)


def _inside(content: bytes, whole: Any) -> Iterator[str]:
    if content.lstrip().startswith(b'"'):
        yield "json in text"
    if isinstance(whole, list):
        try:
            json.decode(content)
        except ValueError:
            yield "json lines"
        else:
            yield "json list"


def _joined(around: Sequence[str]) -> str | None:
    return ", ".join(around) or None


def _is_protobuf(payload: bytes) -> bool:
    """Return whether bytes are a message's indexes and then fields to the very end, as no Avro record is by luck.

    Source: https://protobuf.dev/programming-guides/encoding/
    """
    try:
        count, at = _varint(payload, 0)
        for _ in range(count >> 1):  # zigzag; 0 = the first message, without an index
            _, at = _varint(payload, at)
        while at < len(payload):
            tag, at = _varint(payload, at)
            if tag >> 3 == 0:
                return False
            at = _skip(payload, at, tag & 7)
    except (IndexError, KeyError):
        return False
    return at == len(payload)


def _skip(payload: bytes, at: int, wire_type: int) -> int:
    if wire_type == 0:
        return _varint(payload, at)[1]
    if wire_type == 2:
        length, at = _varint(payload, at)
        return at + length
    return at + _WIRE_LENGTHS[wire_type]


def _varint(payload: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = payload[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
