"""From the bytes of a clickstream record to a ClickEvent, or to the reason why not."""

from dataclasses import dataclass
from typing import Literal

import msgspec

from schemas.events import ITEM_EVENT_TYPES, ClickEvent
from schemas.mapping import FieldMapping

RejectReason = Literal[
    "null_value",
    "too_large",
    "undecodable",
    "invalid_field",
    "missing_item",
    "absurd_time",
    "key_mismatch",
    "internal_error",
]

MAX_VALUE_BYTES = 64 * 1024
EARLIEST_TIME_MS = 788_918_400_000
"""1995-01-01: no shop's clickstream is older; earlier times are unit mistakes (seconds read as milliseconds)."""
LATEST_TIME_MS = 253_402_300_799_999
"""The end of the year 9999, the last moment that RFC 3339 can spell; producers set record timestamps, too."""
MAX_FUTURE_MS = 366 * 24 * 3600 * 1000
"""Further ahead of the record's timestamp than this is a unit mistake, not a skewed clock."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a record is dead-lettered."""

    reason: RejectReason
    detail: str


_decoder = msgspec.json.Decoder(ClickEvent)
_object_decoder = msgspec.json.Decoder(dict[str, object])


def parse_click(
    key: bytes | None, value: bytes | None, record_time_ms: int, mapping: FieldMapping
) -> ClickEvent | Rejection:
    """Decode and check one clickstream record.

    record_time_ms: the Kafka record's timestamp, Unix milliseconds.
    """
    if value is None:
        return Rejection("null_value", "the record has no value")
    if len(value) > MAX_VALUE_BYTES:
        return Rejection("too_large", f"the value has {len(value)} bytes, at most {MAX_VALUE_BYTES} are read")
    event = _decode(value, mapping)
    return event if isinstance(event, Rejection) else _check(event, key, record_time_ms)


def _decode(value: bytes, mapping: FieldMapping) -> ClickEvent | Rejection:
    try:
        if mapping.is_identity:
            return _decoder.decode(value)
        fields = mapping.apply(_object_decoder.decode(value))
        return msgspec.convert(fields, ClickEvent)
    except msgspec.ValidationError as error:
        return Rejection("invalid_field", str(error))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Rejection("undecodable", str(error))
    except ValueError as error:
        return Rejection("invalid_field", str(error))


def _check(event: ClickEvent, key: bytes | None, record_time_ms: int) -> ClickEvent | Rejection:
    if key != event.visitor_id.encode():
        return Rejection(
            "key_mismatch", "the record key is not the visitor_id; check the producer's key and partitioner"
        )
    if event.event_type in ITEM_EVENT_TYPES and event.item_id is None:
        return Rejection("missing_item", f"a {event.event_type} event needs an item_id")
    if not EARLIEST_TIME_MS <= event.event_time_ms <= min(record_time_ms + MAX_FUTURE_MS, LATEST_TIME_MS):
        return Rejection("absurd_time", f"event_time {event.event_time_ms} ms is no time of a click; check its unit")
    return event
