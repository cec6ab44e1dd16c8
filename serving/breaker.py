"""A circuit breaker: after repeated failure the model is left alone for a while, then asked by one call first."""

import time
from collections.abc import Callable
from typing import Literal, NewType

BreakerState = Literal["closed", "open", "half_open"]
Permit = NewType("Permit", int)


class CircuitBreaker:
    """Closed: every call goes. Open: none, for `open_seconds`. Half open: one probe goes, and its result decides.

    `failures` are consecutive; with 0 it never opens. Every permit is followed by exactly one of `succeeded`, `failed`,
    `undecided`; results of calls that were sent before the state last changed do not move it.
    """

    def __init__(self, *, failures: int, open_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._allowed_failures = failures
        self._open_seconds = open_seconds
        self._clock = clock
        self._failures = 0
        self._state: BreakerState = "closed"
        self._opened_at = 0.0
        self._changes = 0

    @property
    def state(self) -> BreakerState:
        """Return the state as the last call left it."""
        return self._state

    @property
    def refuses(self) -> bool:
        """Return whether `acquire` would give no permit at this moment."""
        if self._state == "open":
            return self._clock() - self._opened_at < self._open_seconds
        return self._state == "half_open"

    def acquire(self) -> Permit | None:
        """Ask for one call; the first one after `open_seconds` is the probe."""
        if self.refuses:
            return None
        if self._state == "open":
            self._change("half_open")
        return Permit(self._changes)

    def succeeded(self, permit: Permit) -> None:
        """Note that a call was answered."""
        if permit != self._changes:
            return
        self._failures = 0
        if self._state == "half_open":
            self._change("closed")

    def failed(self, permit: Permit) -> None:
        """Note that a call failed in a way that the next one probably would, too."""
        if permit != self._changes:
            return
        self._failures += 1
        if self._state == "half_open" or 0 < self._allowed_failures <= self._failures:
            self._opened_at = self._clock()
            self._change("open")

    def undecided(self, permit: Permit) -> None:
        """Note that a call ended without saying anything of the server; a probe is left to the next call."""
        if permit == self._changes and self._state == "half_open":
            self._change("open")

    def _change(self, state: BreakerState) -> None:
        self._state = state
        self._changes += 1
