"""Chooses how values are read and written; for JSON, nothing of the registry's client is imported."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog

from agents.settings import Settings
from schemas import wire
from schemas.catalog_reader import CatalogReader
from schemas.click_reader import ClickReader
from schemas.errors import UsageError
from schemas.payload import decode_payload
from streams.encodings.errors import RegistryUnavailableError, SchemaError
from streams.encodings.gate import SchemaGate
from streams.encodings.patient_decoder import PatientDecoder
from streams.encodings.settings import EncodingSettings
from streams.encodings.value_decoder import ValueDecoder
from streams.metrics import SchemaMetrics

if TYPE_CHECKING:
    from streams.encodings.outputs import AvroOutputs
    from streams.encodings.registry import SchemaRegistry

log = structlog.get_logger(__name__)

_RETRY_SECONDS: Final = 2.0


def click_readers(settings: Settings, decoder: ValueDecoder | None) -> dict[str, ClickReader]:
    """Return how the records of each clickstream are read, by the topic's name; decoder None = JSON."""
    decode = None if decoder is None else decoder.decode
    return {topic: ClickReader(mapping, decode) for topic, mapping in settings.clickstreams.items()}


class Encodings:
    """How a process reads and writes, by its settings.

    Raises UsageError where the extra is not installed, or a schema file is none.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._patience_seconds = settings.registry.patience.total_seconds()
        self.clicks = self._decoder("clickstream.encoding", settings.clickstream.encoding)
        self._items = self._decoder("catalog.encoding", settings.catalog.encoding)
        self._outputs = self._avro_outputs()
        self._written: ValueDecoder | None = None
        self._waiting: PatientDecoder | None = None

    def gate(
        self, metrics: SchemaMetrics, is_rebalancing: Callable[[], bool], fail: Callable[[BaseException], Any]
    ) -> SchemaGate | None:
        """Return what holds clicks whose schema is not here; None = JSON."""
        if self.clicks is None:
            return None
        return SchemaGate(
            self.clicks, metrics, patience_seconds=self._patience_seconds, is_rebalancing=is_rebalancing, fail=fail
        )

    def catalog_reader(self, fail: Callable[[BaseException], Any] | None = None) -> CatalogReader:
        """Return how the records of the catalog are read.

        fail: ends the process where a schema does not come in time, unless `stop_waiting` does; None = ask once, and
        close the item.
        """
        mapping = self._settings.catalog.mapping
        if self._items is None:
            return CatalogReader(mapping)
        if fail is None:
            return CatalogReader(mapping, self._items.decode)
        self._waiting = PatientDecoder(self._items, patience_seconds=self._patience_seconds, fail=fail)
        return CatalogReader(mapping, self._waiting.decode)

    @property
    def encode(self) -> Callable[[msgspec.Struct], bytes]:
        """How an output record becomes bytes; within `running` only."""
        return wire.encode if self._outputs is None else self._outputs.encode

    def register(self) -> None:
        """Register the schemas of the outputs, so that `encode` works; for those who have no event loop.

        Raises RegistryUnavailableError, or SchemaError where the registry refuses one.
        """
        if self._outputs is not None:
            self._outputs.register()

    def decode_output(self, value: bytes) -> object:
        """Read the value of an output record, written in JSON or as the settings say now; raises ValueError."""
        if self._outputs is None:
            return decode_payload(value)
        from streams.encodings.decoder import RegistryDecoder  # noqa: PLC0415 - an extra

        if self._written is None:
            self._written = RegistryDecoder(self._registry, decode_payload)
        return self._written.decode(value)

    @asynccontextmanager
    async def running(self, fail: Callable[[BaseException], Any]) -> AsyncIterator[None]:
        """Register the schemas of the outputs before the worker subscribes; wait for a registry that is away.

        fail: ends the process, after `registry.patience` without an answer, or at once where a schema is refused.
        """
        if self._outputs is not None:
            try:
                await _register(self._outputs, time.monotonic() + self._patience_seconds)
            except (RegistryUnavailableError, SchemaError) as error:
                fail(error)
        yield

    def stop_waiting(self) -> None:
        """Let the catalog's reader wait for no schema, now or later."""
        if self._waiting is not None:
            self._waiting.close()

    @cached_property
    def _registry(self) -> "SchemaRegistry":
        from streams.encodings.registry import SchemaRegistry  # noqa: PLC0415 - an extra

        return SchemaRegistry(self._settings.registry, self._settings.kafka.datadir / "schemas")

    def _decoder(self, section: str, encoding: EncodingSettings) -> ValueDecoder | None:
        if encoding.format == "json":
            return None
        try:
            from streams.encodings.decoder import FileDecoder, RegistryDecoder  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise _missing_extra(f"{section}.format", error) from error
        if encoding.schema_file is not None:
            return FileDecoder(section, encoding)
        return RegistryDecoder(self._registry, decode_payload)

    def _avro_outputs(self) -> "AvroOutputs | None":
        if self._settings.outputs.encoding == "json":
            return None
        try:
            from streams.encodings.outputs import AvroOutputs  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise _missing_extra("outputs.encoding", error) from error
        return AvroOutputs(self._registry, self._settings.topics)


async def _register(outputs: "AvroOutputs", deadline_seconds: float) -> None:
    while True:
        try:
            await asyncio.to_thread(outputs.register)
        except RegistryUnavailableError as error:
            if time.monotonic() >= deadline_seconds:
                raise
            log.warning("registry_awaited", error=str(error), retry_seconds=_RETRY_SECONDS)
            await asyncio.sleep(_RETRY_SECONDS)
        else:
            return


def _missing_extra(key: str, error: ImportError) -> UsageError:
    return UsageError(f"{key}: {error}; pip install 'insession[registry-formats]'")
