"""The model server fails in every way that a server can: each click is answered all the same, and says by whom."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from serving.embedded_process import EmbeddedServer
from tests.chaos.books import balance, recovery
from tests.chaos.model_server import FaultyServer
from tests.chaos.table import ChaosRow
from tests.kafka.deployment import NO_TICKS, Deploy
from tests.kafka.shop import Shop
from tests.kafka.worker_process import WorkerProcess

EVENTS_PER_SECOND = 60
ANSWERS = 60

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(300)]


def killed(behind: EmbeddedServer, _spoiled: FaultyServer) -> Callable[[], None]:
    """Kill the server; it comes back behind the same address."""
    behind.kill()
    return lambda: behind.__enter__() and None


def hanging(behind: EmbeddedServer, _spoiled: FaultyServer) -> Callable[[], None]:
    """Stop the server's process in its tracks."""
    pid = behind.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    return lambda: os.kill(pid, signal.SIGCONT)


def spoiled(kind: str) -> Callable[[EmbeddedServer, FaultyServer], Callable[[], None]]:
    """Spoil every answer."""

    def fault(_behind: EmbeddedServer, server: FaultyServer) -> Callable[[], None]:
        server.fault = kind  # type: ignore[assignment]  # one of FAULTS

        def mended() -> None:
            server.fault = None

        return mended

    return fault


FAULTS = {
    "killed": killed,
    "hanging": hanging,
    "slow": spoiled("slow"),
    "answering garbage": spoiled("garbage"),
    "scoring NaN": spoiled("NaN"),
}


@pytest.mark.fault("model server {fault}", "every click answered by a lower tier with its reason; the model comes back")
@pytest.mark.parametrize("fault", FAULTS)
def test_clicks_are_answered_while_the_model_server_fails(
    deploy: Deploy, row: ChaosRow, models: Path, server: EmbeddedServer, fault: str
) -> None:
    """Lower tiers answer in time, and the model again as soon as it can."""
    with FaultyServer(server.address) as between:
        deployment = deploy(
            **NO_TICKS,
            INSESSION_SERVING__ADDRESS=between.address,
            INSESSION_SERVING__MODELS_DIRECTORY=str(models),
            INSESSION_CLICKSTREAM__FRESHNESS_BUDGET="1s",
        )
        traffic = deployment.traffic(Shop(seed=10).clicks())
        worker = deployment.worker()
        worker.wait_until_ready()
        with traffic.at_rate(EVENTS_PER_SECOND):
            wait_for_answers(worker, by_model=True)
            mend = FAULTS[fault](server, between)
            wait_for_answers(worker, by_model=False)
            mend()
            with recovery(row):
                wait_for_answers(worker, by_model=True)
        ledger = balance(deployment, row, worker)
    lower = {(record.tier, record.reason) for record in ledger.recommendations if record.tier not in {"model", None}}
    assert all(reason for _, reason in lower), lower


def wait_for_answers(worker: WorkerProcess, *, by_model: bool) -> None:
    """Wait for some answers by the model, or by those below it."""

    def count() -> float:
        model = worker.metric("insession_answers_total", 'tier="model"')
        return model if by_model else worker.metric("insession_answers_total") - model

    before = count()
    worker.wait_until(lambda: count() >= before + ANSWERS, f"answers {'by' if by_model else 'below'} the model")
