import gzip
import json
from typing import Any

import pytest

from schemas.payload import MAX_UNPACKED_BYTES, decode_payload

EVENT = {"visitor_id": "v1", "price": 9.5}
PLAIN = json.dumps(EVENT).encode()


@pytest.mark.parametrize(
    "value",
    [
        PLAIN,
        b"  " + PLAIN + b"\n",
        b"\xef\xbb\xbf" + PLAIN,
        json.dumps(EVENT).encode("utf-16"),
        gzip.compress(PLAIN, mtime=0),
        gzip.compress(PLAIN[:9], mtime=0) + gzip.compress(PLAIN[9:], mtime=0),
        gzip.compress(b"\xef\xbb\xbf" + PLAIN, mtime=0),
        b"\x00\x00\x00\x00\x07" + PLAIN,
        b"\x01" + bytes(16) + PLAIN,
        json.dumps(json.dumps(EVENT)).encode(),
        json.dumps(json.dumps(json.dumps(EVENT))).encode(),
        b"\x00\x00\x00\x00\x07" + json.dumps(PLAIN.decode()).encode(),
    ],
)
def test_json_is_read_however_it_is_wrapped(value: bytes) -> None:
    """Nobody has to say how."""
    assert decode_payload(value) == EVENT


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_a_document_a_line_is_a_list(end: bytes) -> None:
    """As log shippers write them."""
    assert decode_payload(PLAIN + b"\n" + PLAIN + end) == [EVENT, EVENT]
    assert decode_payload(b'{"a": NaN}\n{"a": 1}' + end)[1] == {"a": 1}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (b"", "nothing"),
        (b" \n ", "nothing"),
        (b"\xff\xfe", "nothing"),
        (b"\x00\x00\x00\x00\x07\x04v1", "no JSON"),
        (b"\xff\xff", "no JSON"),
        (b"visitor=v1", "no JSON"),
        (gzip.compress(PLAIN, mtime=0)[:-9], "ends too early"),
        (b"\x1f\x8b\x08" + bytes(20), "gzip data"),
        (gzip.compress(bytes(MAX_UNPACKED_BYTES + 1), mtime=0), "unpacks to more"),
        (gzip.compress(b" " * MAX_UNPACKED_BYTES, mtime=0) + gzip.compress(PLAIN, mtime=0), "unpacks to more"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_no_json_is_told_in_a_sentence(value: bytes, said: str) -> None:
    """Never an exception of another kind, and never more memory than the bound."""
    with pytest.raises(ValueError, match=said):
        decode_payload(value)


@pytest.mark.parametrize(("text", "meaning"), [(b'{"a": Infinity}', float("inf")), (b'{"a": "\\ud800"}', "\ud800")])
def test_what_tools_write_against_the_standard_is_read(text: bytes, meaning: Any) -> None:
    """The field's own rules then say what becomes of it."""
    assert decode_payload(text) == {"a": meaning}
