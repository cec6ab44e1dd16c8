"""Topics are deleted, made anew or grown under a worker that has traffic."""

import pytest
from confluent_kafka.admin import NewPartitions

from streams.cluster.topics import Topic
from tests.chaos.books import balance, kept_alive, let_pass, recovery
from tests.chaos.eras import era, settle
from tests.chaos.table import ChaosRow
from tests.kafka.deployment import NO_TICKS, Deploy
from tests.kafka.shop import Shop
from tests.kafka.test_repartition import run_repartition, wait_until_the_group_is_empty

EVENTS_PER_SECOND = 60
EVENTS_BEFORE = 300
NOTICED_SECONDS = 90
"""A minute for the watch, and the worker's way out."""

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.mark.fault("an output topic deleted, and made again", "ends with a message; nothing lost in the other topics")
def test_nothing_is_lost_while_an_output_is_gone(deploy: Deploy, row: ChaosRow) -> None:
    """The worker acknowledges no click whose outputs it cannot write, and its keeper starts it again."""
    deployment = deploy(partitions=2, **NO_TICKS)
    traffic = deployment.traffic(Shop(seed=20).clicks())
    worker = deployment.worker()
    worker.wait_until_ready()
    with traffic.at_rate(EVENTS_PER_SECOND):
        let_pass(traffic, worker, EVENTS_BEFORE)
        name = deployment.delete(Topic.INTENT_SIGNALS)
        assert worker.wait(NOTICED_SECONDS) == 1
        assert "\ninsession: " in worker.log_text()
        deployment.create(next(spec for spec in deployment.settings.topic_specs() if spec.name == name))
        with recovery(row):
            worker = kept_alive(deployment, deployment.worker())
    balance(deployment, row, worker)


@pytest.mark.fault("the clickstream deleted and made anew", "ends with a message, goes on with every session")
def test_sessions_go_on_in_a_clickstream_that_was_made_anew(deploy: Deploy, row: ChaosRow) -> None:
    """All clicks of the earlier topic were answered; those of the new one are, from its first."""
    deployment = deploy(partitions=2, **NO_TICKS)
    clicks = Shop(seed=21).clicks()
    worker = deployment.worker()
    worker.wait_until_ready()
    traffic = deployment.traffic(clicks)
    with traffic.at_rate(EVENTS_PER_SECOND):
        let_pass(traffic, worker, EVENTS_BEFORE)
    deployment.wait_until_committed(worker)
    first = era(deployment)
    deployment.make_anew(Topic.CLICKSTREAM)
    with deployment.traffic(clicks).at_rate(EVENTS_PER_SECOND):
        assert worker.wait(NOTICED_SECONDS) == 1
        assert "was deleted and made anew" in worker.log_text()
        with recovery(row):
            worker = kept_alive(deployment, deployment.worker())
    kept_alive(deployment, worker)
    settle(deployment, row, first, era(deployment, first))


@pytest.mark.fault(
    "the clickstream grown, then `insession repartition`", "ends with a message, goes on with all sessions"
)
def test_sessions_go_on_where_the_clickstream_grew(deploy: Deploy, row: ChaosRow) -> None:
    """What came while no worker ran is answered by the command, and states lie where their keys are."""
    deployment = deploy(partitions=2, **NO_TICKS)
    clicks = Shop(seed=22).clicks()
    worker = deployment.worker()
    worker.wait_until_ready()
    traffic = deployment.traffic(clicks)
    name = deployment.settings.topics.name(Topic.CLICKSTREAM)
    with traffic.at_rate(EVENTS_PER_SECOND):
        let_pass(traffic, worker, EVENTS_BEFORE)
        deployment.admin.create_partitions([NewPartitions(name, 4)])[name].result()
        assert worker.wait(NOTICED_SECONDS) == 1
        assert "has 4 partitions and should have 2" in worker.log_text()
    wait_until_the_group_is_empty(deployment)
    with recovery(row):
        assert run_repartition(deployment)["now"] == 4
        worker = deployment.worker(partitions="4")
        worker.wait_until_ready()
    traffic = deployment.traffic(clicks)
    with traffic.at_rate(EVENTS_PER_SECOND):
        let_pass(traffic, worker, EVENTS_BEFORE)
    deployment.wait_until_committed(worker)
    settle(deployment, row, era(deployment))
