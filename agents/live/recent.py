"""The last minute in figures: rate, tiers, latency."""

from collections import Counter, deque
from dataclasses import dataclass
from typing import Final

import numpy as np
from msgspec import Struct

from schemas.records import Tier

SPAN_SECONDS: Final = 60.0
RATE_SECONDS: Final = 5.0
MAX_KEPT: Final = 10_000


class Summary(Struct, frozen=True, kw_only=True):
    """The last minute, or its latest `MAX_KEPT` answers. watchers: pages that look on.

    events_per_second: over the last `RATE_SECONDS`. p50_ms, p95_ms: from the record's timestamp to the answer.
    """

    events_per_second: float
    tiers: dict[str, int]
    p50_ms: float | None
    p95_ms: float | None
    watchers: int


@dataclass(frozen=True, slots=True)
class _Answered:
    at_seconds: float
    latency_ms: float
    tier: Tier | None


class Recent:
    """Keeps what was answered in the last minute; bounded."""

    def __init__(self) -> None:
        self._answers: deque[_Answered] = deque(maxlen=MAX_KEPT)

    def add(self, now_seconds: float, latency_ms: float, tier: Tier | None) -> None:
        """Take in an answer; `now_seconds` is monotonic."""
        self._answers.append(_Answered(now_seconds, latency_ms, tier))

    def summary(self, now_seconds: float, watchers: int) -> Summary:
        """Return the figures as of now."""
        while self._answers and self._answers[0].at_seconds < now_seconds - SPAN_SECONDS:
            self._answers.popleft()
        latencies_ms = [answer.latency_ms for answer in self._answers]
        p50_ms, p95_ms = np.percentile(latencies_ms, [50, 95]).tolist() if latencies_ms else (None, None)
        return Summary(
            events_per_second=self._rate(now_seconds),
            tiers=Counter(answer.tier for answer in self._answers if answer.tier is not None),
            p50_ms=p50_ms,
            p95_ms=p95_ms,
            watchers=watchers,
        )

    def _rate(self, now_seconds: float) -> float:
        """Count over `RATE_SECONDS`, or over what is kept where that spans less."""
        since = now_seconds - RATE_SECONDS
        latest = [answer.at_seconds for answer in self._answers if answer.at_seconds > since]
        is_full = len(latest) == MAX_KEPT and now_seconds > latest[0]
        return len(latest) / (now_seconds - latest[0] if is_full else RATE_SECONDS)
