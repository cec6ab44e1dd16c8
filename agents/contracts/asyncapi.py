"""AsyncAPI 3.0 of all topics, made from the structs: `python -m agents.contracts.asyncapi` writes it to docs/.

Source: https://www.asyncapi.com/docs/reference/specification/v3.0.0 and its Kafka bindings 0.5.0.
"""

from pathlib import Path
from typing import Any, Final

import msgspec

from agents.clicks.output_headers import event_type
from agents.contracts.topic_contracts import CONTRACTS, TopicContract
from schemas.json_schema import schema_components
from schemas.tracing import TRACEPARENT, TRACESTATE
from streams.cluster.topics import Topic, TopicSettings, TopicSpec, topic_specs
from streams.delivery.dead_letters import HEADER_PREFIX

ASYNCAPI_FILE: Final = Path(__file__).parents[2] / "docs" / "asyncapi.json"
_BINDING_VERSION: Final = "0.5.0"
_DEAD_LETTER: Final = "DeadLetter"
_INFO: Final = {
    "title": "insession",
    "version": "1.0.0",
    "description": "Clicks in; recommendations, intent signals and what became of them out. Records grow by addition "
    "only: ignore fields and enum values that you do not know. docs/consumers.md tells how to read them.",
    "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
}


def generate() -> bytes:
    """Return the document as indented JSON; topics are laid out as the default settings say."""
    specs = {spec.name: spec for spec in topic_specs(TopicSettings())}
    messages = {name: message for contract in CONTRACTS for name, message in _messages(contract).items()}
    document = {
        "asyncapi": "3.0.0",
        "info": _INFO,
        "defaultContentType": "application/json",
        "channels": {contract.topic: _channel(contract, specs[contract.topic]) for contract in CONTRACTS},
        "operations": {f"{contract.action}-{contract.topic}": _operation(contract) for contract in CONTRACTS},
        "components": {"messages": messages, "schemas": {**_record_schemas(), **_header_schemas()}},
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def _channel(contract: TopicContract, spec: TopicSpec) -> dict[str, Any]:
    return {
        "address": f"{{prefix}}{contract.topic}",
        "title": contract.topic,
        "summary": contract.summary,
        "description": contract.promise,
        "parameters": {"prefix": {"description": "The deployment's `topics.prefix`.", "default": ""}},
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in _messages(contract)},
        "bindings": {
            "kafka": {
                "partitions": spec.partitions,
                "replicas": spec.replication,
                "topicConfiguration": _topic_configuration(spec),
                "bindingVersion": _BINDING_VERSION,
            }
        },
    }


def _topic_configuration(spec: TopicSpec) -> dict[str, Any]:
    """Return the topic's configs in the bindings' types."""
    numbers = {name: int(value) for name, value in spec.configs.items() if name != "cleanup.policy"}
    return {"cleanup.policy": spec.cleanup_policy.split(","), **numbers}


def _operation(contract: TopicContract) -> dict[str, Any]:
    return {
        "action": contract.action,
        "channel": {"$ref": f"#/channels/{contract.topic}"},
        "summary": contract.summary,
        "messages": [{"$ref": f"#/channels/{contract.topic}/messages/{name}"} for name in _messages(contract)],
    }


def _messages(contract: TopicContract) -> dict[str, dict[str, Any]]:
    """Return the messages of a channel by name: a value type each, or the bytes of a dead letter."""
    if contract.topic is Topic.DEAD_LETTERS:
        return {_DEAD_LETTER: _message(contract, _DEAD_LETTER, "DeadLetterHeaders", {"description": "Any bytes."})}
    headers = f"{'Input' if contract.action == 'receive' else 'Output'}Headers"
    names = [record.__name__ for record in contract.records]
    return {name: _message(contract, name, headers, {"$ref": _schema(name)}) for name in names}


def _message(contract: TopicContract, name: str, headers: str, payload: dict[str, Any]) -> dict[str, Any]:
    is_record = name != _DEAD_LETTER
    return {
        "name": event_type(contract.topic) if is_record and contract.action == "send" else name,
        "title": name,
        "contentType": "application/json" if is_record else "application/octet-stream",
        "headers": {"$ref": _schema(headers)},
        "payload": payload,
        "bindings": {
            "kafka": {"key": {"type": "string", "description": contract.key}, "bindingVersion": _BINDING_VERSION}
        },
    }


def _record_schemas() -> dict[str, Any]:
    records = [record for contract in CONTRACTS for record in contract.records]
    _, schemas = schema_components(records, _schema("{name}"))
    return {name: _as_draft_07(schema) for name, schema in sorted(schemas.items())}


def _as_draft_07(schema: dict[str, Any]) -> dict[str, Any]:
    """Spell a tuple as JSON Schema draft 7 does, of which AsyncAPI's schemas are a superset."""
    return {"items" if name == "prefixItems" else name: value for name, value in schema.items()}


def _header_schemas() -> dict[str, Any]:
    trace = {TRACEPARENT: "W3C Trace Context.", TRACESTATE: "W3C Trace Context, handed on unchanged."}
    event = {
        "ce_specversion": "CloudEvents 1.0, binary content mode. On outputs where the input has it, or by setting.",
        "ce_id": "The record's `id`, once more.",
        "ce_source": "`headers.event_source` of the deployment.",
        "ce_type": f"For example `{event_type(Topic.RECOMMENDATIONS)}`.",
        "ce_time": "Event time, RFC 3339.",
        "content-type": "application/json",
    }
    error = {
        "id": "`{topic}-{partition}-{offset}` of the input.",
        "reason": "Why it cannot be used, a word for machines.",
        "message": "The same for a reader.",
        "topic": "Where the input was.",
        "partition": "Where the input was.",
        "offset": "Where the input was.",
        "truncated_from_bytes": "Size of key and value before they were cut; absent where they are whole.",
        "headers_dropped": "Why the input's own headers are missing; absent where they are there.",
        "encoded": "The value is the record or its batch as in Kafka's log; absent where it is the input's own.",
    }
    received = {**trace, "ce_specversion": "CloudEvents 1.0, binary content mode: its outputs are CloudEvents, too."}
    return {
        "InputHeaders": _strings(received),
        "OutputHeaders": _strings({**trace, **event}),
        "DeadLetterHeaders": _strings({HEADER_PREFIX + name: text for name, text in error.items()}),
    }


def _strings(described: dict[str, str]) -> dict[str, Any]:
    properties = {name: {"type": "string", "description": text} for name, text in described.items()}
    return {"type": "object", "properties": properties}


def _schema(name: str) -> str:
    return f"#/components/schemas/{name}"


if __name__ == "__main__":
    ASYNCAPI_FILE.write_bytes(generate())
