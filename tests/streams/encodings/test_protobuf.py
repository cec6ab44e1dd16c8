from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.encodings.avro import Reference
from streams.encodings.errors import SchemaError
from streams.encodings.protobuf import ProtobufSchema, compiled, from_file

CLICK = """
syntax = "proto3";
package shop;
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
import "google/type/money.proto";
import "shop/item.proto";

enum Kind { KIND_UNSPECIFIED = 0; KIND_VIEW = 1; KIND_CART = 2; }

message Click {
  string visitor_id = 1;
  Kind kind = 2;
  google.protobuf.Timestamp at = 3;
  repeated Line lines = 4;
  map<string, int64> counts = 5;
  optional int32 quantity = 6;
  google.protobuf.StringValue coupon = 7;
  bytes token = 8;
  google.type.Money total = 9;
  oneof target { Item item = 10; string page = 11; }

  message Line { string item_id = 1; double price = 2; }
}

message Order { string visitor_id = 1; }
"""
ITEM = Reference("shop/item.proto", 'syntax = "proto3"; package shop; message Item { string id = 1; }')


@pytest.fixture(scope="module")
def schema() -> ProtobufSchema:
    """Compile the schema of clicks once."""
    return ProtobufSchema(compiled(CLICK, [ITEM]))


def click(schema: ProtobufSchema, **fields: Any) -> Any:
    """Make a message as a producer does."""
    return schema._first(**fields)


def test_a_message_becomes_builtin_objects_by_the_names_of_the_proto_file(schema: ProtobufSchema) -> None:
    """Moments are milliseconds, enums their names, 64-bit numbers numbers; a oneof has the field that was set."""
    message = click(schema, visitor_id="v1", kind=2, counts={"a": 2**40}, token=b"\xff", quantity=0)
    message.at.FromMilliseconds(1_767_312_000_123)
    message.lines.add(item_id="i1", price=9.5)
    message.coupon.value = "spring"
    message.item.id = "i2"
    assert schema.decode(message.SerializeToString()) == {
        "visitor_id": "v1",
        "kind": "KIND_CART",
        "at": 1_767_312_000_123,
        "lines": [{"item_id": "i1", "price": 9.5}],
        "counts": {"a": 2**40},
        "quantity": 0,
        "coupon": "spring",
        "token": None,
        "item": {"id": "i2"},
        "@type": "shop.Click",
    }


def test_what_was_not_sent_is_absent_or_has_the_default_of_proto3(schema: ProtobufSchema) -> None:
    """Messages, oneofs and `optional` fields tell whether they were sent; the rest have their defaults."""
    assert schema.decode(b"") == {
        "visitor_id": "",
        "kind": "KIND_UNSPECIFIED",
        "lines": [],
        "counts": {},
        "token": "",
        "@type": "shop.Click",
    }


def test_an_enum_value_and_a_field_of_a_later_version_break_nothing(schema: ProtobufSchema) -> None:
    """Unknown fields are skipped, an unknown enum value is its number."""
    decoded = schema.decode(click(schema, kind=77).SerializeToString() + b"\xc2\x3e\x01x")
    assert isinstance(decoded, dict)
    assert decoded["kind"] == 77


@pytest.mark.parametrize(
    ("indexes", "name"),
    [
        (b"\x00", "shop.Click"),
        (b"\x02\x00", "shop.Click"),
        (b"\x02\x02", "shop.Order"),
        (b"\x04\x00\x00", "shop.Click.Line"),
    ],
)
def test_the_message_indexes_say_which_message_it_is(schema: ProtobufSchema, indexes: bytes, name: str) -> None:
    """A lone zero is the first message; a path leads into nested ones, past the entries that a map field makes."""
    decoded = schema.decode_indexed(indexes + b"\x0a\x02x1")
    assert isinstance(decoded, dict)
    assert decoded["@type"] == name


def test_the_message_that_a_setting_names_wins_over_the_indexes() -> None:
    """Without a registry the file may be another one than the producer's, with another order."""
    schema = ProtobufSchema(compiled(CLICK, [ITEM]), "shop.Order")
    assert schema.decode_indexed(b"\x00\x0a\x02v1") == {"visitor_id": "v1", "@type": "shop.Order"}
    assert schema.decode(b"\x0a\x02v1") == {"visitor_id": "v1", "@type": "shop.Order"}


@pytest.mark.parametrize("payload", [b"", b"\x80", b"\xff" * 9, b"\x02\x50", b"\x01", b"\x7e" + b"\x00" * 80])
def test_indexes_that_lead_nowhere_are_refused(schema: ProtobufSchema, payload: bytes) -> None:
    """Bytes that are no Protobuf in Confluent's frame have a readable reason."""
    with pytest.raises(ValueError, match="Protobuf"):
        schema.decode_indexed(payload)


@given(payload=st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(schema: ProtobufSchema, payload: bytes) -> None:
    """Nothing but ValueError comes out of a corrupt value."""
    try:
        schema.decode_indexed(payload)
    except ValueError as error:
        assert str(error)  # noqa: PT017 - reading them is as good


def test_a_file_may_be_text_or_descriptors(tmp_path: Path) -> None:
    """A .proto file finds its imports beside it; a descriptor set has them in it."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "item.proto").write_text(ITEM.text)
    (tmp_path / "click.proto").write_text(CLICK)
    (tmp_path / "click.desc").write_bytes(compiled(CLICK, [ITEM]).SerializeToString())
    for name in ("click.proto", "click.desc"):
        assert from_file(tmp_path / name, "shop.Order").decode(b"\x0a\x02v1") == {
            "visitor_id": "v1",
            "@type": "shop.Order",
        }


def test_what_is_no_schema_is_said(tmp_path: Path) -> None:
    """The compiler's words name the place; a missing import, a wrong file and an unknown message are said, too."""
    with pytest.raises(SchemaError, match=r"value\.proto:1:1: Expected"):
        compiled("nonsense")
    with pytest.raises(SchemaError, match=r"shop/item\.proto"):
        compiled(CLICK)
    with pytest.raises(SchemaError, match="imports"):
        compiled(CLICK, [Reference("../item.proto", ITEM.text)])
    with pytest.raises(SchemaError, match=r"shop\.Basket"):
        ProtobufSchema(compiled(CLICK, [ITEM]), "shop.Basket")
    with pytest.raises(SchemaError, match="not a Protobuf schema"):
        ProtobufSchema(compiled('syntax = "proto3"; enum Only { A = 0; }'))
    (tmp_path / "x.desc").write_bytes(b"\xff\xff")
    with pytest.raises(SchemaError, match="descriptor set"):
        from_file(tmp_path / "x.desc")
