import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from agents.clicks.clocks import WorkerClocks
from streams.metrics import DeliveryMetrics

START_MS = 1_700_000_000_000
BUDGET_SECONDS = 0.5


class Machine:
    """A machine whose wall clock is `ahead_ms` of the producers', and on which time passes as the test says."""

    def __init__(self, ahead_ms: int) -> None:
        self.passed_ms = 0
        self.registry = CollectorRegistry()
        self.clocks = WorkerClocks(
            DeliveryMetrics(self.registry),
            lambda: START_MS + self.passed_ms + ahead_ms,
            lambda: self.passed_ms / 1000,
        )

    def click(self, took_ms: int = 3, *, is_fresh: bool = True) -> float:
        """Let a click come that was made `took_ms` ago; gives the seconds that are left for its answer."""
        record_time_ms = START_MS + self.passed_ms - took_ms
        self.clocks.read(record_time_ms, is_fresh=is_fresh)
        return self.clocks.deadline(record_time_ms, BUDGET_SECONDS) - self.passed_ms / 1000

    def metric(self, name: str) -> float | None:
        """Read a metric."""
        return self.registry.get_sample_value(name)


@pytest.mark.parametrize("ahead_ms", [0, 300, 1_000, 4_900, -1_000])
def test_a_skew_of_seconds_does_not_cost_the_model(ahead_ms: int) -> None:
    """From the first click on there is the whole budget; one that waited for longer than the others has less of it."""
    machine = Machine(ahead_ms)
    assert machine.click() == pytest.approx(BUDGET_SECONDS, abs=0.01)
    waited = machine.click(took_ms=303, is_fresh=False)
    # A clock that is behind hides a wait: nobody can tell it from one that is right.
    assert waited == pytest.approx(BUDGET_SECONDS - (0 if ahead_ms < 0 else 0.3), abs=0.01)
    assert machine.metric("insession_clock_skew_seconds") == pytest.approx(-ahead_ms / 1000, abs=0.01)
    assert machine.metric("insession_record_age_seconds_count") == 2


def test_a_click_out_of_a_backlog_is_old() -> None:
    """What waited in its partition says nothing of clocks: its budget is spent."""
    assert Machine(0).click(took_ms=2_000, is_fresh=False) < 0


def test_more_than_some_seconds_are_not_forgiven() -> None:
    """A click that is a minute old by every clock is stale."""
    assert Machine(60_000).click() < 0


def test_nothing_ends_by_a_clock_that_is_plainly_wrong() -> None:
    """Ticks are refused with a line, as rare as it must be, and the reason is told."""
    machine = Machine(40 * 86_400_000)
    machine.click()
    with capture_logs() as logs:
        assert [machine.clocks.now_ms() for _ in range(9)] == [None] * 9
    assert [entry["event"] for entry in logs] == ["ticks_refused"]
    assert "3,456,000 s ahead" in (machine.clocks.disagreement() or "")


def test_time_goes_on_while_nobody_clicks() -> None:
    """By the monotonic clock, whatever the wall clock says."""
    machine = Machine(60_000)
    machine.click()
    machine.passed_ms = 30 * 60_000
    assert machine.clocks.now_ms() == START_MS - 3 + 30 * 60_000
