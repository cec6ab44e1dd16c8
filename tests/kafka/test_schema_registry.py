"""Clicks as Confluent's own serializers write them, through a real registry and a real broker; outputs in Avro."""

import json
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from agents.upkeep.ledger import InputsAsked, keep_books
from schemas.framing import frame
from schemas.payload import decode_payload
from streams.cluster.topics import Topic
from streams.encodings.avro import Reference
from streams.encodings.decoder import RegistryDecoder
from streams.encodings.protobuf import ProtobufSchema, compiled
from streams.encodings.registry import SchemaRegistry
from streams.encodings.settings import RegistrySettings
from tests.conftest import where_kafka_is
from tests.kafka.deployment import NO_TICKS, Deploy, Deployment, NewRecord
from tests.kafka.registry_node import RegistryNode
from tests.kafka.worker_process import WorkerProcess

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

VISITOR = "v1"
FIELDS = [
    {"name": "visitor_id", "type": "string"},
    {"name": "event_type", "type": {"type": "enum", "name": "Kind", "symbols": ["view", "cart"]}},
    {"name": "event_time", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "item_id", "type": "string"},
]
CAMPAIGN = {"name": "campaign", "type": ["null", "string"], "default": None}
PROTO = """
syntax = "proto3";
package shop;
import "google/protobuf/timestamp.proto";
import "kind.proto";
message Ping { string host = 1; }
message Click {
  string visitor_id = 1;
  Kind event_type = 2;
  google.protobuf.Timestamp event_time = 3;
  string item_id = 4;
}
"""
KIND = 'syntax = "proto3"; package shop; enum Kind { none = 0; view = 1; }'


@pytest.fixture(scope="module")
def registry(kafka_tools: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryNode]:  # noqa: ARG001
    """Run one registry for the tests of this module."""
    with where_kafka_is(), RegistryNode(tmp_path_factory.mktemp("registry")) as node:
        yield node


@pytest.fixture
def client(registry: RegistryNode) -> Iterator[SchemaRegistryClient]:
    """Reach the registry as a shop's producers and consumers do."""
    with SchemaRegistryClient({"url": registry.url}) as client:
        yield client


class Producers:
    """The shop's producers, with Confluent's serializers."""

    def __init__(self, client: SchemaRegistryClient, topic: str) -> None:
        self._client = client
        self._context = SerializationContext(topic, MessageField.VALUE)

    def avro(self, item_id: str, *further_fields: dict[str, Any], **values: str) -> NewRecord:
        """Write a view by a schema with further fields, which is registered where it is new."""
        schema = json.dumps({"type": "record", "name": "Click", "fields": [*FIELDS, *further_fields]})
        click = {"visitor_id": VISITOR, "event_type": "view", "event_time": _now_ms(), "item_id": item_id, **values}
        value = AvroSerializer(self._client, schema)(click, self._context)
        return NewRecord(VISITOR.encode(), value)

    def protobuf(self, item_id: str) -> NewRecord:
        """Write a view as the second message of a file that refers to another subject."""
        self._client.register_schema("kind.proto", Schema(KIND, "PROTOBUF"))
        text = Schema(PROTO, "PROTOBUF", [SchemaReference("kind.proto", "kind.proto", 1)])
        schema_id = self._client.register_schema(f"{self._context.topic}-proto", text)
        schema = ProtobufSchema(compiled(PROTO, [Reference("kind.proto", KIND)]), "shop.Click")
        click = schema._first(visitor_id=VISITOR, event_type=1, item_id=item_id)
        click.event_time.FromMilliseconds(_now_ms())
        return NewRecord(VISITOR.encode(), frame(schema_id, b"\x02\x02" + click.SerializeToString()))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _environment(registry: RegistryNode, **changed: str) -> dict[str, str]:
    return {
        "INSESSION_REGISTRY__URL": registry.url,
        "INSESSION_REGISTRY__TIMEOUT": "1s",
        "INSESSION_CLICKSTREAM__ENCODING__FORMAT": "avro",
        **NO_TICKS,
        **changed,
    }


def _answers(deployment: Deployment, registry: RegistryNode) -> list[Any]:
    """Decode the answers as a consumer with the registry does."""
    decoder = RegistryDecoder(SchemaRegistry(RegistrySettings(url=registry.url)), decode_payload)
    topic = deployment.settings.topics.name(Topic.RECOMMENDATIONS)
    return [decoder.decode(record.value or b"") for record in deployment.reader.read(topic)]


def _letters(deployment: Deployment) -> list[dict[str, bytes]]:
    topic = deployment.settings.topics.name(Topic.DEAD_LETTERS)
    return [dict(record.headers) for record in deployment.reader.read(topic)]


def _running(deployment: Deployment, name: str = "a") -> WorkerProcess:
    worker = deployment.worker(name)
    worker.wait_until_ready()
    return worker


def test_every_kind_and_version_of_a_value_is_answered(
    deploy: Deploy, registry: RegistryNode, client: SchemaRegistryClient
) -> None:
    """Avro, its next version, Protobuf with a reference and plain JSON lie on one topic; an unknown id is a letter."""
    deployment = deploy(partitions=1, **_environment(registry))
    producers = Producers(client, deployment.settings.topics.name(Topic.CLICKSTREAM))
    worker = _running(deployment)
    click = {"visitor_id": VISITOR, "event_type": "view", "event_time": _now_ms(), "item_id": "i4"}
    records = [
        producers.avro("i1"),
        producers.avro("i2", CAMPAIGN, campaign="spring"),
        producers.protobuf("i3"),
        NewRecord(VISITOR.encode(), json.dumps(click).encode()),
        NewRecord(VISITOR.encode(), frame(999_999, b"\x04v1")),
        producers.avro("i5"),
    ]
    deployment.write(Topic.CLICKSTREAM, records)
    deployment.wait_until_committed(worker)
    assert [answer["status"] for answer in _answers(deployment, registry)] == ["answered"] * 5
    (letter,) = _letters(deployment)
    assert letter["__insession.errors.reason"] == b"undecodable"
    assert b"does not know schema id 999999" in letter["__insession.errors.message"]
    assert worker.end(signal.SIGTERM) == 0


def test_a_registry_that_hangs_loses_no_click_and_needs_no_restart(
    deploy: Deploy, registry: RegistryNode, client: SchemaRegistryClient
) -> None:
    """The worker waits with its input, alive and not ready; known schemas serve a worker that starts meanwhile."""
    deployment = deploy(partitions=1, **_environment(registry))
    producers = Producers(client, deployment.settings.topics.name(Topic.CLICKSTREAM))
    worker = _running(deployment)
    new_field = {"name": "referrer", "type": "string", "default": ""}
    known, unseen = producers.avro("i1"), producers.avro("i2", CAMPAIGN, new_field, campaign="c", referrer="r")
    deployment.write(Topic.CLICKSTREAM, [known])
    deployment.wait_until_committed(worker)
    assert worker.end(signal.SIGTERM) == 0
    registry.hang()
    try:
        worker = _running(deployment)
        deployment.write(Topic.CLICKSTREAM, [known])
        deployment.wait_until_committed(worker)
        deployment.write(Topic.CLICKSTREAM, [unseen, known])
        worker.wait_until(lambda: worker.metric("insession_schema_requests_total") >= 2, "the registry was asked twice")
        assert worker.page("/healthz").status == 200
        assert worker.page("/readyz").text.startswith("waiting for schema ")
        assert len(_answers(deployment, registry)) == 2
    finally:
        registry.go_on()
    deployment.wait_until_committed(worker)
    assert [answer["status"] for answer in _answers(deployment, registry)] == ["answered"] * 4
    assert _letters(deployment) == []
    assert worker.end(signal.SIGTERM) == 0


def test_outputs_in_avro_are_read_by_their_registered_schemas(
    deploy: Deploy, registry: RegistryNode, client: SchemaRegistryClient
) -> None:
    """A second worker finds the schemas of the first; CloudEvents and `insession ledger` know that they are Avro."""
    environment = _environment(registry, INSESSION_OUTPUTS__ENCODING="avro", INSESSION_HEADERS__CLOUD_EVENTS="always")
    deployment = deploy(partitions=1, **environment)
    topic = deployment.settings.topics.name(Topic.RECOMMENDATIONS)
    producers = Producers(client, deployment.settings.topics.name(Topic.CLICKSTREAM))
    for item_id in ("i1", "i2"):
        worker = _running(deployment)
        deployment.write(Topic.CLICKSTREAM, [producers.avro(item_id)])
        deployment.wait_until_committed(worker)
        assert worker.end(signal.SIGTERM) == 0
    first, second = _answers(deployment, registry)
    assert (first["@type"], first["status"], first["visitor_id"]) == (
        "insession.RecommendationSet",
        "answered",
        VISITOR,
    )
    assert second["id"] == f"{deployment.settings.topics.name(Topic.CLICKSTREAM)}-0-1"
    account = keep_books(deployment.settings, InputsAsked(since_ms=0), lambda _what, records, _total: records).total()
    assert (account.inputs, account.answered, account.lost) == (2, 2, 0)
    assert client.get_versions(f"{topic}-value") == [1]
    assert dict(deployment.reader.read(topic)[0].headers)["content-type"] == b"application/avro"
