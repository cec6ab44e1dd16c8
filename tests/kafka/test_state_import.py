"""A mirror of the changelog, and inputs whose offsets begin anew, as on another cluster."""

import json
import signal
from collections import Counter
from typing import Any

import pytest
from click.testing import CliRunner

from agents.cli import insession
from streams.cluster.topics import Topic, changelog_name, changelog_spec
from tests.builders.clicks import clicks
from tests.kafka.deployment import NO_TICKS, Deploy, Deployment, NewRecord

pytestmark = pytest.mark.kafka

GROUP = {"INSESSION_KAFKA__GROUP": "after"}


def run_import(deployment: Deployment, *arguments: str, **environment: str) -> Any:
    """Run `insession state import` and give what it prints, or the error that it ends with."""
    topics = deployment.settings.topics
    connection = ["--brokers", deployment.settings.kafka.brokers, "--prefix", topics.prefix]
    layout = {"INSESSION_TOPICS__PARTITIONS": str(topics.partitions), "INSESSION_TOPICS__REPLICATION": "1"}
    result = CliRunner().invoke(
        insession, ["state", "import", *arguments, *connection, "--json"], env={**layout, **environment}
    )
    return json.loads(result.stdout) if result.exit_code == 0 else result.exception


def mirrored(deployment: Deployment) -> str:
    """Copy the changelog to a topic of another name; gives that."""
    settings = deployment.settings
    name = changelog_name(settings.kafka, settings.topics)
    mirror = settings.topics.prefix + "mirror-of-the-changelog"
    deployment.create(changelog_spec(settings.topics, mirror))
    records = deployment.reader.read(name)
    deployment.write(mirror, [NewRecord(one.key, one.value, partition=one.partition) for one in records])
    return mirror


def test_returning_visitors_are_answered_on_another_cluster(deploy: Deploy) -> None:
    """Sixty of sixty, with items, in their sessions; none is replayed, and nothing of before is read again."""
    deployment = deploy(partitions=1, **NO_TICKS)
    first = deployment.worker()
    deployment.write(Topic.CLICKSTREAM, clicks(100, "old"))
    deployment.wait_until_committed(first)
    refused = run_import(deployment, mirrored(deployment))
    assert "stop them all" in str(refused)
    assert first.end(signal.SIGTERM) == 0
    mirror = deployment.settings.topics.prefix + "mirror-of-the-changelog"
    assert "into a new kafka.group" in str(run_import(deployment, mirror))
    deployment.make_anew(Topic.CLICKSTREAM)
    for _ in range(2):
        done = run_import(deployment, mirror, **GROUP)
        assert done["states"] == 5
    second = deployment.worker("b", **GROUP)
    second.wait_until_ready()
    deployment.write(Topic.CLICKSTREAM, clicks(60, "new"))
    second.wait_until(lambda: second.metric("insession_events_total") >= 60, "it answered them")
    assert second.end(signal.SIGTERM) == 0
    answers = deployment.ledger().recommendations
    returned = answers[100:]
    assert Counter(answer.status for answer in returned) == {"answered": 60}
    assert all(answer.items for answer in returned)
    sessions = {answer.visitor_id: answer.session_id for answer in answers[:100]}
    assert {answer.visitor_id: answer.session_id for answer in returned} == sessions


def test_mirrored_clicks_that_the_state_knows_are_not_read_again(deploy: Deploy) -> None:
    """Where the inputs are mirrored with their history, the group begins by the records' times."""
    deployment = deploy(
        partitions=1, INSESSION_SESSIONS__GRACE_PERIOD="0", INSESSION_SESSIONS__ALLOWED_SKEW="0", **NO_TICKS
    )
    first = deployment.worker()
    deployment.write(Topic.CLICKSTREAM, clicks(40, "old"))
    deployment.write(Topic.CLICKSTREAM, clicks(10, "latest"))
    deployment.wait_until_committed(first)
    assert first.end(signal.SIGTERM) == 0
    short = {"INSESSION_SESSIONS__GRACE_PERIOD": "0", "INSESSION_SESSIONS__ALLOWED_SKEW": "0"}
    done = run_import(deployment, mirrored(deployment), **GROUP, **short)
    (begin,) = done["begins"][deployment.settings.topics.name(Topic.CLICKSTREAM)].values()
    assert 40 <= begin < 50
