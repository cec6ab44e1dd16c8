"""The published Avro schemas of the output records, generated from the structs: `python -m schemas.avro_schema`.

They say what the JSON Schemas say, with two differences: a moment is a `timestamp-millis`, and what JSON Schema lists
as the possible values of a text is a string, so that a new value breaks no reader.
"""

from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import inspect

from schemas.json_schema import RECORDS

SCHEMA_DIRECTORY: Final = Path(__file__).parent / "avro"
OUTPUTS: Final = (
    "default-recommendations",
    "intent-signal",
    "recommendation-outcome",
    "recommendation-set",
    "session-summary",
    "trending",
)
_NAMESPACE: Final = "insession"
_PRIMITIVES: Final = {
    inspect.BoolType: "boolean",
    inspect.FloatType: "double",
    inspect.IntType: "long",
    inspect.LiteralType: "string",
    inspect.StrType: "string",
}


def schema_of(struct: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the Avro schema of a record."""
    record: dict[str, Any] = _schema(inspect.type_info(struct), set())
    return record


def generate(name: str) -> bytes:
    """Return the Avro schema of the output record called `name` as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(schema_of(RECORDS[name])), indent=2) + b"\n"


def _schema(kind: inspect.Type, named: set[str]) -> Any:  # noqa: PLR0911 - a kind each
    match kind:
        case inspect.Metadata():
            return _schema(kind.type, named)
        case inspect.DateTimeType():
            return {"type": "long", "logicalType": "timestamp-millis"}
        case inspect.ListType() | inspect.VarTupleType():
            return {"type": "array", "items": _schema(kind.item_type, named)}
        case inspect.DictType():
            return {"type": "map", "values": _schema(kind.value_type, named)}
        case inspect.UnionType():
            branches = [_schema(one, named) for one in kind.types if not isinstance(one, inspect.NoneType)]
            return ["null", *branches] if kind.includes_none else branches
        case inspect.StructType():
            return _record(kind, named)
    return _PRIMITIVES[type(kind)]


def _record(kind: inspect.StructType, named: set[str]) -> Any:
    name = kind.cls.__name__
    if name in named:
        return f"{_NAMESPACE}.{name}"
    named.add(name)
    doc = (kind.cls.__doc__ or "").partition("\n")[0]
    fields = [_field(field, named) for field in kind.fields]
    return {"type": "record", "name": name, "namespace": _NAMESPACE, "doc": doc, "fields": fields}


def _field(field: inspect.Field, named: set[str]) -> dict[str, Any]:
    described: dict[str, Any] = {"name": field.name, "type": _schema(field.type, named)}
    extra = field.type.extra_json_schema if isinstance(field.type, inspect.Metadata) else None
    if extra is not None and "description" in extra:
        described["doc"] = extra["description"]
    if field.default is not msgspec.NODEFAULT:
        described["default"] = list(field.default) if isinstance(field.default, tuple) else field.default
    elif field.default_factory is not msgspec.NODEFAULT:
        described["default"] = field.default_factory()
    return described


if __name__ == "__main__":
    SCHEMA_DIRECTORY.mkdir(exist_ok=True)
    for record_name in OUTPUTS:
        (SCHEMA_DIRECTORY / f"{record_name}.avsc").write_bytes(generate(record_name))
