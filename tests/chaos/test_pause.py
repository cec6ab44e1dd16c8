"""Workers are paused (SIGSTOP) for longer than their session, beside one that takes over: the states stay right."""

import random
import signal
import threading

import pytest

from tests.chaos.books import answered, balance, let_pass, recovery
from tests.chaos.table import ChaosRow
from tests.kafka.deployment import NO_TICKS, Deploy
from tests.kafka.shop import Shop

EVENTS_PER_SECOND = 200
EVENTS_TOGETHER = 400
BACKLOG = 2000
"""Clicks at once right before a pause, so that it meets batches on their way."""

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.mark.fault(
    "one of two workers paused (SIGSTOP) {pauses} times for {shortest} to {longest} s",
    "it writes nothing stale; none lost, states of an undisturbed run",
)
@pytest.mark.parametrize(
    ("pauses", "shortest", "longest"),
    [(2, 12, 14), pytest.param(20, 20, 90, marks=pytest.mark.long)],
)
def test_a_paused_worker_writes_nothing_stale(
    deploy: Deploy, row: ChaosRow, pauses: int, shortest: int, longest: int
) -> None:
    """It ends by itself with a line that says why; every state, session end and record is the undisturbed run's."""
    row.workers = 2
    deployment = deploy(**NO_TICKS)
    choose = random.Random(17)
    traffic = deployment.traffic(Shop(seed=11).clicks())
    staying, paused = deployment.worker("a"), deployment.worker("b")
    for worker in (staying, paused):
        worker.wait_until_ready()
    for _ in range(pauses):
        with traffic.at_rate(EVENTS_PER_SECOND):
            let_pass(traffic, staying, EVENTS_TOGETHER)
            paused.wait_until(lambda: answered(paused) > 0, "it answered")  # noqa: B023 - called at once
        traffic.write(BACKLOG)
        paused.send(signal.SIGSTOP)
        with traffic.at_rate(EVENTS_PER_SECOND):
            threading.Event().wait(choose.uniform(shortest, longest))  # the pause itself is what is tested
            paused.send(signal.SIGCONT)
            assert paused.wait() == 1
        assert paused.log_text().splitlines()[-1].startswith("insession: the group has ")
        with recovery(row):
            deployment.wait_until_committed(staying)
        staying, paused = deployment.worker(paused.datadir.name), staying
        staying.wait_until_ready()
    deployment.wait_until_committed(staying)
    assert paused.end(signal.SIGTERM) == 0
    traffic.write(EVENTS_TOGETHER)  # it commits these when it has recovered all partitions, which are then compared
    balance(deployment, row, staying)
