import asyncio
import json
import signal
from collections.abc import Callable

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as AiokafkaPartition
from aiokafka.structs import OffsetAndMetadata
from click.testing import CliRunner
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource

from agents.commands.state import command
from schemas import wire
from streams.cluster.group_commits import GroupCommits
from streams.cluster.topic_creation import create
from streams.cluster.topics import Topic, changelog_name, changelog_spec
from streams.state.changelog_identity import ChangelogIdentity, committed
from tests.builders.clicks import click
from tests.kafka.deployment import NO_TICKS, Deploy, Deployment, NewRecord
from tests.kafka.worker_process import WorkerProcess

pytestmark = pytest.mark.kafka

VISITORS = [f"v{number}" for number in range(20)]


def name_of(deployment: Deployment) -> str:
    """Return the changelog."""
    return changelog_name(deployment.settings.kafka, deployment.settings.topics)


def delete_changelog(deployment: Deployment) -> None:
    """Delete it and wait until it is gone."""
    name = name_of(deployment)
    deployment.admin.delete_topics([name])[name].result()
    while name in deployment.admin.list_topics(timeout=15).topics:
        pass  # pytest's timeout bounds this


def make_anew(deployment: Deployment) -> None:
    """Delete it, make it again, and let it hold something."""
    delete_changelog(deployment)
    create(deployment.admin, [changelog_spec(deployment.settings.topics, name_of(deployment))])
    deployment.write(name_of(deployment), [NewRecord(b"gone", None, partition=0)])


def cut(deployment: Deployment) -> None:
    """Delete its first records, as a retention does while the topic is not only compacted."""
    set_policy(deployment, "delete")
    for future in deployment.admin.delete_records([TopicPartition(name_of(deployment), 0, 5)]).values():
        future.result()
    set_policy(deployment, "compact")


def set_policy(deployment: Deployment, policy: str) -> None:
    """Set the changelog's cleanup, and wait until the broker says so."""
    given = ConfigEntry("cleanup.policy", policy, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, name_of(deployment), incremental_configs=[given])
    deployment.admin.incremental_alter_configs([resource])[resource].result()
    while deployment.admin.describe_configs([resource])[resource].result()["cleanup.policy"].value != policy:
        pass  # pytest's timeout bounds this


def accept(deployment: Deployment) -> dict[str, object]:
    """Run `insession state accept` in process."""
    topics = deployment.settings.topics
    environment = {"INSESSION_TOPICS__PARTITIONS": str(topics.partitions), "INSESSION_TOPICS__REPLICATION": "1"}
    options = ["accept", f"--brokers={deployment.settings.kafka.brokers}", f"--prefix={topics.prefix}"]
    run = CliRunner().invoke(command, [*options, "--yes", "--json"], env=environment, catch_exceptions=False)
    assert run.exit_code == 0, run.output
    told: dict[str, object] = json.loads(run.output)
    return told


def lengths(deployment: Deployment) -> set[int]:
    """Return the session length that the latest signal of each visitor tells."""
    found = {}
    for record in deployment.ledger().records(Topic.INTENT_SIGNALS):
        told = wire.decode_intent_signal(record.value or b"")
        found[told.visitor_id] = told.prefix_length
    return set(found.values())


def answer_all(deployment: Deployment, worker: WorkerProcess) -> None:
    """Let every visitor click, and wait until all is committed."""
    deployment.write(Topic.CLICKSTREAM, [click(visitor) for visitor in VISITORS])
    deployment.wait_until_committed(worker)


@pytest.mark.parametrize(
    ("lose", "told"),
    [
        (delete_changelog, "was deleted and made anew"),
        (make_anew, "was deleted and made anew"),
        (cut, "has lost its first records"),
    ],
)
def test_a_changelog_that_is_not_that_of_the_commits_is_refused(
    deploy: Deploy, lose: Callable[[Deployment], None], told: str
) -> None:
    """One message at each start and no silent new beginning, with the kept folder and with an empty one.

    Once accepted, workers on either go on with what there is.
    """
    deployment = deploy(partitions=1, **NO_TICKS)
    first = deployment.worker("kept")
    answer_all(deployment, first)
    assert first.end(signal.SIGTERM) == 0
    lose(deployment)
    for folder in ("kept", "empty", "kept"):
        refused = deployment.worker(folder)
        assert refused.wait() == 1
        (line,) = [line for line in refused.log_text().splitlines() if line.startswith("insession: ")]
        assert f"changelog {name_of(deployment)} {told}" in line
        assert "insession state accept" in line
    assert accept(deployment)["committed_partitions"] == 1
    for clicks, folder in enumerate(("kept", "empty"), start=1):
        worker = deployment.worker(folder)
        answer_all(deployment, worker)
        assert worker.end(signal.SIGTERM) == 0
        if lose is not cut:
            assert lengths(deployment) == {clicks}
    assert {record.status for record in deployment.ledger().recommendations} == {"answered"}


def test_commits_without_a_state_are_no_lost_changelog(deploy: Deploy) -> None:
    """Where nothing that was read made a state, an empty changelog is the right one: a note in the commits says so."""
    deployment = deploy(partitions=1, **NO_TICKS)
    deployment.write(Topic.CLICKSTREAM, [NewRecord(b"v", b"no json", partition=0)])
    for name in ("a", "a", "b"):
        worker = deployment.worker(name)
        worker.wait_until_ready()
        deployment.wait_until_committed(worker)
        assert worker.end(signal.SIGTERM) == 0


def test_commits_of_a_tool_beside_an_empty_changelog_are_refused(deploy: Deploy) -> None:
    """They have no note, and nobody can tell whether the states are lost."""
    deployment = deploy(partitions=1, **NO_TICKS)
    deployment.write(Topic.CLICKSTREAM, [click("v"), click("v")])
    deployment.commit(Topic.CLICKSTREAM, 1)
    refused = deployment.worker()
    assert refused.wait() == 1
    assert f"changelog {name_of(deployment)} is empty" in refused.log_text()
    accept(deployment)
    worker = deployment.worker()
    deployment.wait_until_committed(worker)
    assert len(deployment.ledger().recommendations) == 1


def test_a_changelog_is_not_accepted_under_a_worker(deploy: Deploy) -> None:
    """Its next commit would have another note."""
    deployment = deploy(partitions=1, **NO_TICKS)
    worker = deployment.worker()
    worker.wait_until_ready()
    topics = deployment.settings.topics
    options = ["accept", f"--brokers={deployment.settings.kafka.brokers}", f"--prefix={topics.prefix}", "--yes"]
    run = CliRunner().invoke(command, options)
    assert "stop them all" in str(run.exception)


async def test_the_note_of_a_commit_is_read_as_it_was_written(deploy: Deploy) -> None:
    """Of the worker's client and of librdkafka, which ends a note with a NUL and reads others past their end."""
    deployment = deploy(partitions=2, **NO_TICKS)
    clicks, group = deployment.settings.topics.name(Topic.CLICKSTREAM), f"{deployment.settings.topics.prefix}notes"
    identity = ChangelogIdentity("AAAAAAAAAAAAAAAAAAAAAA", 0)
    with GroupCommits(deployment.settings.kafka.client_config(), group) as commits:
        commits.write(clicks, {0: 5}, identity.note)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=deployment.settings.kafka.brokers, group_id=group, enable_auto_commit=False
    )
    await consumer.start()
    worker_partition = AiokafkaPartition(clicks, 1)
    consumer.assign([worker_partition])
    await consumer.commit({worker_partition: OffsetAndMetadata(7, identity.note)})
    await consumer.stop()
    asked = [TopicPartition(clicks, 0), TopicPartition(clicks, 1)]
    found = await asyncio.to_thread(committed, deployment.settings.kafka, group, asked)
    assert sorted((part.partition, part.offset) for part in found) == [(0, 5), (1, 7)]
    assert {ChangelogIdentity.read(part.metadata) for part in found} == {identity}
