"""The broker goes away and comes back, with a node of its own that nobody else uses."""

import contextlib
import subprocess
from collections.abc import Callable, Iterator

import pytest

from streams.local.kafka_node import KafkaNode
from tests.chaos.books import answered_by_the_model, balance, kept_alive, let_pass, recovery
from tests.chaos.table import ChaosRow
from tests.conftest import where_kafka_is
from tests.kafka.deployment import NO_TICKS, Deploy
from tests.kafka.shop import Shop
from tests.kafka.trending_books import OFTEN, PLACES, assert_counted_once
from tests.kafka.worker_process import WorkerProcess

EVENTS_PER_SECOND = 100
EVENTS_BEFORE = 300
UNREACHABLE_SECONDS = 30
"""Beyond both kafka.send_timeout and kafka.session_timeout."""

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def node(kafka_tools: None) -> Iterator[KafkaNode]:  # noqa: ARG001 - only its skip matters
    """Start a node that may be stopped."""
    with where_kafka_is(), KafkaNode() as node:
        yield node


@pytest.fixture(scope="module")
def kafka_brokers(node: KafkaNode) -> str:
    """Deploy on that node."""
    return node.address


def restarted(end: Callable[[KafkaNode], None]) -> Callable[[KafkaNode, WorkerProcess], None]:
    """Make the fault of a broker that ends and is started again at once."""

    def fault(node: KafkaNode, _worker: WorkerProcess) -> None:
        end(node)
        node.start()

    return fault


def unreachable(node: KafkaNode, worker: WorkerProcess) -> None:
    """Let nothing answer until the worker has ended, with a message; one that had nothing under way waits."""
    node.pause()
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            assert worker.wait(UNREACHABLE_SECONDS) == 1
            assert worker.log_text().splitlines()[-1].startswith("insession: ")
    finally:
        node.resume()


FAULTS = {
    "stopped and started": restarted(KafkaNode.stop),
    "killed and started": restarted(KafkaNode.kill),
    "unreachable for longer than kafka.send_timeout": unreachable,
}


@pytest.mark.fault(
    "broker {fault}, while a release is served",
    "none lost, states of an undisturbed run; goes on by itself or by a restart",
)
@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_is_lost_while_the_broker_is_away(
    deploy: Deploy, row: ChaosRow, node: KafkaNode, served: dict[str, str], fault: str
) -> None:
    """A worker that gives up ends with a message, and its keeper starts it again."""
    deployment = deploy(**NO_TICKS, **served, INSESSION_KAFKA__SEND_TIMEOUT="6")
    traffic = deployment.traffic(Shop(seed=9).clicks())
    worker = deployment.worker()
    worker.wait_until_ready()
    with traffic.at_rate(EVENTS_PER_SECOND):
        let_pass(traffic, worker, EVENTS_BEFORE)
        FAULTS[fault](node, worker)
        with recovery(row):
            worker = kept_alive(deployment, worker)
    worker = kept_alive(deployment, worker)
    answered_by_the_model(balance(deployment, row, worker))


@pytest.mark.fault(
    "broker killed and started, under an observer",
    "what is trending counts each input once: as a batch over the clickstream, to a billionth",
)
def test_what_is_trending_is_right_after_the_broker_was_away(deploy: Deploy, row: ChaosRow, node: KafkaNode) -> None:
    """The observer waits for it, and goes on by itself from what is stored."""
    deployment = deploy(**NO_TICKS, **OFTEN, INSESSION_KAFKA__SEND_TIMEOUT="6")
    traffic = deployment.traffic(Shop(seed=10, places=PLACES).clicks())
    worker, observer = deployment.worker(), deployment.observer()
    worker.wait_until_ready()
    observer.wait_until(lambda: observer.is_active, "it counts")
    with traffic.at_rate(EVENTS_PER_SECOND):
        for _ in range(2):
            let_pass(traffic, worker, EVENTS_BEFORE)
            node.kill()
            node.start()
            with recovery(row):
                worker = kept_alive(deployment, worker)
                observer.wait_until(lambda: observer.is_done, "it has read all")
    worker = kept_alive(deployment, worker)
    assert_counted_once(deployment, observer)
    balance(deployment, row, worker)
