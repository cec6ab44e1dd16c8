"""A second worker joins and leaves under load, by SIGTERM and kill -9 in turn; sometimes the older one leaves.

`make chaos-rebalance` sets the numbers: INSESSION_CHAOS_ROUNDS joins and leaves; one test
for each number of standby replicas in INSESSION_CHAOS_STANDBYS.
"""

import os
import signal

import pytest

from tests.chaos.books import answered, balance, let_pass, recovery
from tests.chaos.table import ChaosRow
from tests.kafka.deployment import NO_TICKS, Deploy, Say
from tests.kafka.shop import Shop

ROUNDS = int(os.environ.get("INSESSION_CHAOS_ROUNDS", "6"))
STANDBYS = os.environ.get("INSESSION_CHAOS_STANDBYS", "0").split(",")
EVENTS_PER_SECOND = float(os.environ.get("INSESSION_CHAOS_EVENTS_PER_SECOND", "200"))
EVENTS_TOGETHER = 400
"""Clicks while both workers run, before one leaves."""

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(120 + 90 * ROUNDS)]


@pytest.mark.fault(
    "a worker joins and leaves, kill -9 and SIGTERM, standby replicas: {standby_replicas}",
    "none lost, states and session ends of an undisturbed run",
)
@pytest.mark.parametrize("standby_replicas", STANDBYS)
def test_nothing_is_lost_while_workers_come_and_go(
    deploy: Deploy, row: ChaosRow, say: Say, standby_replicas: str
) -> None:
    """Every offset has its record, and every state and session end is that of an undisturbed run."""
    row.workers = 2
    deployment = deploy(partitions=8, **NO_TICKS, INSESSION_KAFKA__STANDBY_REPLICAS=standby_replicas)
    traffic = deployment.traffic(Shop(seed=4).clicks())
    staying = deployment.worker("a")
    staying.wait_until_ready()
    resyncs = 0.0
    with traffic.at_rate(EVENTS_PER_SECOND):
        for number in range(ROUNDS):
            joining = deployment.worker("b" if staying.datadir.name == "a" else "a")
            joining.wait_until_ready()
            let_pass(traffic, staying, EVENTS_TOGETHER)
            joining.wait_until(lambda: answered(joining) > 0, "it answered")  # noqa: B023 - called at once
            staying, leaving = (staying, joining) if number % 4 < 2 else (joining, staying)
            resyncs += leaving.metric("insession_offset_resyncs_total")
            how = (signal.SIGKILL, signal.SIGTERM)[number % 2]
            assert leaving.end(how) == (0 if how is signal.SIGTERM else -signal.SIGKILL)
            with recovery(row):
                deployment.wait_until_committed(staying)
    resyncs += staying.metric("insession_offset_resyncs_total")
    balance(deployment, row, staying)
    say(f"standby {standby_replicas}, {ROUNDS} joins and leaves, {resyncs:.0f} resyncs: {row}")
