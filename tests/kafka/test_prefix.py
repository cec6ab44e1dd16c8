import json
import signal
import time

import pytest

from streams.cluster.topics import Topic, app_id, changelog_name
from tests.kafka.deployment import Deploy, Deployment, NewRecord

pytestmark = pytest.mark.kafka


def view(visitor: str) -> NewRecord:
    """Make a view of an item, now."""
    event = {"visitor_id": visitor, "event_type": "view", "event_time": time.time_ns() // 1_000_000, "item_id": "i1"}
    return NewRecord(visitor.encode(), json.dumps(event).encode())


def names_of(deployment: Deployment) -> set[str]:
    """Return all that a deployment has on the cluster."""
    settings = deployment.settings
    own = {settings.topics.name(topic) for topic in Topic}
    return own | {app_id(settings.kafka, settings.topics), changelog_name(settings.kafka, settings.topics)}


def test_two_deployments_share_a_cluster(deploy: Deploy) -> None:
    """Under prefixes of their own, and with the same group and instance id, neither sees what the other does."""
    same = {"INSESSION_KAFKA__INSTANCE_ID": "worker-0"}
    test, production = deploy(partitions=2, **same), deploy(partitions=2, **same)
    workers = {"test": test.worker("test"), "production": production.worker("production")}
    for deployment, worker, visitor in (
        (test, workers["test"], "tester"),
        (production, workers["production"], "customer"),
    ):
        worker.wait_until_ready()
        deployment.write(Topic.CLICKSTREAM, [view(visitor), view(visitor)])
        deployment.wait_until_committed(worker)
    assert [worker.end(signal.SIGTERM) for worker in workers.values()] == [0, 0]
    for deployment, visitor in ((test, "tester"), (production, "customer")):
        ledger = deployment.ledger()
        assert list({answer.id: answer.visitor_id for answer in ledger.recommendations}.values()) == [visitor] * 2
        assert {key for _, key in ledger.changelog()} == {visitor.encode()}
    assert names_of(test).isdisjoint(names_of(production))
