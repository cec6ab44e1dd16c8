"""The record key of a shop's event, for streams that are keyed by something else."""

import msgspec

from schemas.events import MAX_ID_LENGTH
from schemas.mapping import FieldMapping
from schemas.validation import MAX_VALUE_BYTES, Rejection

_decoder = msgspec.json.Decoder(dict[str, object])


def visitor_key(value: bytes | None, mapping: FieldMapping) -> bytes | Rejection:
    """Find the visitor_id in an event's JSON; whether the rest of the event is good is not asked."""
    if value is None:
        return Rejection("null_value", "the record has no value")
    if len(value) > MAX_VALUE_BYTES:
        return Rejection("too_large", f"the value has {len(value)} bytes, at most {MAX_VALUE_BYTES} are read")
    try:
        visitor_id = mapping.visitor_id(_decoder.decode(value))
    except msgspec.ValidationError as error:
        return Rejection("invalid_field", str(error))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Rejection("undecodable", str(error))
    if not isinstance(visitor_id, str) or not 0 < len(visitor_id) <= MAX_ID_LENGTH:
        return Rejection("invalid_field", f"visitor_id is no text of 1 to {MAX_ID_LENGTH} characters")
    return visitor_id.encode()
