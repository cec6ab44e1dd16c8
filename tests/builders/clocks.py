"""Clocks that tests move."""


class HandClock:
    """A monotonic clock in seconds that stands still until a test moves it."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the time."""
        return self.now
