"""The worker's health as its event loop last told it, for threads that must not touch what the loop works on."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

import structlog

from agents.web.health import STUCK_AFTER_SECONDS, Health

log = structlog.get_logger(__name__)

_BEAT_SECONDS: Final = 1.0
LATE_AFTER_SECONDS: Final = 10.0
"""A loop that has not moved for so long answers nobody at the moment; after `STUCK_AFTER_SECONDS` it never will."""

Probe = tuple[bool, str]


class Pulse:
    """Beats on the event loop, from the very start on; a pulse that is missed is the health of a loop that hangs.

    look: what else is measured at each beat, as it is of the loop's own things.
    hindrances: each says why the worker is not ready, if it knows of something.
    """

    def __init__(
        self,
        health: Health,
        look: Sequence[Callable[[], None]] = (),
        hindrances: Sequence[Callable[[], str | None]] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._health = health
        self._look = look
        self._hindrances = hindrances
        self._clock = clock
        self._last: tuple[float, Probe, Probe] = (clock(), (True, "starting"), (False, "starting"))

    def beat(self) -> None:
        """Note how the worker is now; on the event loop."""
        try:
            for look in self._look:
                look()
            self._last = (self._clock(), self._health.alive(), self._ready())
        except Exception:
            log.exception("health_not_measured")  # and so the pulse is missed

    def _ready(self) -> Probe:
        is_ready, why = self._health.ready()
        hindrance = next(filter(None, (hindered() for hindered in self._hindrances)), None)
        return (is_ready, why) if hindrance is None or not is_ready else (False, hindrance)

    def alive(self) -> Probe:
        """Return whether the worker makes progress; from any thread."""
        beaten_seconds, alive, _ = self._last
        return self._missed(beaten_seconds, STUCK_AFTER_SECONDS) or alive

    def ready(self) -> Probe:
        """Return whether the worker answers clicks, as of a second ago; from any thread."""
        beaten_seconds, _, ready = self._last
        return self._missed(beaten_seconds, LATE_AFTER_SECONDS) or ready

    @asynccontextmanager
    async def beating(self) -> AsyncIterator[None]:
        """Beat until the end."""
        self.beat()
        beats = asyncio.create_task(self._beat_on())
        try:
            yield
        finally:
            beats.cancel()
            with suppress(asyncio.CancelledError):
                await beats

    async def _beat_on(self) -> None:
        while True:
            await asyncio.sleep(_BEAT_SECONDS)
            self.beat()

    def _missed(self, beaten_seconds: float, after_seconds: float) -> Probe | None:
        silent_seconds = self._clock() - beaten_seconds
        if silent_seconds <= after_seconds:
            return None
        return False, f"the event loop has not moved for {silent_seconds:.0f} s"
