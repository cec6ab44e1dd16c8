import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from agents.web.health import STUCK_AFTER_SECONDS
from agents.web.pulse import LATE_AFTER_SECONDS, Pulse


class Watched:
    """A worker's health as the test decides, on a clock of the test's."""

    def __init__(self) -> None:
        self.now_seconds = 100.0
        self.is_ready = True
        self.looks = 0
        self.hindrance: str | None = None
        health: Any = self
        self.pulse = Pulse(health, [self.look], [lambda: self.hindrance], lambda: self.now_seconds)

    def look(self) -> None:
        """Count the looks."""
        self.looks += 1

    def alive(self) -> tuple[bool, str]:
        """See `Health`."""
        return True, "progressing"

    def ready(self) -> tuple[bool, str]:
        """See `Health`."""
        if not self.is_ready:
            raise LookupError("no consumer")
        return True, "answering"


@pytest.fixture
def watched() -> Watched:
    """Make one that has not beaten yet."""
    return Watched()


def test_a_worker_that_has_not_beaten_yet_starts(watched: Watched) -> None:
    """It is alive and not ready."""
    assert (watched.pulse.alive(), watched.pulse.ready()) == ((True, "starting"), (False, "starting"))


def test_a_loop_that_hangs_is_told_by_the_beats_that_are_missed(watched: Watched) -> None:
    """First nobody is answered, then the worker is to be restarted; a loop that moves again is well again."""
    watched.pulse.beat()
    watched.now_seconds += LATE_AFTER_SECONDS
    assert (watched.pulse.alive(), watched.pulse.ready()) == ((True, "progressing"), (True, "answering"))
    watched.now_seconds += 1
    assert watched.pulse.ready() == (False, "the event loop has not moved for 11 s")
    assert watched.pulse.alive()[0]
    watched.now_seconds += STUCK_AFTER_SECONDS
    assert watched.pulse.alive() == (False, "the event loop has not moved for 71 s")
    watched.pulse.beat()
    assert watched.pulse.alive()[0]


def test_a_hindrance_is_told_where_all_else_is_well(watched: Watched) -> None:
    """The worker is alive and not ready, and says why."""
    watched.hindrance = "the clock is wrong"
    watched.pulse.beat()
    assert (watched.pulse.alive()[0], watched.pulse.ready()) == (True, (False, "the clock is wrong"))


def test_health_that_cannot_be_measured_is_a_missed_beat(watched: Watched) -> None:
    """A bug in it is logged, and ends neither the beats nor the worker."""
    watched.pulse.beat()
    watched.is_ready = False
    watched.now_seconds += LATE_AFTER_SECONDS + 1
    with capture_logs() as logs:
        watched.pulse.beat()
    assert [entry["event"] for entry in logs] == ["health_not_measured"]
    assert not watched.pulse.ready()[0]


async def test_it_beats_at_once_and_until_the_end(watched: Watched) -> None:
    """The first look is before anything else of the worker is there."""
    async with watched.pulse.beating():
        assert (watched.looks, watched.pulse.ready()) == (1, (True, "answering"))
    assert len(asyncio.all_tasks()) == 1
