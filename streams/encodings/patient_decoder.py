"""Waits for schemas in a thread that has nothing else to do, as the one that follows the catalog."""

import threading
from collections.abc import Callable
from time import monotonic
from typing import Any, Final

import structlog

from streams.encodings.errors import RegistryUnavailableError
from streams.encodings.value_decoder import ValueDecoder

log = structlog.get_logger(__name__)

_LONGEST_PAUSE_SECONDS: Final = 10.0


class PatientDecoder:
    """Decodes values; one whose schema is missing waits while the registry is away.

    patience_seconds: after so long without an answer `fail` ends the process: a guess would close or keep a wrong item.
    pause_seconds: before the first retry; doubled for each further one, up to 10 s.
    """

    def __init__(
        self,
        decoder: ValueDecoder,
        *,
        patience_seconds: float,
        fail: Callable[[BaseException], Any],
        pause_seconds: float = 0.5,
    ) -> None:
        self._decoder = decoder
        self._patience_seconds = patience_seconds
        self._fail = fail
        self._pause_seconds = pause_seconds
        self._closed = threading.Event()

    def decode(self, value: bytes) -> object:
        """Return the value as builtin objects; raises ValueError where it cannot be read, or not any more."""
        schema_id = self._decoder.missing(value)
        if schema_id is not None:
            self._learn(schema_id)
        return self._decoder.decode(value)

    def close(self) -> None:
        """Wait no longer, now or later."""
        self._closed.set()

    def _learn(self, schema_id: int) -> None:
        deadline, pause_seconds = monotonic() + self._patience_seconds, self._pause_seconds
        while True:
            try:
                self._decoder.learn(schema_id)
            except RegistryUnavailableError as error:
                if monotonic() >= deadline:
                    self._fail(error)
                log.warning("schema_awaited", schema_id=schema_id, error=str(error), retry_seconds=pause_seconds)
                if self._closed.wait(pause_seconds):
                    raise ValueError("its schema was not here before the end") from error
                pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)
            else:
                return
