import json

import fastavro
import pytest

from schemas.avro_schema import OUTPUTS, SCHEMA_DIRECTORY, generate
from schemas.json_schema import RECORDS


@pytest.mark.parametrize("name", OUTPUTS)
def test_published_schema_equals_the_structs(name: str) -> None:
    """The committed Avro schema is what the structs generate; `make schemas` writes it."""
    assert (SCHEMA_DIRECTORY / f"{name}.avsc").read_bytes() == generate(name)


def test_no_schema_is_published_without_an_output() -> None:
    """Every committed schema file belongs to an output record."""
    assert {path.stem for path in SCHEMA_DIRECTORY.glob("*.avsc")} == set(OUTPUTS)


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_schema_has_the_fields_of_its_record_and_is_one(name: str) -> None:
    """A library reads the schema, and its fields are the record's in the same order."""
    schema = fastavro.parse_schema(json.loads(generate(name)))
    assert isinstance(schema, dict)
    assert [field["name"] for field in schema["fields"]] == list(RECORDS[name].__struct_fields__)


@pytest.mark.parametrize("name", OUTPUTS)
def test_what_may_be_absent_has_a_default(name: str) -> None:
    """A consumer with an older schema, and a registry that checks, accept what a later version adds."""
    for field in json.loads(generate(name))["fields"]:
        assert ("default" in field) == (field["name"] in _optional(name))


def _optional(name: str) -> set[str]:
    struct = RECORDS[name]
    return set(struct.__struct_fields__) - set(json.loads(_json_schema(name))["required"])


def _json_schema(name: str) -> bytes:
    path = SCHEMA_DIRECTORY.parent / "json" / f"{name}.json"
    document = json.loads(path.read_bytes())
    return json.dumps(document["$defs"][RECORDS[name].__name__]).encode()
