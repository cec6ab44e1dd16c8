import gzip
import json

import pytest

from agents.doctor.seen import Seen, seen, seen_in
from schemas.framing import frame
from schemas.state import InputPosition
from streams.records import InputRecord

EVENT = {"visitor_id": "v", "event_type": "view"}
JSON = json.dumps(EVENT).encode()
AVRO = b"\x02\x08anon\x0aview!\x00\x0a"
PROTOBUF = b"\x00\x0a\x04anon\x10\x96\x01\x1d\x00\x00\x80\x3f"


@pytest.mark.parametrize(
    ("value", "encoding", "framing", "schema_id"),
    [
        (JSON, "json", None, None),
        (b"\xef\xbb\xbf" + JSON, "json", "bom", None),
        (gzip.compress(JSON, mtime=0), "json", "gzip", None),
        (frame(42, JSON), "json", "confluent", 42),
        (gzip.compress(frame(42, JSON), mtime=0), "json", "gzip, confluent", 42),
        (json.dumps(JSON.decode()).encode(), "json", "json in text", None),
        (b"[" + JSON + b"]", "json", "json list", None),
        (JSON + b"\n" + JSON, "json", "json lines", None),
        (frame(42, AVRO), "avro", "confluent", 42),
        (frame(7, PROTOBUF), "protobuf", "confluent", 7),
        (b"\x1f\x8b\x08cut", "damaged gzip data", None, None),
        (b"<event/>", "XML", None, None),
    ],
)
def test_what_bytes_are_is_told(value: bytes, encoding: str, framing: str | None, schema_id: int | None) -> None:
    """Encoding, what is around it, and the registry's id."""
    assert seen(value) == Seen(encoding=encoding, framing=framing, schema_id=schema_id)


def test_it_is_named_for_a_person() -> None:
    """As in the first line of a proposal."""
    assert str(seen(frame(42, AVRO))) == "Avro with schema id 42 (confluent)"


def test_most_values_count_and_tombstones_do_not() -> None:
    """A topic may hold two kinds."""
    values = [JSON, JSON, None, frame(42, AVRO)]
    found = seen_in(InputRecord(InputPosition("t", 0, 0), None, value, 0) for value in values)
    assert [(one.encoding, count) for one, count in found.most_common()] == [("json", 2), ("avro", 1)]
