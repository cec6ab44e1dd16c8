"""One worker, killed again and again."""

import signal

import pytest

from tests.chaos.books import (
    answered_by_the_model,
    balance,
    balance_with_ticks,
    late_clicks,
    let_pass,
    recovery,
    sessions_ended,
)
from tests.chaos.table import ChaosRow
from tests.kafka.deployment import NO_TICKS, Deploy, Deployment
from tests.kafka.shop import Shop, Traffic, live_clicks
from tests.kafka.worker_process import WorkerProcess

KILLS = 3
EVENTS_PER_SECOND = 100
EVENTS_BETWEEN_KILLS = 200
TICK_KILLS = 2
TICKS = {
    "INSESSION_SESSIONS__INACTIVITY_GAP": "16",
    "INSESSION_SESSIONS__GRACE_PERIOD": "12",  # more than a loaded machine holds a click back
    "INSESSION_KAFKA__TICK_INTERVAL": "0.2",
}

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.mark.fault(
    "kill -9 three times while a release is served, and once with the data folder lost",
    "none lost, states of an undisturbed run",
)
def test_a_worker_killed_again_and_again_loses_nothing(deploy: Deploy, row: ChaosRow, served: dict[str, str]) -> None:
    """On its own data folder and then on an empty one: every offset has its record, every state is the undisturbed."""
    deployment = deploy(**NO_TICKS, **served, INSESSION_KAFKA__INSTANCE_ID="a")  # static membership: it is back at once
    traffic = deployment.traffic(Shop(seed=3).clicks())
    worker = deployment.worker("kept")
    with traffic.at_rate(EVENTS_PER_SECOND):
        for _ in range(KILLS):
            worker = killed_and_restarted(deployment, row, worker, traffic, "kept")
    balance(deployment, row, worker)
    worker = deployment.worker("kept")
    with traffic.at_rate(EVENTS_PER_SECOND):
        worker = killed_and_restarted(deployment, row, worker, traffic, "empty")
    answered_by_the_model(balance(deployment, row, worker))


@pytest.mark.fault("kill -9 between a tick and its session end", "every session ends once and whole")
def test_ticks_end_every_session_once_and_whole(deploy: Deploy, row: ChaosRow) -> None:
    """Kills between a tick and its session end change nothing: the sessions are those that the clicks alone make."""
    deployment = deploy(**TICKS, INSESSION_KAFKA__INSTANCE_ID="a")
    traffic = deployment.traffic(live_clicks(seed=5, visitors=4000))
    worker = deployment.worker()
    with traffic.at_rate(EVENTS_PER_SECOND):
        for _ in range(TICK_KILLS):
            worker.wait_until(lambda: worker.metric("insession_session_ends_total") > 20, "sessions ended")  # noqa: B023
            worker = killed_and_restarted(deployment, row, worker, traffic, "a")
    deployment.wait_until_committed(worker)
    ledger = deployment.ledger()
    assert late_clicks(ledger) == []  # a machine that holds clicks back for longer than the grace period
    due = len(ledger.expected.sessions())
    worker.wait_until(lambda: len(sessions_ended(deployment.ledger())) >= due, "all sessions ended")
    balance_with_ticks(deployment, row, worker)


def killed_and_restarted(
    deployment: Deployment, row: ChaosRow, worker: WorkerProcess, traffic: Traffic, datadir: str
) -> WorkerProcess:
    """Let the worker answer for a while, kill it under load and start another one."""
    worker.wait_until_ready()
    let_pass(traffic, worker, EVENTS_BETWEEN_KILLS)
    assert worker.end(signal.SIGKILL) == -signal.SIGKILL
    with recovery(row):
        worker = deployment.worker(datadir)
        deployment.wait_until_committed(worker)
    return worker
