import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastavro
import pytest

from schemas.errors import UsageError
from schemas.framing import frame
from schemas.payload import decode_payload
from streams.encodings.decoder import FileDecoder, RegistryDecoder
from streams.encodings.errors import RegistryUnavailableError
from streams.encodings.registry import SchemaRegistry
from streams.encodings.settings import EncodingSettings
from tests.builders.clocks import HandClock

RegistryOf = Callable[..., SchemaRegistry]
AWAY = ConnectionError("connection refused")
PROTO = 'syntax = "proto3"; package shop; message Click { string visitor_id = 1; } message Order { string id = 1; }'


def click_schema(*fields: str) -> str:
    """Describe a click with these text fields."""
    described = [{"name": name, "type": "string"} for name in fields]
    return json.dumps({"type": "record", "name": "Click", "fields": described})


def avro(schema: str, **fields: str) -> bytes:
    """Write a value as a producer does."""
    content = io.BytesIO()
    fastavro.schemaless_writer(content, fastavro.parse_schema(json.loads(schema)), fields)
    return content.getvalue()


def test_each_value_is_decoded_by_its_own_writers_schema(client: Any, registry_of: RegistryOf) -> None:
    """Old and new values lie side by side on a topic: a new field appears, nothing breaks."""
    old, new = click_schema("visitor_id"), click_schema("visitor_id", "campaign")
    old_id, new_id = client.add("clicks-value", old), client.add("clicks-value", new)
    decoder = RegistryDecoder(registry_of(), decode_payload)
    assert decoder.decode(frame(new_id, avro(new, visitor_id="v2", campaign="spring"))) == {
        "visitor_id": "v2",
        "campaign": "spring",
        "@type": "Click",
    }
    assert decoder.decode(frame(old_id, avro(old, visitor_id="v1"))) == {"visitor_id": "v1", "@type": "Click"}


def test_the_registry_says_what_kind_a_value_is(client: Any, registry_of: RegistryOf) -> None:
    """A topic that moves from one kind to another, or to JSON without a frame, is read through the move."""
    proto_id = client.add("p", PROTO, kind="PROTOBUF")
    json_id = client.add("j", '{"type": "object"}', kind="JSON")
    decoder = RegistryDecoder(registry_of(), decode_payload)
    assert decoder.decode(frame(proto_id, b"\x02\x02\x0a\x02o1")) == {"id": "o1", "@type": "shop.Order"}
    assert decoder.decode(frame(json_id, b'{"visitor_id": "v1"}')) == {"visitor_id": "v1"}
    assert decoder.decode(b'{"visitor_id": "v1"}') == {"visitor_id": "v1"}


def test_the_registry_is_asked_once_for_an_id(client: Any, registry_of: RegistryOf) -> None:
    """An id means the same schema for ever."""
    schema = click_schema("visitor_id")
    value = frame(client.add("clicks-value", schema), avro(schema, visitor_id="v1"))
    decoder = RegistryDecoder(registry_of(), decode_payload)
    assert decoder.missing(value) == 1
    for _ in range(3):
        decoder.decode(value)
    assert client.asked == ["get_schema"]
    assert decoder.missing(value) is None


def test_an_unknown_id_has_a_reason_and_is_asked_for_again_after_a_minute(client: Any, registry_of: RegistryOf) -> None:
    """A flood of such values asks once a minute; a schema that comes late, by a slow replica, is found then."""
    clock = HandClock()
    decoder = RegistryDecoder(registry_of(), decode_payload, clock)
    schema = click_schema("visitor_id")
    value = frame(1, avro(schema, visitor_id="v1"))
    for _ in range(3):
        with pytest.raises(ValueError, match="schema id 1: the schema registry does not know schema id 1"):
            decoder.decode(value)
    assert client.asked == ["get_schema"]
    client.add("clicks-value", schema)
    clock.now = 59
    assert decoder.missing(value) is None
    clock.now = 60
    assert decoder.missing(value) == 1
    decoder.learn(1)
    assert decoder.decode(value) == {"visitor_id": "v1", "@type": "Click"}


def test_a_schema_that_cannot_be_used_is_not_tried_again(client: Any, registry_of: RegistryOf) -> None:
    """Its values are refused with the reason, without compiling it each time."""
    schema_id = client.add("p", 'syntax = "proto3"; import "missing.proto"; message Click {}', kind="PROTOBUF")
    clock = HandClock()
    decoder = RegistryDecoder(registry_of(), decode_payload, clock)
    with pytest.raises(ValueError, match=r"missing\.proto"):
        decoder.decode(frame(schema_id, b"\x00"))
    clock.now = 1e9
    assert decoder.missing(frame(schema_id, b"\x00")) is None


def test_a_registry_that_is_away_makes_no_bad_value(client: Any, registry_of: RegistryOf) -> None:
    """That is no ValueError, which would be a dead letter; the value can be decoded once the registry is back."""
    schema = click_schema("visitor_id")
    value = frame(client.add("clicks-value", schema), avro(schema, visitor_id="v1"))
    decoder = RegistryDecoder(registry_of(), decode_payload)
    client.trouble = AWAY
    with pytest.raises(RegistryUnavailableError):
        decoder.decode(value)
    client.trouble = None
    assert decoder.decode(value) == {"visitor_id": "v1", "@type": "Click"}


@pytest.mark.parametrize("framing", ["confluent", "none"])
def test_a_schema_file_does_without_a_registry(tmp_path: Path, framing: Any) -> None:
    """Every value is of one schema, behind a frame or bare."""
    schema, file = click_schema("visitor_id"), tmp_path / "click.avsc"
    file.write_text(schema)
    decoder = FileDecoder("encoding", EncodingSettings(format="avro", framing=framing, schema_file=file))
    payload = avro(schema, visitor_id="v1")
    value = payload if framing == "none" else frame(7, payload)
    assert decoder.missing(value) is None
    assert decoder.decode(value) == {"visitor_id": "v1", "@type": "Click"}


def test_a_protobuf_file_reads_both_framings(tmp_path: Path) -> None:
    """Confluent's frame has message indexes, which a bare message has not."""
    file = tmp_path / "click.proto"
    file.write_text(PROTO)
    framed = FileDecoder("encoding", EncodingSettings(format="protobuf", schema_file=file))
    assert framed.decode(frame(7, b"\x02\x02\x0a\x02o1")) == {"id": "o1", "@type": "shop.Order"}
    bare = EncodingSettings(format="protobuf", framing="none", schema_file=file, message="shop.Order")
    assert FileDecoder("encoding", bare).decode(b"\x0a\x02o1") == {"id": "o1", "@type": "shop.Order"}


def test_a_bare_value_where_a_frame_is_expected_is_refused_with_the_remedy(tmp_path: Path) -> None:
    """The setting that would read it is named."""
    (tmp_path / "click.avsc").write_text(click_schema("visitor_id"))
    decoder = FileDecoder("encoding", EncodingSettings(format="avro", schema_file=tmp_path / "click.avsc"))
    with pytest.raises(ValueError, match="framing must be none"):
        decoder.decode(b"\x04v1")


def test_a_file_that_is_no_schema_is_a_wrong_setting(tmp_path: Path) -> None:
    """The message names the key and the file."""
    for name, kind in (("a.avsc", "avro"), ("a.proto", "protobuf"), ("a.desc", "protobuf")):
        file = tmp_path / name
        file.write_bytes(b"\xff nonsense")
        with pytest.raises(UsageError, match=rf"catalog\.encoding\.schema_file .*{name}: "):
            FileDecoder("catalog.encoding", EncodingSettings(format=kind, schema_file=file))  # type: ignore[arg-type]
