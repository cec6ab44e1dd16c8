"""Where a group begins on a topic that has a past, under the name that the shop gave it."""

import signal
import time
from datetime import UTC, datetime

import pytest

from streams.cluster.topics import Topic, app_id
from tests.builders.clicks import click
from tests.kafka.deployment import NO_TICKS, Deploy, Deployment, NewRecord

pytestmark = pytest.mark.kafka

THE_SHOPS = {
    **NO_TICKS,
    "INSESSION_TOPICS__CLICKSTREAM": "{prefix}shop.clicks",
    "INSESSION_TOPICS__CATALOG": "{prefix}shop.items",
}


def clicks(name: str, count: int = 12) -> list[NewRecord]:
    """Make a click of each of so many visitors, on every partition some."""
    return [click(f"{name}{number}") for number in range(count)]


def answered(deployment: Deployment) -> set[str]:
    """Return the visitors that have an answer, by what they were written as."""
    return {record.visitor_id.rstrip("0123456789") for record in deployment.ledger().recommendations}


def test_a_start_at_the_end_is_decided_once(deploy: Deploy) -> None:
    """A worker that is killed before it has read anything passes over nothing that comes while it is away."""
    deployment = deploy(partitions=2, INSESSION_CLICKSTREAM__START="latest", **THE_SHOPS)
    assert deployment.settings.topics.name(Topic.CLICKSTREAM).endswith("-shop.clicks")
    deployment.write(Topic.CLICKSTREAM, clicks("before"))
    first = deployment.worker()
    first.wait_until_ready()
    assert first.end(signal.SIGKILL) == -signal.SIGKILL
    deployment.write(Topic.CLICKSTREAM, clicks("away"))
    second = deployment.worker("another-folder")
    deployment.wait_until_committed(second)
    deployment.write(Topic.CLICKSTREAM, clicks("live"))
    deployment.wait_until_committed(second)
    assert second.end(signal.SIGTERM) == 0
    assert answered(deployment) == {"away", "live"}
    assert len(deployment.ledger().recommendations) == 24
    assert '"passed_over": 0' not in first.log_text()


def test_a_start_at_a_time_passes_over_what_is_older(deploy: Deploy) -> None:
    """It begins with the first record of that time."""
    past = clicks("before")
    deployment = deploy(partitions=2, **THE_SHOPS)
    deployment.write(Topic.CLICKSTREAM, past)
    since_ms = time.time_ns() // 1_000_000 + 1
    while time.time_ns() // 1_000_000 <= since_ms:
        pass
    deployment.write(Topic.CLICKSTREAM, clicks("since"))
    since = datetime.fromtimestamp(since_ms / 1000, UTC).isoformat()
    worker = deployment.worker(INSESSION_CLICKSTREAM__START=since)
    deployment.wait_until_committed(worker)
    assert worker.end(signal.SIGTERM) == 0
    assert answered(deployment) == {"since"}


def test_a_group_whose_commits_were_forgotten_passes_over_nothing(deploy: Deploy) -> None:
    """There is state, so it is no first start: what came since is answered, and what was answered says so."""
    deployment = deploy(partitions=2, INSESSION_CLICKSTREAM__START="latest", **THE_SHOPS)
    first = deployment.worker()
    first.wait_until_ready()
    deployment.write(Topic.CLICKSTREAM, clicks("before"))
    deployment.wait_until_committed(first)
    assert first.end(signal.SIGTERM) == 0
    group = app_id(deployment.settings.kafka, deployment.settings.topics)
    deployment.admin.delete_consumer_groups([group])[group].result()
    deployment.write(Topic.CLICKSTREAM, clicks("since"))
    second = deployment.worker()
    deployment.wait_until_committed(second)
    assert second.end(signal.SIGTERM) == 0
    assert answered(deployment) == {"before", "since"}
    assert "commits_lost" in second.log_text()
