"""Records that are no JSON, as shops with a schema registry write them; contents made by hand."""

import base64
import json
from pathlib import Path

from schemas.click_reader import ClickReader, Clicks
from schemas.events import ClickEvent
from schemas.ids import ItemId, VisitorId
from schemas.mapping import FieldMapping
from streams.encodings.decoder import FileDecoder
from streams.encodings.settings import EncodingSettings

AVRO_SCHEMA = {
    "type": "record",
    "name": "Click",
    "fields": [
        {"name": "visitor_id", "type": "string"},
        {"name": "event_type", "type": "string"},
        {"name": "event_time", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "item_id", "type": "string"},
    ],
}
AVRO_VALUE = base64.b64decode("AAAAAAcEdjEIdmlld4C0sIa/aApjaGFpcg==")
PROTO_SCHEMA = """
syntax = "proto3";
package shop;
import "google/protobuf/timestamp.proto";
enum Kind { KIND_UNSPECIFIED = 0; KIND_PRODUCT_VIEW = 1; }
message Click { string visitor = 1; Kind kind = 2; google.protobuf.Timestamp at = 3; repeated Line lines = 4; }
message Line { string sku = 1; }
"""
CLICK = ClickEvent(visitor_id=VisitorId("v1"), event_type="view", event_time=1_795_168_800_000, item_id=ItemId("chair"))


def test_avro_with_a_schema_id_is_read_by_a_schema_file(tmp_path: Path) -> None:
    """E2: Confluent's frame with schema id 7, and the schema beside it."""
    file = tmp_path / "click.avsc"
    file.write_text(json.dumps(AVRO_SCHEMA))
    decoder = FileDecoder("clickstream.encoding", EncodingSettings(format="avro", schema_file=file))
    found = ClickReader(FieldMapping(), decoder.decode).read(b"v1", AVRO_VALUE, CLICK.event_time_ms)
    assert found == Clicks((CLICK,))


def test_protobuf_with_a_schema_id_is_read_by_a_schema_file(tmp_path: Path) -> None:
    """The mapping walks through messages, enums and lists as through JSON."""
    file = tmp_path / "click.proto"
    file.write_text(PROTO_SCHEMA)
    decoder = FileDecoder("clickstream.encoding", EncodingSettings(format="protobuf", schema_file=file))
    mapping = FieldMapping(
        paths={"visitor_id": "visitor", "event_type": "kind", "event_time": "at", "item_id": "lines[].sku"},
        values={"event_type": {"KIND_PRODUCT_VIEW": "view"}},
    )
    message = b"\x0a\x02v1" + b"\x10\x01" + b"\x1a\x06\x08" + _varint(1_795_168_800) + b"\x22\x07\x0a\x05chair"
    value = b"\x00\x00\x00\x00\x08" + b"\x00" + message
    found = ClickReader(mapping, decoder.decode).read(b"v1", value, CLICK.event_time_ms)
    assert found == Clicks((CLICK,))


def _varint(number: int) -> bytes:
    groups = []
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*groups, number])
