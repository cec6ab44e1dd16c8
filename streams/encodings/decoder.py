"""From the bytes of a value to builtin objects, by the schema that it was written with."""

import math
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Final

from schemas.errors import UsageError
from schemas.framing import unframe
from streams.encodings import protobuf
from streams.encodings.avro import AvroSchema
from streams.encodings.errors import SchemaError
from streams.encodings.registry import SchemaRegistry, WriterSchema
from streams.encodings.settings import EncodingSettings

Decode = Callable[[bytes], object]

_UNKNOWN_FOR_SECONDS: Final = 60.0
"""An id that the registry does not know is asked for again after so long: it may have been too new for a replica."""
_MAX_REFUSED: Final = 10_000


class RegistryDecoder:
    """Decodes each framed value by its own writer's schema, of whatever kind; what has no frame is JSON.

    json: reads JSON.
    """

    def __init__(self, registry: SchemaRegistry, json: Decode, clock: Callable[[], float] = monotonic) -> None:
        self._registry = registry
        self._json = json
        self._clock = clock
        self._readers: dict[int, Decode] = {}
        self._refused: dict[int, tuple[SchemaError, float]] = {}

    def missing(self, value: bytes) -> int | None:
        """Return the id of the value's schema where it must be learned first."""
        framed = unframe(value)
        if framed is None or framed.schema_id in self._readers:
            return None
        _, ask_again_at = self._refused.get(framed.schema_id, (None, 0.0))
        return framed.schema_id if ask_again_at <= self._clock() else None

    def learn(self, schema_id: int) -> None:
        """Ask the registry for a schema and keep it, or why it cannot be used; raises RegistryUnavailableError."""
        ask_again_at = self._clock() + _UNKNOWN_FOR_SECONDS
        try:
            schema = self._registry.schema(schema_id)
            ask_again_at = math.inf  # it is there, and stays what it is
            self._readers[schema_id] = self._reader(schema)
        except SchemaError as error:
            if len(self._refused) >= _MAX_REFUSED:  # no registry's ids: other bytes that begin with a zero
                self._refused.clear()
            self._refused[schema_id] = error, ask_again_at

    def decode(self, value: bytes) -> object:
        """Return the value as builtin objects; see ValueDecoder."""
        framed = unframe(value)
        if framed is None:
            return self._json(value)
        schema_id, payload = framed
        if schema_id not in self._readers and schema_id not in self._refused:
            self.learn(schema_id)
        try:
            if schema_id not in self._readers:
                raise self._refused[schema_id][0]
            return self._readers[schema_id](payload)
        except ValueError as error:
            raise ValueError(f"a value with schema id {schema_id}: {error}") from error

    def _reader(self, schema: WriterSchema) -> Decode:
        match schema.kind:
            case "AVRO":
                return AvroSchema(schema.text, schema.references).decode
            case "PROTOBUF":
                return protobuf.ProtobufSchema(protobuf.compiled(schema.text, schema.references)).decode_indexed
            case "JSON":
                return self._json


class FileDecoder:
    """Decodes every value by one schema, framed or not.

    Raises UsageError where the file is no schema; `section`: what messages call the settings.
    """

    def __init__(self, section: str, settings: EncodingSettings) -> None:
        assert settings.schema_file is not None
        self._is_framed = settings.framing == "confluent"
        try:
            self._read = self._reader(settings.schema_file, settings)
        except (OSError, ValueError) as error:
            raise UsageError(f"{section}.schema_file {settings.schema_file}: {error}") from error

    def missing(self, value: bytes) -> int | None:  # noqa: ARG002 - the schema is here
        """Return None."""
        return None

    def learn(self, schema_id: int) -> None:
        """Do nothing: there is one schema."""

    def decode(self, value: bytes) -> object:
        """Return the value as builtin objects; see ValueDecoder."""
        if not self._is_framed:
            return self._read(value)
        framed = unframe(value)
        if framed is None:
            raise ValueError("a value without a schema id; where that is so for all, framing must be none")
        return self._read(framed.payload)

    def _reader(self, file: Path, settings: EncodingSettings) -> Decode:
        if settings.format == "avro":
            return AvroSchema(file.read_text()).decode
        schema = protobuf.from_file(file, settings.message)
        return schema.decode_indexed if self._is_framed else schema.decode
