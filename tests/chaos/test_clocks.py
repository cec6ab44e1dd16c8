"""The wall clock of a worker is wrong, beside another one whose clock is right."""

import signal
from pathlib import Path

import pytest

from tests.chaos.books import answered, balance_with_ticks, let_pass, recovery
from tests.chaos.table import ChaosRow
from tests.kafka.deployment import Deploy
from tests.kafka.shop import live_clicks

SKEWED = Path(__file__).parent / "skewed"
"""On a worker's PYTHONPATH it sets the clock of that process."""
HOUR_SECONDS = 3600
TICKS = {
    "INSESSION_SESSIONS__INACTIVITY_GAP": "5",
    "INSESSION_SESSIONS__GRACE_PERIOD": "4",  # more than a loaded machine holds a click back
    "INSESSION_KAFKA__TICK_INTERVAL": "0.2",
}
EVENTS_PER_SECOND = 60
EVENTS = 600

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.mark.fault("a worker's clock is wrong by {hours:+} h", "none lost, no session ends early")
@pytest.mark.parametrize(
    "hours", [1, pytest.param(-1, marks=pytest.mark.long), pytest.param(960, marks=pytest.mark.long)]
)
def test_a_wrong_clock_ends_no_session(deploy: Deploy, row: ChaosRow, hours: int) -> None:
    """Sessions end by the clicks, and by the ticks of clocks that can be right."""
    row.workers = 2
    deployment = deploy(partitions=4, **TICKS)
    traffic = deployment.traffic(live_clicks(seed=30, visitors=400))
    skew = {"PYTHONPATH": str(SKEWED), "CHAOS_CLOCK_SKEW_SECONDS": str(hours * HOUR_SECONDS)}
    right, wrong = deployment.worker("right"), deployment.worker("wrong", **skew)
    for worker in (right, wrong):
        worker.wait_until_ready()
    with traffic.at_rate(EVENTS_PER_SECOND):
        let_pass(traffic, right, EVENTS)
        wrong.wait_until(lambda: answered(wrong) > 0, "it answered")
        told = wrong.metric("insession_clock_skew_seconds")
        assert wrong.end(signal.SIGTERM) == 0
        with recovery(row):
            deployment.wait_until_committed(right)
    balance_with_ticks(deployment, row, right)
    assert told == pytest.approx(-hours * HOUR_SECONDS, abs=60)
