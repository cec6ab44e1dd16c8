import io
import json
import logging
from typing import Any

import pytest
import structlog
from prometheus_client import CollectorRegistry

from agents.log_limit import LINES_PER_WINDOW, MAX_KINDS, WINDOW_SECONDS, LimitedHandler, add_log_metrics
from agents.logs import configure_logs


class Log:
    """The log as a worker has it, with a clock that the test turns."""

    def __init__(self) -> None:
        self.now_seconds = 0.0
        configure_logs()
        root = logging.getLogger()
        self.stream = io.StringIO()
        self.handler = LimitedHandler(self.stream, lambda: self.now_seconds)
        self.handler.setFormatter(root.handlers[0].formatter)
        root.handlers = [self.handler]
        self.ours = structlog.get_logger("agents.clicks.actor")
        self.registry = CollectorRegistry()
        add_log_metrics(self.registry)

    def lines(self) -> list[dict[str, Any]]:
        """Read what was written."""
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    def told(self) -> dict[str, int]:
        """Read the summaries: what was held back, and how much of it."""
        return {line["of"]: line["suppressed"] for line in self.lines() if line["event"] == "log_lines_suppressed"}

    def counted(self) -> float | None:
        """Read the counter."""
        return self.registry.get_sample_value("insession_log_lines_suppressed_total")


@pytest.fixture
def log() -> Log:
    """Log into memory."""
    return Log()


def test_a_flood_of_our_own_lines_stays_within_bounds(log: Log) -> None:
    """Of 20,000 late clicks and as many dead letters of two reasons the first are told, and all are counted."""
    for offset in range(20_000):
        log.ours.warning("late_event", topic="clickstream", partition=offset % 8, offset=offset)
        log.ours.warning("dead_letter", reason=("undecodable", "absurd_time")[offset % 2], offset=offset)
    assert len(log.lines()) == 3 * LINES_PER_WINDOW
    assert len(log.stream.getvalue()) < 30_000
    assert log.counted() == 40_000 - 3 * LINES_PER_WINDOW


def test_a_flood_of_a_librarys_lines_stays_within_bounds(log: Log) -> None:
    """Numbers make no new kind, and a traceback is held back with its line."""
    library = logging.getLogger("aiokafka.producer.sender")
    for number in range(5_000):
        try:
            raise ConnectionError(f"broker {number} is away")  # noqa: TRY301
        except ConnectionError:
            library.warning(f"Got error produce response: correlation {number}", exc_info=True)
    assert len(log.lines()) == LINES_PER_WINDOW
    assert len(log.stream.getvalue()) < 60_000


def test_what_was_held_back_is_told_when_its_time_is_over(log: Log) -> None:
    """The next line of any kind brings the summary; then the kind begins anew."""
    for _ in range(LINES_PER_WINDOW + 5):
        log.ours.warning("late_event")
    log.now_seconds = WINDOW_SECONDS
    log.ours.info("release_taken_up")
    assert log.told() == {"late_event": 5}
    log.ours.warning("late_event")
    assert [line["event"] for line in log.lines()][-2:] == ["release_taken_up", "late_event"]


def test_what_was_held_back_is_told_at_the_end(log: Log) -> None:
    """A process that ends within the window leaves no line untold."""
    for _ in range(LINES_PER_WINDOW + 5):
        log.ours.warning("late_event")
    log.handler.close()
    assert log.told() == {"late_event": 5}


def test_why_a_process_ends_always_passes(log: Log) -> None:
    """A critical line is never a repeat."""
    for _ in range(LINES_PER_WINDOW + 5):
        log.ours.critical("aborted", error="the disk is full")
    assert len(log.lines()) == LINES_PER_WINDOW + 5
    assert log.counted() == 0


def test_no_text_of_a_record_breaks_the_bound(log: Log) -> None:
    """Messages that are all different count as one kind beyond the most that are kept apart."""
    library = logging.getLogger("faust")
    for name in range(10_000):
        library.warning("%s", name)
        library.warning("ignored topic " + "".join(chr(ord("a") + int(digit)) for digit in str(name)))
    assert len(log.lines()) <= (MAX_KINDS + 1) * LINES_PER_WINDOW
    assert (log.counted() or 0) + len(log.lines()) == 20_000
