"""`asyncapi-3.0.0.json` is the official one: `schemas/3.0.0.json` of npm's @asyncapi/specs 6.11.1, Apache-2.0."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from agents.contracts.asyncapi import ASYNCAPI_FILE, generate
from agents.contracts.topic_contracts import CONTRACTS
from schemas.json_schema import RECORDS
from streams.cluster.topics import Topic

OFFICIAL_SCHEMA = Path(__file__).with_name("asyncapi-3.0.0.json")
IN_FILES = {"VisitorRecommendations"}
"""What `insession infer` writes: no topic has it."""


@pytest.fixture(scope="module")
def official() -> jsonschema.Draft7Validator:
    """Read the official schema of AsyncAPI 3.0 documents, Kafka bindings included."""
    return jsonschema.Draft7Validator(msgspec.json.decode(OFFICIAL_SCHEMA.read_bytes()))


@pytest.fixture
def document() -> Any:
    """Read the published document."""
    return msgspec.json.decode(ASYNCAPI_FILE.read_bytes())


def references(node: Any) -> Iterator[str]:
    """Yield every `$ref` in a document."""
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def resolve(document: Any, reference: str) -> Any:
    """Follow a reference inside the document."""
    node = document
    for name in reference.removeprefix("#/").split("/"):
        node = node[name]
    return node


def test_the_published_document_equals_the_structs() -> None:
    """The committed document is what the structs and topics generate; `make schemas` writes it."""
    assert ASYNCAPI_FILE.read_bytes() == generate()


def test_the_document_satisfies_the_official_schema(official: jsonschema.Draft7Validator, document: Any) -> None:
    """It is valid AsyncAPI 3.0 with valid Kafka bindings 0.5.0, by the specification's own JSON Schema."""
    assert [error.message for error in official.iter_errors(document)] == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("channels", "recommendations", "bindings", "kafka", "partitions"), 0),
        (("operations", "send-recommendations", "action"), "publish"),
        (("channels", "recommendations", "adress"), "recommendations"),
        (("components", "schemas", "RecommendationSet", "type"), 1),
    ],
)
def test_the_official_schema_is_in_force(
    official: jsonschema.Draft7Validator, document: Any, path: tuple[str, ...], value: object
) -> None:
    """A wrong binding, action, channel field or record schema would be found: no part goes unchecked."""
    broken = copy.deepcopy(document)
    *parents, last = path
    resolve(broken, "/".join(parents))[last] = value
    assert not official.is_valid(broken)


def test_every_reference_leads_somewhere(document: Any) -> None:
    """Channels, messages and schemas that are named are there."""
    found = set(references(document))
    assert len(found) > len(Topic)
    for reference in found:
        assert resolve(document, reference)


def test_every_topic_and_every_record_is_described(document: Any) -> None:
    """No topic has a channel missing, and no published JSON Schema of a record on a topic a message."""
    assert [contract.topic for contract in CONTRACTS] == list(document["channels"])
    assert set(document["channels"]) == set(Topic)
    described = set(document["components"]["schemas"])
    titles = {record.__name__ for record in RECORDS.values() if isinstance(record, type)} - IN_FILES
    titles |= {"Tick", "Erase", "Handover", "Adoption"}
    assert titles <= described
    assert set(document["components"]["messages"]) == titles | {"DeadLetter"}
