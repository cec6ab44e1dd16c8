"""Each day at a time of day, whatever the clock does."""

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta

import pytest

from agents.daily.schedule import every_day, next_run
from agents.daily.steps import Clocks

AT = time(3, 30)


@pytest.mark.parametrize(
    ("now", "due"),
    [
        ("2026-01-31T03:29:59Z", "2026-01-31T03:30:00Z"),
        ("2026-01-31T03:30:00Z", "2026-02-01T03:30:00Z"),
        ("2026-12-31T23:59:59Z", "2027-01-01T03:30:00Z"),
    ],
)
def test_the_next_run_is_the_next_time_of_the_clock(now: str, due: str) -> None:
    """Never now: that one was run."""
    assert next_run(datetime.fromisoformat(now), AT) == datetime.fromisoformat(due)


class Clock:
    """Sleeps until it has slept for so many days; `jumps` are added to the time once, by the number of the sleep."""

    def __init__(self, days: int, jumps: dict[int, timedelta] | None = None) -> None:
        self.now = datetime(2026, 1, 31, 12, tzinfo=UTC)
        self.slept = timedelta(0)
        self._days = timedelta(days=days)
        self._jumps = jumps or {}
        self._sleeps = 0

    def clocks(self) -> Clocks:
        """Hand it out."""
        return Clocks(lambda: self.now, lambda: 0.0, self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds) + self._jumps.get(self._sleeps, timedelta(0))
        self.slept += timedelta(seconds=seconds)
        self._sleeps += 1
        if self.slept >= self._days:
            raise KeyboardInterrupt


def runs(clock: Clock, run: Callable[[], bool] = lambda: False) -> list[datetime]:
    """Return when it ran, until it was interrupted."""
    found: list[datetime] = []

    def note() -> bool:
        found.append(clock.now)
        return run()

    with pytest.raises(KeyboardInterrupt):
        every_day(AT, clock.clocks(), note, lambda _: None)
    return found


def test_it_runs_at_once_and_then_each_day() -> None:
    """At the time that was said."""
    found = runs(Clock(3))
    assert [f"{moment:%d %H:%M}" for moment in found] == ["31 12:00", "01 03:30", "02 03:30", "03 03:30"]


def test_a_clock_that_was_set_back_does_not_make_it_wait_for_days() -> None:
    """It comes with the next time of day by the clock as it is."""
    clock = Clock(1, {5: -timedelta(days=3)})
    assert [f"{moment:%d %H:%M}" for moment in runs(clock)] == ["31 12:00", "29 03:30"]


def test_what_could_not_be_done_is_tried_again_the_same_day() -> None:
    """Each quarter of an hour, as long as that comes before the next day's run."""
    answers = iter([True, True, False])
    found = runs(Clock(1), lambda: next(answers, False))
    assert [f"{moment:%d %H:%M}" for moment in found] == ["31 12:00", "31 12:15", "31 12:30", "01 03:30"]
