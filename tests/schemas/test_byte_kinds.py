import gzip
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.byte_kinds import describe_payload
from schemas.framing import frame

KINDS = {
    "Avro or Protobuf with schema id 42": frame(42, b"\x04v1\x08view"),
    "JSON with schema id 42": frame(42, b' {"visitor_id": "v1"}'),
    "gzip": gzip.compress(b"{}"),
    "zstd": b"\x28\xb5\x2f\xfd\x04\x00",
    "an LZ4 frame": b"\x04\x22\x4d\x18\x64",
    "Avro container": b"Obj\x01\x04\x14avro.codec",
    "single-object": b"\xc3\x01\x00\x01\x02\x03\x04\x05\x06\x07",
    "serialised Java object": b"\xac\xed\x00\x05sr\x00",
    "Python pickle": pickle.dumps({"visitor_id": "v1"}),
    "AWS Glue": b"\x03\x00" + bytes(range(16)),
    "MessagePack": b"\x82\xaavisitor_id\xa2v1\xa4type\xa4view",
    "CBOR": b"\xa1\x6avisitor_id\x62v1",
    "UTF-16": '{"visitor_id": "v1"}'.encode("utf-16-le"),
    "XML": b'\xef\xbb\xbf<?xml version="1.0"?><click/>',
    "CSV with semicolons": b"v1;view;2026-01-01T00:00:00Z;chair\n",
    "CSV with tabs": b"v1\tview\tchair",
    "query string": b"visitor=v1&type=view",
    "plain text": b"v1 looked at a chair",
    "Latin-1": "v1 sah einen Küchenstuhl".encode("latin-1"),
    "without a schema id": b"\x0a\x05v1234\x12\x04view\x1a\x05chair",
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_json_is_named(kind: str) -> None:
    """A person who looks at dead letters is told what the producer writes."""
    assert kind in (describe_payload(KINDS[kind]) or "")


def test_broken_json_and_noise_are_not_named() -> None:
    """JSON's own message says where it breaks; of noise nothing is claimed, nor of ids that no registry gives."""
    for value in (b"", b'{"visitor_id": ', b'["a"', b"\xff\xfa\x81\x99" * 4, frame(0xF0000000, b"\x01\x02\x03")):
        assert describe_payload(value) is None


@given(st.binary(max_size=200))
def test_no_bytes_are_too_odd(value: bytes) -> None:
    """Whatever the bytes, the answer is a text without line breaks, or none."""
    assert "\n" not in (describe_payload(value) or "")
