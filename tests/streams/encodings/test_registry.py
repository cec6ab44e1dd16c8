import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.schema_registry import SchemaRegistryError

from streams.encodings.avro import Reference
from streams.encodings.errors import RegistryUnavailableError, SchemaError
from streams.encodings.registry import SchemaRegistry, WriterSchema

CLICK = json.dumps({"type": "record", "name": "Click", "fields": [{"name": "visitor_id", "type": "string"}]})
AWAY = ConnectionError("connection refused")
RegistryOf = Callable[..., SchemaRegistry]


def test_a_schema_comes_with_what_it_refers_to_in_order(client: Any, registry_of: RegistryOf) -> None:
    """Each reference stands behind what it refers to itself, once."""
    client.add("a", '{"type": "record", "name": "A", "fields": []}')
    client.add("b", '{"type": "record", "name": "B", "fields": [{"name": "a", "type": "A"}]}', references=(("A", "a"),))
    text = '{"type": "record", "name": "C", "fields": [{"name": "a", "type": "A"}, {"name": "b", "type": "B"}]}'
    schema_id = client.add("c", text, references=(("B", "b"), ("A", "a")))
    found = registry_of().schema(schema_id)
    assert (found.kind, found.text, [reference.name for reference in found.references]) == ("AVRO", text, ["A", "B"])


def test_a_schema_that_was_seen_needs_no_registry_after_a_restart(
    client: Any, registry_of: RegistryOf, tmp_path: Path
) -> None:
    """It is kept in the worker's folder; a damaged file is asked for anew."""
    schema_id = client.add("clicks-value", CLICK)
    registry_of(tmp_path).schema(schema_id)
    client.trouble = AWAY
    assert registry_of(tmp_path).schema(schema_id) == WriterSchema("AVRO", CLICK)
    (kept,) = tmp_path.rglob("*.json")
    kept.write_bytes(b"{")
    with pytest.raises(RegistryUnavailableError):
        registry_of(tmp_path).schema(schema_id)


def test_what_one_registry_said_is_not_taken_for_anothers(client: Any, registry_of: RegistryOf, tmp_path: Path) -> None:
    """Each registry counts its ids by itself: a worker that moves to another one asks that."""
    schema_id = client.add("clicks-value", CLICK)
    registry_of(tmp_path).schema(schema_id)
    client.trouble = AWAY
    with pytest.raises(RegistryUnavailableError):
        registry_of(tmp_path, url="http://other:8081").schema(schema_id)


def test_a_folder_that_cannot_be_written_costs_nothing_but_memory(
    client: Any, registry_of: RegistryOf, tmp_path: Path
) -> None:
    """The schema is used all the same."""
    (tmp_path / "file").write_text("")
    schema_id = client.add("clicks-value", CLICK)
    assert registry_of(tmp_path / "file").schema(schema_id).text == CLICK


@pytest.mark.parametrize("code", [40401, 40402, 40403])
def test_an_id_that_the_registry_does_not_know_is_final(client: Any, registry_of: RegistryOf, code: int) -> None:
    """The registry has spoken: no waiting will bring that schema."""
    client.trouble = SchemaRegistryError(404, code, "not found")
    with pytest.raises(SchemaError, match="does not know schema id 42"):
        registry_of().schema(42)


@pytest.mark.parametrize(
    "trouble",
    [
        AWAY,
        TimeoutError(),
        SchemaRegistryError(404, -1, "<html>"),
        SchemaRegistryError(404, 404, "HTTP 404 Not Found"),
        SchemaRegistryError(401, 401, "unauthorized"),
        SchemaRegistryError(403, 40301, "forbidden"),
        SchemaRegistryError(500, 50001, "store"),
        SchemaRegistryError(503, -1, "starting"),
        ValueError("no JSON"),
    ],
)
def test_anything_else_says_nothing_about_the_schema(client: Any, registry_of: RegistryOf, trouble: Exception) -> None:
    """A wrong address, a missing right or an outage must not make dead letters of good clicks."""
    client.trouble = trouble
    with pytest.raises(
        RegistryUnavailableError, match=r"registry:8081 gave no answer for schema id 42: .*registry\.url"
    ):
        registry_of().schema(42)


def test_a_schema_of_an_unknown_kind_is_refused(client: Any, registry_of: RegistryOf) -> None:
    """Registries may hold more kinds than are read."""
    schema_id = client.add("x", "<schema/>", kind="XSD")
    with pytest.raises(SchemaError, match="XSD"):
        registry_of().schema(schema_id)


def test_a_schema_is_registered_once_and_looked_up_afterwards(client: Any, registry_of: RegistryOf) -> None:
    """Where it is registered already, the right to register is not needed."""
    first = registry_of().register("clicks-value", CLICK)
    assert client.asked == ["lookup_schema", "register_schema"]
    assert registry_of().register("clicks-value", CLICK) == first
    assert client.asked == ["lookup_schema", "register_schema", "lookup_schema"]


def test_a_schema_that_the_registry_refuses_is_said(client: Any, registry_of: RegistryOf) -> None:
    """Incompatible with what is registered there: a person must decide. Else the registry is away."""
    client.trouble = SchemaRegistryError(409, 409, "incompatible")
    with pytest.raises(SchemaError, match="refuses the schema of subject clicks-value"):
        registry_of().register("clicks-value", CLICK)
    client.trouble = AWAY
    with pytest.raises(RegistryUnavailableError):
        registry_of().register("clicks-value", CLICK)


def test_references_become_files_of_the_kept_schema(client: Any, registry_of: RegistryOf, tmp_path: Path) -> None:
    """A restart without the registry has them, too."""
    client.add("item", 'syntax = "proto3"; message Item { string id = 1; }', kind="PROTOBUF")
    text = 'syntax = "proto3"; import "item.proto"; message Click { Item item = 1; }'
    schema_id = client.add("click", text, kind="PROTOBUF", references=(("item.proto", "item"),))
    registry_of(tmp_path).schema(schema_id)
    client.trouble = AWAY
    (reference,) = registry_of(tmp_path).schema(schema_id).references
    assert isinstance(reference, Reference)
    assert reference.name == "item.proto"
