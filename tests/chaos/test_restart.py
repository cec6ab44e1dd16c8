import signal

import pytest

from tests.kafka.deployment import NO_TICKS, Deploy, Deployment, Say
from tests.kafka.shop import Shop, Traffic
from tests.kafka.worker_process import WorkerProcess

KILLS = 4
EVENTS_PER_SECOND = 200
EVENTS_BETWEEN_KILLS = 400

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(600)]


def test_a_worker_killed_again_and_again_loses_nothing(deploy: Deploy, say: Say) -> None:
    """On its own data folder and then on an empty one: every offset has its record, every state is the undisturbed."""
    deployment = deploy(**NO_TICKS, INSESSION_KAFKA__INSTANCE_ID="a")  # static membership: it is back at once
    traffic = deployment.traffic(Shop(seed=3))
    worker = deployment.worker("kept")
    with traffic.at_rate(EVENTS_PER_SECOND):
        for _ in range(KILLS):
            worker = killed_and_restarted(deployment, worker, traffic, "kept")
    check(deployment, worker, say)
    worker = deployment.worker("kept")
    with traffic.at_rate(EVENTS_PER_SECOND):
        worker = killed_and_restarted(deployment, worker, traffic, "empty")
    check(deployment, worker, say)


def killed_and_restarted(
    deployment: Deployment, worker: WorkerProcess, traffic: Traffic, datadir: str
) -> WorkerProcess:
    """Let the worker answer for a while, kill it under load and start another one."""
    worker.wait_until_ready()
    enough = traffic.sent + EVENTS_BETWEEN_KILLS
    worker.wait_until(lambda: traffic.sent >= enough and worker.metric("insession_events_total") > 0, "it answered")
    assert worker.end(signal.SIGKILL) == -signal.SIGKILL
    return deployment.worker(datadir)


def check(deployment: Deployment, worker: WorkerProcess, say: Say) -> None:
    """Stop the worker when all is committed, and compare topics and tables with the undisturbed run."""
    deployment.wait_until_committed(worker)
    assert worker.end(signal.SIGTERM) == 0
    ledger = deployment.ledger()
    findings = ledger.check()
    say(f"{worker.datadir.name}: {findings}")
    findings.assert_clean()
    assert ledger.unlike_local_tables(worker.datadir) == []
