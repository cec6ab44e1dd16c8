"""How far time can have come, from the records that were read: so a wrong wall clock ends no session."""


class StreamClock:
    """Holds the newest timestamp of a record that was read, and lets it run on with the monotonic clock.

    Records are timed by the shop's producers or by the brokers, not by this machine: its wall clock may say less, and
    never more. After a start time goes on from the newest record that there is, so what was due while nothing ran is
    due at most that much later.
    """

    def __init__(self) -> None:
        self._base: tuple[int, float] | None = None

    @property
    def is_set(self) -> bool:
        """Whether any record was read."""
        return self._base is not None

    def observe(self, record_time_ms: int, monotonic_seconds: float) -> None:
        """Take in the timestamp of a record, Unix milliseconds."""
        reached_ms = self.reached_ms(monotonic_seconds)
        if reached_ms is None or record_time_ms > reached_ms:
            self._base = record_time_ms, monotonic_seconds

    def reached_ms(self, monotonic_seconds: float) -> int | None:
        """Return the time that must be passed by now; None before the first record."""
        if self._base is None:
            return None
        record_time_ms, read_seconds = self._base
        return record_time_ms + int((monotonic_seconds - read_seconds) * 1000)

    def now_ms(self, wall_ms: int, monotonic_seconds: float) -> int | None:
        """Return the wall clock's time, but never more than has been reached; None before the first record."""
        reached_ms = self.reached_ms(monotonic_seconds)
        return None if reached_ms is None else min(wall_ms, reached_ms)
