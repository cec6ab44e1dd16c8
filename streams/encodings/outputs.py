"""Output records in Avro, framed with the id under which their schema is registered."""

import io
from collections.abc import Mapping
from typing import Any, Final

import fastavro
import msgspec

from schemas import avro_schema
from schemas.framing import frame
from streams.cluster.topics import TOPICS, Topic, TopicSettings
from streams.encodings.registry import SchemaRegistry

_RECORDS: Final[Mapping[Topic, type[msgspec.Struct]]] = {
    topic: facts.record for topic, facts in TOPICS.items() if facts.record is not None
}


class AvroOutputs:
    """Encodes the records of the output topics; `register` comes first."""

    def __init__(self, registry: SchemaRegistry, topics: TopicSettings) -> None:
        self._registry = registry
        self._topics = topics
        self._ids: dict[type[msgspec.Struct], int] = {}
        self._schemas = {struct: fastavro.parse_schema(avro_schema.schema_of(struct)) for struct in _RECORDS.values()}

    def register(self) -> None:
        """Register each topic's schema as `TOPIC-value`, or find it there; waits for the registry.

        A record that lies in two topics is framed with the id of the first; a registry knows it by that wherever it is.
        Raises SchemaError where the registry refuses one, RegistryUnavailableError where it does not answer.
        """
        for topic, struct in _RECORDS.items():
            text = msgspec.json.encode(avro_schema.schema_of(struct)).decode()
            self._ids.setdefault(struct, self._registry.register(f"{self._topics.name(topic)}-value", text))

    def encode(self, record: msgspec.Struct) -> bytes:
        """Serialise an output record, as `schemas.wire.encode` does in JSON."""
        content = io.BytesIO()
        fastavro.schemaless_writer(content, self._schemas[type(record)], _fields(record))
        return frame(self._ids[type(record)], content.getvalue())


def _fields(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return {name: _fields(getattr(value, name)) for name in value.__struct_fields__}
    return [_fields(inner) for inner in value] if isinstance(value, list | tuple) else value
