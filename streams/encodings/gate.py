"""Holds a worker's input while the schema of the next record is not here, so that an outage loses no click.

The rule: an id that the registry does not know makes a dead letter; a registry that gives no answer makes the worker
wait. The event loop goes on meanwhile: what was taken in is answered and committed, the group hears of the worker.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import structlog

from streams.encodings.errors import RegistryUnavailableError
from streams.encodings.value_decoder import ValueDecoder
from streams.metrics import SchemaMetrics

log = structlog.get_logger(__name__)

_LONGEST_PAUSE_SECONDS: Final = 10.0


class SchemaGate:
    """Lets a record through when its schema is known, or known not to exist.

    patience_seconds: after so long without an answer `fail` ends the process; the record is not acknowledged.
    is_rebalancing: true = do not wait; the record comes again, here or at another worker.
    pause_seconds: before the first retry; doubled for each further one, up to 10 s.
    """

    def __init__(
        self,
        decoder: ValueDecoder,
        metrics: SchemaMetrics,
        *,
        patience_seconds: float,
        is_rebalancing: Callable[[], bool],
        fail: Callable[[BaseException], Any],
        pause_seconds: float = 0.5,
    ) -> None:
        self._decoder = decoder
        self._metrics = metrics
        self._patience_seconds = patience_seconds
        self._is_rebalancing = is_rebalancing
        self._fail = fail
        self._pause_seconds = pause_seconds
        self._awaited: int | None = None

    @property
    def awaited(self) -> int | None:
        """The schema id that the input waits for; None = it does not."""
        return self._awaited

    def is_open(self, value: bytes | None) -> bool:
        """Return whether a value can be read without waiting."""
        return self._missing(value) is None

    async def opened(self, value: bytes | None) -> bool:
        """Wait until the value's schema is known; False = the record must be let go, since it comes again."""
        schema_id = self._missing(value)
        if schema_id is None:
            return True
        self._awaited = schema_id
        self._metrics.awaited.set(1)
        try:
            return await self._learned(schema_id)
        finally:
            self._awaited = None
            self._metrics.awaited.set(0)

    def _missing(self, value: bytes | None) -> int | None:
        return None if value is None else self._decoder.missing(value)

    async def _learned(self, schema_id: int) -> bool:
        loop = asyncio.get_running_loop()
        deadline, pause_seconds = loop.time() + self._patience_seconds, self._pause_seconds
        while True:
            asked = asyncio.ensure_future(asyncio.to_thread(self._decoder.learn, schema_id))
            if not await self._unless_rebalancing(asked):
                return False
            error = asked.exception()
            if error is None:
                self._metrics.requests.labels(result="answered").inc()
                log.info("schema_learned", schema_id=schema_id)
                return True
            self._metrics.requests.labels(result="failed").inc()
            if not isinstance(error, RegistryUnavailableError) or loop.time() >= deadline:
                self._fail(error)
            log.warning("schema_awaited", schema_id=schema_id, error=str(error), retry_seconds=pause_seconds)
            if not await self._unless_rebalancing(asyncio.ensure_future(asyncio.sleep(pause_seconds))):
                return False
            pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)

    async def _unless_rebalancing(self, future: asyncio.Future[Any]) -> bool:
        """Wait for a future; False where a rebalance begins before it is done. A thread then ends by itself."""
        while not future.done():
            if self._is_rebalancing():
                future.add_done_callback(lambda done: done.cancelled() or done.exception())
                return False
            await asyncio.wait({future}, timeout=0.1)
        return True
