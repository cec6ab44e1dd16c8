"""What the bytes of a record are that is no JSON, told by how they begin: for a person, never for decoding."""

import codecs
from collections.abc import Callable
from typing import Final

from schemas.framing import unframe

_SHOWN: Final = 4096
"""The beginning says it; the rest of a large value need not be looked at."""
_LARGEST_LIKELY_ID: Final = 50_000_000
"""Registries count schema ids from 1 (Confluent Cloud from 100,000): larger ones are other binary with a zero byte."""
_BEGINNINGS: Final[tuple[tuple[bytes, str], ...]] = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x04\x22\x4d\x18", "an LZ4 frame"),
    (b"\x82SNAPPY\x00", "snappy, as xerial's library frames it"),
    (b"\xff\x06\x00\x00sNaPpY", "snappy, framed"),
    (b"BZh", "bzip2"),
    (b"PK\x03\x04", "a zip archive"),
    (b"Obj\x01", "an Avro container file with its schema inside; Kafka values hold single Avro records"),
    (b"\xc3\x01", "an Avro record in single-object encoding, which names its schema by a fingerprint"),
    (b"PAR1", "a Parquet file"),
    (b"ORC", "an ORC file"),
    (b"\xac\xed\x00\x05", "a serialised Java object"),
    (b"\x80\x02", "a Python pickle"),
    (b"\x80\x03", "a Python pickle"),
    (b"\x80\x04", "a Python pickle"),
    (b"\x80\x05", "a Python pickle"),
    (b"\x03\x00", "a record of the AWS Glue schema registry, or of one that frames alike"),
    (b"\x03\x05", "a compressed record of the AWS Glue schema registry"),
    (codecs.BOM_UTF32_LE, "text in UTF-32"),
    (codecs.BOM_UTF16_LE, "text in UTF-16"),
    (codecs.BOM_UTF16_BE, "text in UTF-16"),
)


def describe_payload(value: bytes) -> str | None:
    """Return what a value is that cannot be read as JSON, with its schema id where it has one; None = no idea.

    Returns part of a sentence, as in `Avro or Protobuf with schema id 42`; never content of the value.
    """
    shown = value[:_SHOWN]
    for beginning, kind in _BEGINNINGS:
        if shown.startswith(beginning):
            return kind
    return next(filter(None, (look(shown) for look in _LOOKS)), None)


def _framed(value: bytes) -> str | None:
    framed = unframe(value)
    if framed is None or not 0 < framed.schema_id <= _LARGEST_LIKELY_ID:
        return None
    kind = "JSON" if framed.payload.lstrip()[:1] in {b"{", b"["} else "Avro or Protobuf"
    return f"{kind} with schema id {framed.schema_id}"


def _wide_text(value: bytes) -> str | None:
    """Return whether it is UTF-16 without a mark: every other byte of Western text is zero."""
    pairs = value[: len(value) // 2 * 2]
    halves = pairs[::2], pairs[1::2]
    if len(pairs) >= 4 and any(not any(zeros) and all(texts) for zeros, texts in (halves, halves[::-1])):
        return "text in UTF-16"
    return None


def _packed(value: bytes) -> str | None:
    """Return whether it is a MessagePack or CBOR map whose first key is a text; nothing else in use begins so."""
    if len(value) < 3:
        return None
    first, second = value[0], value[1]
    if (0x80 < first <= 0x8F and 0xA0 < second <= 0xBF) or (first in {0xDE, 0xDF}):
        return "MessagePack"
    if (0xA0 < first <= 0xB7 and 0x60 < second <= 0x77) or (first == 0xBF and 0x60 < second <= 0x77):
        return "CBOR"
    return None


def _text(value: bytes) -> str | None:
    has_control = any(byte < 32 and byte not in b"\t\r\n" for byte in value)
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(value).strip()  # the cut may be within a character
    except UnicodeDecodeError:
        text = None
    if text is not None and not has_control:
        return _kind_of_text(text)
    if 2 * sum(32 <= byte < 127 for byte in value) <= len(value):
        return None
    if has_control:
        return "binary with texts in it, maybe Avro or Protobuf without a schema id"
    return "text that is no UTF-8, maybe Latin-1"


def _kind_of_text(text: str) -> str | None:
    line = text.splitlines()[0] if text else ""
    if line[:1] in {"{", "[", '"'}:
        return None  # JSON, if broken: its own message says where
    if line.startswith("<"):
        return "XML"
    for separator, name in ((",", "commas"), (";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        if line.count(separator) >= 2:
            return f"a line of CSV with {name}"
    if "=" in line and "&" in line:
        return "a query string, as of a web form"
    return "plain text" if line else None


_LOOKS: Final[tuple[Callable[[bytes], str | None], ...]] = (_wide_text, _framed, _packed, _text)
