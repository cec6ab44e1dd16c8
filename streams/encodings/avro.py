"""Avro values as builtin objects. fastavro does the reading."""

import io
import json
import math
from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple

import fastavro
from fastavro.read import LOGICAL_READERS

from schemas.errors import without_input
from streams.encodings.errors import SchemaError

TYPE_KEY: Final = "@type"
"""Where an object says which record or message it is, as `google.protobuf.Any` does in JSON."""
MAX_RECURSIVE_BYTES: Final = 2048
"""Of a value whose schema contains itself: fastavro recurses in C, and some 5,000 levels overflow the stack."""


class Reference(NamedTuple):
    """A schema that another one imports, by the name that it uses there."""

    name: str
    text: str


class AvroSchema:
    """One schema by which values were written; raises SchemaError where it is none.

    references: what it refers to, each after what it refers to itself.
    """

    def __init__(self, text: str, references: Iterable[Reference] = ()) -> None:
        self._schema: Any
        named: dict[str, Any] = {}
        try:
            for reference in references:
                fastavro.parse_schema(json.loads(reference.text), named_schemas=named)
            schema = json.loads(text)
            # A record adds no bytes of its own, and keeps the named schemas also where `schema` is a union or a name.
            # Its name has no namespace, which those in it would inherit.
            wrapped = {"type": "record", "name": "insession_value", "fields": [{"name": "value", "type": schema}]}
            self._schema = fastavro.parse_schema(wrapped, named_schemas=named)
        except Exception as error:  # fastavro raises whatever its walk meets
            raise SchemaError(f"not an Avro schema: {error!r}") from error
        root: Any = self._schema["fields"][0]["type"]
        self._is_recursive = _contains_itself(root, named, frozenset())
        self._name = root["name"] if isinstance(root, dict) and root["type"] == "record" else None

    def decode(self, payload: bytes) -> object:
        """Read one value; raises ValueError where it was not written by this schema.

        Times become Unix milliseconds, local times and dates ISO 8601 texts, decimals floats, bytes texts (None where
        they are none). A record says which one it is under `@type` where the schema leaves a choice, and at the top.
        """
        if self._is_recursive and len(payload) > MAX_RECURSIVE_BYTES:
            raise ValueError(
                f"{len(payload)} bytes by an Avro schema that contains itself, of which at most {MAX_RECURSIVE_BYTES} "
                "are read"
            )
        content = io.BytesIO(payload)
        try:
            read: Any = fastavro.schemaless_reader(
                content, self._schema, None, return_record_name=True, return_record_name_override=True
            )
            value = _plain(read["value"])
        except Exception as error:  # fastavro raises whatever its walk meets; RecursionError is of nesting
            raise ValueError(f"the value is not what its Avro schema says: {without_input(error)}") from error
        if rest := len(payload) - content.tell():
            raise ValueError(f"the value is not what its Avro schema says: {rest} bytes are left over")
        if self._name is not None and isinstance(value, dict):
            value.setdefault(TYPE_KEY, self._name)
        return value


def _contains_itself(schema: Any, named: dict[str, Any], inside: frozenset[str]) -> bool:
    match schema:
        case str():
            return schema in inside or (schema in named and _contains_itself(named[schema], named, inside))
        case list():
            return any(_contains_itself(branch, named, inside) for branch in schema)
        case {"type": "record" | "error", "name": name, "fields": fields}:
            return any(_contains_itself(one["type"], named, inside | {name}) for one in fields)
        case {"type": "array", "items": inner} | {"type": "map", "values": inner}:
            return _contains_itself(inner, named, inside)
    return False


def _plain(value: Any) -> object:
    """Turn what fastavro gives into builtin objects."""
    kind = type(value)
    if kind is dict:
        return {name: _plain(inner) for name, inner in value.items()}
    if kind is list:
        return [_plain(inner) for inner in value]
    if kind is tuple:  # a record of a union, and its name
        name, record = value
        return {**{key: _plain(inner) for key, inner in record.items()}, TYPE_KEY: name}
    convert = _CONVERSIONS.get(kind)
    return value if convert is None else convert(value)


def text_of(value: bytes) -> str | None:
    """Return bytes as text; None where they are none."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


def finite(value: float) -> float | None:
    """Leave out what JSON has no number for."""
    return value if math.isfinite(value) else None


_CONVERSIONS: Final[dict[type, Callable[[Any], object]]] = {
    bytes: text_of,
    date: date.isoformat,
    datetime: datetime.isoformat,
    Decimal: float,
    float: finite,
    time: time.isoformat,
    timedelta: timedelta.total_seconds,
}


def _or_nothing(reader: Callable[..., Any]) -> Callable[..., Any]:
    def read(data: Any, *schemas: Any) -> Any:
        try:
            return reader(data, *schemas)
        except (ArithmeticError, ValueError):
            return None  # one impossible date must not cost the click

    return read


# Fewer objects, and no moment beyond the year 9999 that refuses a whole value; nobody else reads Avro in this process.
LOGICAL_READERS.update({name: _or_nothing(reader) for name, reader in LOGICAL_READERS.items()})
LOGICAL_READERS.update(
    {
        "long-timestamp-millis": lambda data, *_: data,
        "long-timestamp-micros": lambda data, *_: data // 1000,
        "long-timestamp-nanos": lambda data, *_: data // 1_000_000,
        "string-uuid": lambda data, *_: data,
    }
)
