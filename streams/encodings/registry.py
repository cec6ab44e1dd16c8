"""The schema registry, through Confluent's client, and what it has said, kept on disk."""

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, get_args

import msgspec
import structlog
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, SchemaRegistryError

from streams.encodings.avro import Reference
from streams.encodings.errors import RegistryUnavailableError, SchemaError
from streams.encodings.settings import RegistrySettings

log = structlog.get_logger(__name__)

SchemaKind = Literal["AVRO", "PROTOBUF", "JSON"]
_NOT_THERE: Final = range(40400, 40500)
"""A registry's own codes: subject, version or schema not found. A 404 without one is that of a wrong address."""
_INVALID: Final = frozenset({409, 422})
_MAX_REFERENCES: Final = 100


class WriterSchema(msgspec.Struct, frozen=True):
    """A schema by which values were written; `references`: each after what it refers to itself."""

    kind: SchemaKind
    text: str
    references: tuple[Reference, ...] = ()


class SchemaRegistry:
    """Schemas by id. An id means the same schema for ever, so what was found is kept in memory and in `folder`.

    folder: may be None; a restart then needs the registry for every schema.
    connect: makes the client of one question, which is closed after it: there are too few to keep a connection.
    """

    def __init__(
        self,
        settings: RegistrySettings,
        folder: Path | None = None,
        connect: Callable[[dict[str, Any]], Any] = SchemaRegistryClient,
    ) -> None:
        self._url = ",".join(settings.urls)
        self._connect = partial(connect, settings.client_config())
        # Another registry counts its ids anew.
        self._folder = folder and folder / hashlib.sha256(self._url.encode()).hexdigest()[:12]

    def schema(self, schema_id: int) -> WriterSchema:
        """Return a schema; waits for the registry, at most its timeout a request.

        Raises SchemaError where the registry says that there is none, RegistryUnavailableError where it says nothing.
        """
        kept = self._kept(schema_id)
        if kept is not None:
            return kept
        try:
            with self._connect() as client:
                schema = client.get_schema(schema_id)
                references: dict[str, str] = {}
                _add_references(client, schema, references)
        except Exception as error:
            raise self._reason(error, f"schema id {schema_id}") from error
        kind: Any = schema.schema_type or "AVRO"
        if kind not in get_args(SchemaKind):
            raise SchemaError(f"the schema registry calls it {kind}, which is not read")
        found = WriterSchema(kind, schema.schema_str or "", tuple(Reference(*pair) for pair in references.items()))
        self._keep(schema_id, found)
        return found

    def register(self, subject: str, text: str) -> int:
        """Return the id of an Avro schema: looked up, and registered only where it is new, which needs more rights.

        Raises SchemaError where the registry refuses it, RegistryUnavailableError where it does not answer.
        """
        schema = Schema(text, "AVRO")
        try:
            with self._connect() as client:
                try:
                    return int(client.lookup_schema(subject, schema).schema_id)
                except SchemaRegistryError as error:
                    if error.error_code not in _NOT_THERE:
                        raise
                return int(client.register_schema(subject, schema))
        except Exception as error:
            if isinstance(error, SchemaRegistryError) and error.http_status_code in _INVALID:
                raise SchemaError(f"the schema registry refuses the schema of subject {subject}: {error}") from error
            raise self._reason(error, f"subject {subject}") from error

    def _reason(self, error: Exception, what: str) -> Exception:
        if isinstance(error, SchemaError):
            return error
        if isinstance(error, SchemaRegistryError) and error.error_code in _NOT_THERE:
            return SchemaError(f"the schema registry does not know {what}")
        return RegistryUnavailableError(
            f"the schema registry {self._url} gave no answer for {what}: {str(error) or type(error).__name__}. Check "
            "registry.url, the registry, and the rights of registry.username"
        )

    def _kept(self, schema_id: int) -> WriterSchema | None:
        if self._folder is None:
            return None
        try:
            return msgspec.json.decode((self._folder / f"{schema_id}.json").read_bytes(), type=WriterSchema)
        except (OSError, msgspec.MsgspecError):
            return None  # asked for and written anew

    def _keep(self, schema_id: int, schema: WriterSchema) -> None:
        if self._folder is None:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            partial = self._folder / f"{schema_id}.partial"
            partial.write_bytes(msgspec.json.encode(schema))
            partial.replace(self._folder / f"{schema_id}.json")
        except OSError as error:
            log.warning("schema_not_kept", schema_id=schema_id, error=str(error), remedy="a restart asks the registry")


def _add_references(client: Any, schema: Any, found: dict[str, str]) -> None:
    for reference in schema.references or ():
        if reference.name not in found:
            if len(found) >= _MAX_REFERENCES:
                raise SchemaError(f"the schema refers to more than {_MAX_REFERENCES} others")
            inner = client.get_version(reference.subject, reference.version, True).schema
            _add_references(client, inner, found)
            found[reference.name] = inner.schema_str
