"""The clocks of one worker, and what the records that it reads tell of them."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import structlog

from streams.delivery.record_ages import RecordAges
from streams.delivery.stream_clock import StreamClock
from streams.metrics import DeliveryMetrics
from streams.rare_log import RareLog

log = structlog.get_logger(__name__)


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class WorkerClocks:
    """Every reading of a clock that decides on a click or on a session; tests give clocks of their own."""

    metrics: DeliveryMetrics
    wall_ms: Callable[[], int] = _wall_ms
    monotonic: Callable[[], float] = time.monotonic
    stream: StreamClock = field(default_factory=StreamClock)
    ages: RecordAges = field(default_factory=RecordAges)
    _log: Any = field(default_factory=lambda: RareLog(log))

    def read(self, record_time_ms: int, *, is_fresh: bool) -> None:
        """Take in a click's timestamp; is_fresh: it did not wait in its partition."""
        now_seconds, age_ms = self.monotonic(), self.wall_ms() - record_time_ms
        self.stream.observe(record_time_ms, now_seconds)
        self.metrics.record_age.observe(max(0.0, age_ms / 1000))
        if is_fresh:
            self.ages.observe(age_ms, now_seconds)
            self.metrics.clock_skew.set((self.ages.skew_ms() or 0) / 1000)

    def now_ms(self) -> int | None:
        """Return the time by which sessions end; None = none may: nothing was read, or the clocks are plainly wrong."""
        doubt = self.disagreement()
        if doubt is not None:
            self._log.warning("ticks_refused", detail=doubt, remedy="synchronise the clocks (NTP)")
            return None
        return self.stream.now_ms(self.wall_ms(), self.monotonic())

    def disagreement(self) -> str | None:
        """Return that the clocks are plainly wrong; None where they are not, as far as is known."""
        return self.ages.disagreement(self.monotonic())

    def deadline(self, record_time_ms: int, budget_seconds: float) -> float:
        """Return the monotonic second by which to answer a click: its budget counts from its timestamp.

        What every click is old is no waiting, and not counted; see `RecordAges`.
        """
        waited_ms = max(0, self.wall_ms() - record_time_ms - self.ages.usual_ms())
        return self.monotonic() + budget_seconds - waited_ms / 1000
