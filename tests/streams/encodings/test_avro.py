import io
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.encodings.avro import MAX_RECURSIVE_BYTES, AvroSchema, Reference
from streams.encodings.errors import SchemaError


def record(name: str, **fields: Any) -> dict[str, Any]:
    """Describe a record with these fields and types."""
    return {"type": "record", "name": name, "fields": [{"name": key, "type": kind} for key, kind in fields.items()]}


def written(schema: Any, value: Any) -> bytes:
    """Write a value as a producer does."""
    content = io.BytesIO()
    fastavro.schemaless_writer(content, fastavro.parse_schema(schema), value)
    return content.getvalue()


def read(schema: Any, value: Any) -> Any:
    """Read what a producer wrote."""
    return AvroSchema(json.dumps(schema)).decode(written(schema, value))


def test_a_record_becomes_builtin_objects_and_says_which_it_is() -> None:
    """Nested records, lists, maps, enums and absent fields are what a mapping can walk through."""
    schema = record(
        "shop.Click",
        kind={"type": "enum", "name": "Kind", "symbols": ["VIEW", "CART"]},
        item=["null", record("Item", id="string", price="double")],
        tags={"type": "array", "items": "string"},
        counts={"type": "map", "values": "long"},
        coupon=["null", "string"],
    )
    value = {"kind": "CART", "item": {"id": "i1", "price": 9.5}, "tags": ["a"], "counts": {"b": 2}, "coupon": None}
    assert read(schema, value) == {**value, "@type": "shop.Click"}


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ({"type": "long", "logicalType": "timestamp-millis"}, datetime(2026, 1, 2, tzinfo=UTC), 1_767_312_000_000),
        ({"type": "long", "logicalType": "timestamp-micros"}, datetime(2026, 1, 2, tzinfo=UTC), 1_767_312_000_000),
        ({"type": "long", "logicalType": "timestamp-nanos"}, 1_767_312_000_000_000_000, 1_767_312_000_000),
        ({"type": "long", "logicalType": "local-timestamp-millis"}, datetime(2026, 1, 2, 3), "2026-01-02T03:00:00"),  # noqa: DTZ001
        ({"type": "int", "logicalType": "date"}, date(2026, 1, 2), "2026-01-02"),
        ({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}, Decimal("12.95"), 12.95),
        ("bytes", b"chair", "chair"),
        ("bytes", b"\xff\xfe", None),
        ("double", float("nan"), None),
    ],
)
def test_what_json_has_no_type_for_becomes_what_a_mapping_reads(kind: Any, value: Any, expected: object) -> None:
    """Moments are Unix milliseconds, local ones and dates ISO 8601, decimals numbers, bytes texts or nothing."""
    assert read(record("R", field=kind), {"field": value})["field"] == expected


@pytest.mark.parametrize("kind", ["timestamp-millis", "timestamp-micros", "local-timestamp-millis"])
def test_an_impossible_moment_does_not_cost_the_click(kind: str) -> None:
    """A moment beyond every calendar leaves the fields beside it readable."""
    plain = record("R", seen="long", item="string")
    payload = written(plain, {"seen": 2**62, "item": "i1"})
    schema = record("R", seen={"type": "long", "logicalType": kind}, item="string")
    decoded = AvroSchema(json.dumps(schema)).decode(payload)
    assert isinstance(decoded, dict)
    assert decoded["item"] == "i1"


def test_a_topic_of_several_records_says_which_one_each_is() -> None:
    """A union of referenced records, as multi-event topics have: `@type` is what a rule by event type reads."""
    references = [Reference("shop.View", json.dumps(record("shop.View", item="string")))]
    references += [Reference("shop.Cart", json.dumps(record("shop.Cart", item="string", first=["null", "shop.View"])))]
    schema = AvroSchema('["shop.View", "shop.Cart"]', references)
    assert schema.decode(b"\x00\x04i1") == {"item": "i1", "@type": "shop.View"}
    assert schema.decode(b"\x02\x04i1\x00") == {"item": "i1", "first": None, "@type": "shop.Cart"}


def test_records_without_a_namespace_keep_their_names() -> None:
    """Reading adds no namespace: what refers to a record by its bare name finds it."""
    schema = AvroSchema(
        json.dumps(record("Click", item="Item")), [Reference("Item", json.dumps(record("Item", id="string")))]
    )
    assert schema.decode(b"\x04i1") == {"item": {"id": "i1"}, "@type": "Click"}


def test_a_value_that_contains_itself_is_bounded() -> None:
    """Deep nesting cannot overflow the stack of the process: such values are read up to a size."""
    schema = AvroSchema(json.dumps(record("Node", next=["null", "Node"])))
    assert schema.decode(b"\x02\x00") == {"next": {"next": None}, "@type": "Node"}
    with pytest.raises(ValueError, match="RecursionError"):
        schema.decode(b"\x02" * (MAX_RECURSIVE_BYTES - 1) + b"\x00")
    with pytest.raises(ValueError, match="contains itself"):
        schema.decode(b"\x02" * 60_000)


def test_bytes_of_another_schema_are_refused() -> None:
    """Too few or too many bytes mean that the schema is not the writer's."""
    schema = AvroSchema(json.dumps(record("Click", item="string")))
    with pytest.raises(ValueError, match="2 bytes are left over"):
        schema.decode(b"\x04i1\x00\x00")
    with pytest.raises(ValueError, match="not what its Avro schema says"):
        schema.decode(b"\x64i1")
    with pytest.raises(ValueError, match="UnicodeDecodeError") as caught:
        schema.decode(b"\x10visitor\xff")
    assert "visitor" not in str(caught.value)  # it goes into the log


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(payload: bytes) -> None:
    """Nothing but ValueError comes out of a corrupt value."""
    schema = AvroSchema(
        json.dumps(
            record(
                "R",
                a=["null", "string"],
                b={"type": "array", "items": "long"},
                c={"type": "int", "logicalType": "date"},
            )
        )
    )
    try:
        schema.decode(payload)
    except ValueError as error:
        assert str(error)  # noqa: PT017 - reading them is as good


@pytest.mark.parametrize("text", ["", "{}", '{"type": "nonsense"}', '"shop.Missing"', "[1]"])
def test_what_is_no_schema_is_said(text: str) -> None:
    """A schema that cannot be used is one kind of error, whatever the library stumbles over."""
    with pytest.raises(SchemaError, match="not an Avro schema"):
        AvroSchema(text)
