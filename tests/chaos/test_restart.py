import signal

import pytest

from schemas.ids import SessionId
from schemas.records import SessionEvent
from tests.kafka.deployment import NO_TICKS, Deploy, Deployment, Say
from tests.kafka.ledger import different
from tests.kafka.shop import Shop, Traffic, live_clicks
from tests.kafka.worker_process import WorkerProcess

KILLS = 3
EVENTS_PER_SECOND = 150
EVENTS_BETWEEN_KILLS = 300
TICK_KILLS = 2
TICKS = {
    "INSESSION_SESSIONS__INACTIVITY_GAP": "5",
    "INSESSION_SESSIONS__GRACE_PERIOD": "4",  # more than a loaded machine holds a click back
    "INSESSION_KAFKA__TICK_INTERVAL": "0.2",
}

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(600)]


def test_a_worker_killed_again_and_again_loses_nothing(deploy: Deploy, say: Say) -> None:
    """On its own data folder and then on an empty one: every offset has its record, every state is the undisturbed."""
    deployment = deploy(**NO_TICKS, INSESSION_KAFKA__INSTANCE_ID="a")  # static membership: it is back at once
    traffic = deployment.traffic(Shop(seed=3).clicks())
    worker = deployment.worker("kept")
    with traffic.at_rate(EVENTS_PER_SECOND):
        for _ in range(KILLS):
            worker = killed_and_restarted(deployment, worker, traffic, "kept")
    check(deployment, worker, say)
    worker = deployment.worker("kept")
    with traffic.at_rate(EVENTS_PER_SECOND):
        worker = killed_and_restarted(deployment, worker, traffic, "empty")
    check(deployment, worker, say)


def test_ticks_end_every_session_once_and_whole(deploy: Deploy, say: Say) -> None:
    """Kills between a tick and its session end change nothing: the sessions are those that the clicks alone make."""
    deployment = deploy(**TICKS, INSESSION_KAFKA__INSTANCE_ID="a")
    traffic = deployment.traffic(live_clicks(seed=5, visitors=800))
    worker = deployment.worker()
    with traffic.at_rate(EVENTS_PER_SECOND):
        for _ in range(TICK_KILLS):
            worker.wait_until(lambda: worker.metric("insession_session_ends_total") > 20, "sessions ended")  # noqa: B023
            worker = killed_and_restarted(deployment, worker, traffic, "a")
    deployment.wait_until_committed(worker)
    expected = deployment.ledger().expected
    worker.wait_until(lambda: len(sessions_ended(deployment)) >= len(expected.sessions()), "all sessions ended")
    assert worker.end(signal.SIGTERM) == 0
    ledger = deployment.ledger()
    assert {record.status for record in ledger.recommendations} <= {"answered", "replayed"}
    assert expected.statuses.keys() == {record.id for record in ledger.recommendations}
    say(f"ticks: {len(expected.statuses)} events, {len(expected.sessions())} sessions")
    assert different(expected.sessions(), sessions_ended(deployment)) == []


def sessions_ended(deployment: Deployment) -> dict[SessionId, list[SessionEvent]]:
    """Give the events of every ended session; fails where one ended twice."""
    ends = {end.id: end for end in deployment.ledger().session_ends()}
    sessions = {end.session_id: end.events for end in ends.values()}
    assert len(sessions) == len(ends)
    return sessions


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
