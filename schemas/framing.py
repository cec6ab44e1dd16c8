"""Confluent's wire format: a zero byte and the id of the writer's schema before the value.

Source: https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#wire-format
"""

import struct
from typing import Final, NamedTuple

_MAGIC: Final = 0
_HEAD: Final = struct.Struct(">BI")


class Framed(NamedTuple):
    """A value and the registry's id of the schema that it was written by."""

    schema_id: int
    payload: bytes


def frame(schema_id: int, payload: bytes) -> bytes:
    """Put the frame before an encoded value."""
    return _HEAD.pack(_MAGIC, schema_id) + payload


def unframe(value: bytes) -> Framed | None:
    """Take the frame off; None where the value has none. Only its first byte tells, so other binary may look framed."""
    if len(value) < _HEAD.size or value[0] != _MAGIC:
        return None
    return Framed(_HEAD.unpack_from(value)[1], value[_HEAD.size :])
