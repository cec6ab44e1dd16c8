"""Workers are paused (SIGSTOP) for longer than their session, beside one that takes over: the states stay right.

INSESSION_CHAOS_PAUSES pauses; `make chaos-pause` makes twenty of 20 to 90 s, the tests two short ones.
"""

import os
import random
import signal
import threading
from functools import partial

import pytest

from tests.kafka.deployment import NO_TICKS, Deploy, Say
from tests.kafka.shop import Shop, Traffic
from tests.kafka.worker_process import WorkerProcess

PAUSES = int(os.environ.get("INSESSION_CHAOS_PAUSES", "2"))
SECONDS = tuple(float(one) for one in os.environ.get("INSESSION_CHAOS_PAUSE_SECONDS", "12,14").split(","))
"""Shortest and longest pause."""
EVENTS_PER_SECOND = 300
EVENTS_TOGETHER = 600
BACKLOG = 2000
"""Clicks at once right before a pause, so that it meets batches on their way."""

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.chaos,
    pytest.mark.slow,
    pytest.mark.timeout(180 + int(PAUSES * (60 + SECONDS[-1]))),
]


def test_a_paused_worker_writes_nothing_stale(deploy: Deploy, say: Say) -> None:
    """It ends by itself with a line that says why; every state, session end and record is the undisturbed run's."""
    deployment = deploy(partitions=4, **NO_TICKS)
    choose = random.Random(17)
    traffic = deployment.traffic(Shop(seed=11).clicks())
    staying, paused = deployment.worker("a"), deployment.worker("b")
    for worker in (staying, paused):
        worker.wait_until_ready()
    for _ in range(PAUSES):
        with traffic.at_rate(EVENTS_PER_SECOND):
            enough = traffic.sent + EVENTS_TOGETHER
            for worker in (staying, paused):
                worker.wait_until(partial(answers, worker, traffic, enough), "it answered")
        traffic.write(BACKLOG)
        paused.send(signal.SIGSTOP)
        with traffic.at_rate(EVENTS_PER_SECOND):
            threading.Event().wait(choose.uniform(*SECONDS))  # the pause itself is what is tested
            paused.send(signal.SIGCONT)
            assert paused.wait() == 1
        assert paused.log_text().splitlines()[-1].startswith("insession: the group has ")
        deployment.wait_until_committed(staying)
        staying, paused = deployment.worker(paused.datadir.name), staying
        staying.wait_until_ready()
    deployment.wait_until_committed(staying)
    assert paused.end(signal.SIGTERM) == 0
    staying.wait_until_ready()  # with all partitions, what it was paused with included
    deployment.wait_until_committed(staying)
    assert staying.end(signal.SIGTERM) == 0
    ledger = deployment.ledger()
    findings = ledger.check()
    say(f"{PAUSES} pauses of {SECONDS[0]:g} to {SECONDS[-1]:g} s: {findings}")
    findings.assert_clean()
    assert ledger.unlike_local_tables(staying.datadir) == []


def answers(worker: WorkerProcess, traffic: Traffic, enough: int) -> bool:
    """Tell whether so many clicks are sent and the worker has answered some."""
    return traffic.sent >= enough and worker.metric("insession_events_total") > 0
