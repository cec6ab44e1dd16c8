"""Several workers: rolling restarts, and a model whose release changes under load while workers die."""

import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.ids import ItemId
from serving.embedded.options import ServerOptions
from serving.embedded_process import EmbeddedServer
from tests.chaos.books import balance, let_pass, recovery
from tests.chaos.table import ChaosRow
from tests.compose.release import write_untrained
from tests.kafka.deployment import NO_TICKS, Deploy
from tests.kafka.shop import Shop

EVENTS_PER_SECOND = 100
EVENTS_BETWEEN = 300
ITEMS = [ItemId(f"i{number}") for number in range(300)]

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Return a models folder with one release."""
    write_untrained(tmp_path / "models", ITEMS)
    return tmp_path / "models"


@pytest.fixture
def model_server(models: Path, tmp_path: Path) -> Iterator[EmbeddedServer]:
    """Serve them."""
    with EmbeddedServer(ServerOptions(models=models, port=0), log_path=tmp_path / "server.log") as server:
        yield server


@pytest.mark.fault("rolling restart of three workers with static membership", "none lost, no rebalance beyond theirs")
def test_a_rolling_restart_of_static_members_loses_nothing(deploy: Deploy, row: ChaosRow) -> None:
    """Each is stopped by SIGTERM and comes back under its instance id, one after the other."""
    row.workers = 3
    deployment = deploy(partitions=6, **NO_TICKS)
    traffic = deployment.traffic(Shop(seed=7).clicks())
    workers = {name: deployment.worker(name, INSESSION_KAFKA__INSTANCE_ID=name) for name in "abc"}
    for worker in workers.values():
        worker.wait_until_ready()
    with traffic.at_rate(EVENTS_PER_SECOND):
        for name in "abc":
            let_pass(traffic, workers[name], EVENTS_BETWEEN)
            assert workers[name].end(signal.SIGTERM) == 0
            with recovery(row):
                workers[name] = deployment.worker(name, INSESSION_KAFKA__INSTANCE_ID=name)
                workers[name].wait_until_ready()
                deployment.wait_until_committed(workers[name])
    balance(deployment, row, *workers.values(), local=False)


@pytest.mark.fault(
    "{count} workers with a model: a release changes, then kill -9 and SIGTERM, under load",
    "none lost, the new release in use, each version with its own items",
)
@pytest.mark.parametrize("count", [3, pytest.param(2, marks=pytest.mark.long)])
def test_a_release_changes_under_load_while_workers_die(
    deploy: Deploy, row: ChaosRow, models: Path, model_server: EmbeddedServer, count: int
) -> None:
    """Every worker takes the new version up; one that comes back begins with it."""
    row.workers = count
    served = {
        "INSESSION_SERVING__ADDRESS": model_server.address,
        "INSESSION_SERVING__MODELS_DIRECTORY": str(models),
        "INSESSION_CLICKSTREAM__FRESHNESS_BUDGET": "10s",  # three workers and a server share what runs this
    }
    deployment = deploy(partitions=6, **NO_TICKS, **served)
    traffic = deployment.traffic(Shop(seed=8).clicks())
    workers = {name: deployment.worker(name) for name in "abc"[:count]}
    for worker in workers.values():
        worker.wait_until_ready()
        worker.wait_until(lambda: worker.metric("insession_release_version") == 1, "the release")  # noqa: B023
    killed, stopped = list(workers)[-2:]
    with traffic.at_rate(EVENTS_PER_SECOND):
        let_pass(traffic, workers["a"], EVENTS_BETWEEN)
        write_untrained(models, ITEMS, version=2)
        let_pass(traffic, workers["a"], EVENTS_BETWEEN)
        for name, how in ((killed, signal.SIGKILL), (stopped, signal.SIGTERM)):
            workers[name].end(how)
            with recovery(row):
                deployment.wait_until_committed(next(worker for other, worker in workers.items() if other != name))
            workers[name] = deployment.worker(name)
            workers[name].wait_until_ready()
        for worker in workers.values():
            worker.wait_until(lambda: worker.metric("insession_release_version") == 2, "release 2")  # noqa: B023
        let_pass(traffic, workers[stopped], EVENTS_BETWEEN)
    ledger = balance(deployment, row, *workers.values(), local=False)
    answers = [record for record in ledger.recommendations if record.tier == "model"]
    assert Counter(record.model_version for record in answers).keys() == {1, 2}
