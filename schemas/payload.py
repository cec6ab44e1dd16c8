"""From the bytes of a record's value to JSON objects, however they are wrapped.

Read without being told: a byte order mark, UTF-16 behind its own, gzip, Confluent's frame around JSON (magic byte and
schema id), JSON inside a JSON text, one JSON document a line, and the `NaN` and `Infinity` that Python and JavaScript
tools write. The frame:
https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#wire-format
"""

import json
import zlib
from typing import Any, Final

import msgspec

MAX_VALUE_BYTES: Final = 64 * 1024
MAX_UNPACKED_BYTES: Final = 256 * 1024
"""Of a gzipped value: what unpacks to more is refused without unpacking it."""

_BOM: Final = b"\xef\xbb\xbf"
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")
_GZIP: Final = b"\x1f\x8b"
_FRAME_BYTES: Final = {0: 5, 1: 17}
"""Length of Confluent's frame by its magic byte: a schema id of 4 bytes, or a GUID of 16."""
_MAX_NESTED_TEXTS: Final = 3
_decoder = msgspec.json.Decoder()


def decode_payload(value: bytes) -> Any:
    """Decode a value into builtin objects, a document a line into a list; raises ValueError that says what it is."""
    found = _decode_text(unframed(unpacked(value)))
    for _ in range(_MAX_NESTED_TEXTS):
        if not isinstance(found, str):
            break
        found = _decode_text(found.encode(errors="replace"))
    return found


def unpacked(value: bytes) -> bytes:
    """Unpack a gzipped value; another one is given back. Raises ValueError where it is damaged or too large."""
    if not value.startswith(_GZIP):
        return value
    plain, rest = b"", value
    while rest.startswith(_GZIP):  # a file may have several members, one behind the other
        unpacker = zlib.decompressobj(wbits=31)
        try:
            plain += unpacker.decompress(rest, MAX_UNPACKED_BYTES + 1 - len(plain))
        except zlib.error as error:
            raise ValueError(f"gzip data that is damaged ({error})") from error
        if len(plain) > MAX_UNPACKED_BYTES:
            raise ValueError(f"gzip data that unpacks to more than {MAX_UNPACKED_BYTES} bytes")
        if not unpacker.eof:
            raise ValueError("gzip data that ends too early")
        rest = unpacker.unused_data
    return plain


def unframed(value: bytes) -> bytes:
    """Take Confluent's frame off a value whose content is JSON, and a byte order mark."""
    if value[:1] in {b"\x00", b"\x01"}:
        content = value[_FRAME_BYTES[value[0]] :]
        if content.lstrip()[:1] in {b"{", b"[", b'"'}:
            return content
    return value.removeprefix(_BOM)


def _decode_text(value: bytes) -> Any:
    if value.startswith(_UTF_16):
        value = value.decode("utf-16").encode(errors="replace")
    if not value.strip():
        raise ValueError("nothing but blanks")
    try:
        return _decoder.decode(value)
    except RecursionError as error:
        raise ValueError("JSON that is nested too deeply") from error
    except ValueError as error:
        first = error
    for attempt in (_decoder.decode_lines, _decode_leniently):
        try:
            return attempt(value)
        except (ValueError, RecursionError):
            continue
    raise ValueError(f"no JSON ({first})") from first


def _decode_leniently(value: bytes) -> Any:
    """Decode what RFC 8259 forbids and tools write: NaN and Infinity, and halves of surrogate pairs."""
    text = value.decode()
    try:
        return json.loads(text)
    except ValueError:
        return [json.loads(line) for line in text.splitlines() if line.strip()]
