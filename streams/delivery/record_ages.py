"""How old records are when they come: what of that is a difference of clocks, and not waiting."""

from dataclasses import dataclass
from typing import Final

WINDOW_SECONDS: Final = 10.0
"""An age is remembered for one to two windows."""
MAX_FORGIVEN_MS: Final = 5_000
DISAGREE_MS: Final = 5 * 60_000
"""From here on either clock is plainly wrong, and nothing is ended by it."""
BELIEVED_SECONDS: Final = 300.0
"""For so long after the last record: it may have come late all by itself."""


@dataclass(slots=True)
class _Extremes:
    least_ms: int
    most_ms: int

    def join(self, age_ms: int) -> None:
        self.least_ms, self.most_ms = min(self.least_ms, age_ms), max(self.most_ms, age_ms)


class RecordAges:
    """Watches the ages of records that did not wait: the last ones of partitions that were read to their ends before.

    The youngest of them is as old as the clocks differ and the way takes (the minimum filter of clock offsets, as in
    RFC 5905, section 10). A backlog is not watched: its records are old, whatever the clocks say.
    """

    def __init__(self) -> None:
        self._windows: list[_Extremes] = []
        self._begun_seconds = self._latest_seconds = 0.0

    def observe(self, age_ms: int, monotonic_seconds: float) -> None:
        """Take in the age of a record by this machine's wall clock; below 0 it is from the future."""
        if not self._windows or monotonic_seconds - self._begun_seconds >= WINDOW_SECONDS:
            self._windows = [_Extremes(age_ms, age_ms), *self._windows[:1]]
            self._begun_seconds = monotonic_seconds
        self._windows[0].join(age_ms)
        self._latest_seconds = monotonic_seconds

    def usual_ms(self) -> int:
        """Return the age that every record has, 0 to `MAX_FORGIVEN_MS`: no shopper waited for that long.

        A clock that runs behind takes nothing away: one producer that is ahead would make all others look late.
        """
        if not self._windows:
            return 0
        return min(MAX_FORGIVEN_MS, max(0, min(window.least_ms for window in self._windows)))

    def skew_ms(self) -> int | None:
        """Return how far the records' clocks are ahead of this machine's, below 0 behind; None before the first record.

        As much as all records agree on: 0 where some are older and others newer than now.
        """
        if not self._windows:
            return None
        least_ms = min(window.least_ms for window in self._windows)
        most_ms = max(window.most_ms for window in self._windows)
        return -least_ms if least_ms > 0 else -most_ms if most_ms < 0 else 0

    def disagreement(self, monotonic_seconds: float) -> str | None:
        """Describe clocks that are over `DISAGREE_MS` apart; None where none is, or nothing has come lately."""
        skew_ms = self.skew_ms()
        if (
            skew_ms is None
            or abs(skew_ms) <= DISAGREE_MS
            or monotonic_seconds - self._latest_seconds > BELIEVED_SECONDS
        ):
            return None
        where = "behind" if skew_ms > 0 else "ahead of"
        return f"this machine's clock is {abs(skew_ms) / 1000:,.0f} s {where} the records' timestamps: no session ends"
