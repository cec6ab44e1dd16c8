"""A second worker joins and leaves under load, by SIGTERM and kill -9 in turn; sometimes the older one leaves."""

import signal

import pytest

from tests.chaos.books import answered, answered_by_the_model, balance, let_pass, recovery
from tests.chaos.table import ChaosRow
from tests.kafka.deployment import NO_TICKS, Deploy, Say
from tests.kafka.shop import Shop
from tests.kafka.trending_books import OFTEN, PLACES, assert_counted_once

EVENTS_PER_SECOND = 100
EVENTS_TOGETHER = 400
"""Clicks while both workers run, before one leaves."""

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.mark.fault(
    "a worker joins and leaves {times} times while a release is served, by kill -9 and SIGTERM; "
    "standby replicas: {standby_replicas}",
    "none lost, states and session ends of an undisturbed run",
)
@pytest.mark.parametrize(
    ("times", "standby_replicas"),
    [(2, 0), pytest.param(12, 0, marks=pytest.mark.long), pytest.param(12, 1, marks=pytest.mark.long)],
)
def test_nothing_is_lost_while_workers_come_and_go(
    deploy: Deploy, row: ChaosRow, say: Say, served: dict[str, str], times: int, standby_replicas: int
) -> None:
    """Every offset has its record, every state and session end is that of an undisturbed run, each view counts once."""
    row.workers = 2
    deployment = deploy(
        partitions=8,
        **NO_TICKS,
        **OFTEN,
        INSESSION_KAFKA__STANDBY_REPLICAS=str(standby_replicas),
        **served,
    )
    traffic = deployment.traffic(Shop(seed=4, places=PLACES).clicks())
    staying, observer = deployment.worker("a"), deployment.observer()
    staying.wait_until_ready()
    resyncs = 0.0
    with traffic.at_rate(EVENTS_PER_SECOND):
        for number in range(times):
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
    deployment.wait_until_committed(staying)
    assert_counted_once(deployment, observer)
    ledger = balance(deployment, row, staying)
    tiers = answered_by_the_model(ledger)
    say(f"standby {standby_replicas}, {times} joins and leaves, {resyncs:.0f} resyncs, {dict(tiers)}: {row}")
