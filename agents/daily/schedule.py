"""When the next day is run."""

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from typing import Final

from agents.daily.steps import Clocks

RETRY_AFTER: Final = timedelta(minutes=15)
"""A day that could not be done is tried again so much later."""
_LOOK_SECONDS: Final = 30.0


def next_run(now: datetime, at: time) -> datetime:
    """Return the next moment with this time of day, UTC, after `now`."""
    today = datetime.combine(now.date(), at, UTC)
    return today if today > now else today + timedelta(days=1)


def every_day(at: time, clocks: Clocks, run: Callable[[], bool], tell: Callable[[datetime], None]) -> None:
    """Run at once, then each day at `at`, until KeyboardInterrupt.

    run: returns whether it is to be tried again. tell: hears when the next run is. The
    clock is looked at again and again: where it was set back, a day that is there already is not made twice.
    """
    while True:
        is_wanted_again = run()
        now = clocks.now()
        due = min(next_run(now, at), now + RETRY_AFTER) if is_wanted_again else next_run(now, at)
        tell(due)
        while (now := clocks.now()) < due:
            due = min(due, next_run(now, at))
            clocks.sleep(min(_LOOK_SECONDS, (due - now).total_seconds()))
