"""Every row of the table of exits whose cause takes a real broker."""

import os
import signal
import struct
from collections.abc import Callable

import pytest
from confluent_kafka import Consumer
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource

from agents.worker.exits import EXITS
from streams.cluster.topic_creation import create
from streams.cluster.topics import Topic, app_id, changelog_name, changelog_spec
from tests.builders.clicks import click
from tests.kafka.deployment import NO_TICKS, Deploy, Deployment, NewRecord
from tests.kafka.worker_process import WorkerProcess

pytestmark = pytest.mark.kafka

ROWS = {row.cause: row for row in EXITS}
GARBAGE = b"\x01" + bytes(17) + b"\xc1garbage"


def changelog(deployment: Deployment) -> str:
    """Return the changelog, which is there."""
    name = changelog_name(deployment.settings.kafka, deployment.settings.topics)
    create(deployment.admin, [changelog_spec(deployment.settings.topics, name)])
    return name


def lived(deployment: Deployment) -> WorkerProcess:
    """Let a worker answer some clicks and end."""
    deployment.write(Topic.CLICKSTREAM, [click(f"v{number}") for number in range(2000)])
    worker = deployment.worker(INSESSION_KAFKA__ROCKSDB_CACHE_BYTES="131072")
    deployment.wait_until_committed(worker)
    assert worker.end(signal.SIGTERM) == 0
    return worker


def topic_missing(deployment: Deployment) -> WorkerProcess:
    """Take an output away."""
    deployment.delete(Topic.INTENT_SIGNALS)
    return deployment.worker()


def alter(deployment: Deployment, topic: str, name: str, value: str) -> None:
    """Set a config of a topic, and wait until the broker says so."""
    given = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[given])
    deployment.admin.incremental_alter_configs([resource])[resource].result()
    while deployment.admin.describe_configs([resource])[resource].result()[name].value != value:
        pass  # pytest's timeout bounds this


def topic_too_small(deployment: Deployment) -> WorkerProcess:
    """Let the changelog take little."""
    alter(deployment, changelog(deployment), "max.message.bytes", "4000")
    return deployment.worker()


def disk_full(deployment: Deployment) -> WorkerProcess:
    """Let the first file that a start writes go to a device that is full; the error has no path."""
    folder = deployment.folder / "a"
    folder.mkdir()
    (folder / "changelog-id.unfinished").symlink_to("/dev/full")
    return deployment.worker()


def changelog_lost(deployment: Deployment) -> WorkerProcess:
    """Delete it behind the commits."""
    lived(deployment)
    name = changelog(deployment)
    deployment.admin.delete_topics([name])[name].result()
    return deployment.worker("b")


def block_damaged(deployment: Deployment) -> WorkerProcess:
    """Turn bytes in the middle of the largest table over."""
    folder = lived(deployment).datadir
    file = max(folder.rglob("*.sst"), key=lambda one: one.stat().st_size)
    content = bytearray(file.read_bytes())
    middle = len(content) // 3
    content[middle : middle + 2000] = os.urandom(2000)
    file.write_bytes(content)
    return deployment.worker()


def newer_state(deployment: Deployment) -> WorkerProcess:
    """Write one."""
    deployment.write(changelog(deployment), [NewRecord(b"v", struct.pack(">Bxqq", 9, 0, 0), partition=0)])
    return deployment.worker()


def states_unreadable(deployment: Deployment) -> WorkerProcess:
    """Write some, and a click on one of them."""
    records = [NewRecord(b"v%d" % number, GARBAGE, partition=0) for number in range(20)]
    deployment.write(changelog(deployment), records)
    deployment.write(Topic.CLICKSTREAM, [click("v1")])
    return deployment.worker()


def not_acknowledged(deployment: Deployment) -> WorkerProcess:
    """Take an output away behind a worker that has looked at its topics."""
    worker = deployment.worker(INSESSION_KAFKA__SEND_TIMEOUT="3")
    worker.wait_until_ready()
    deployment.delete(Topic.RECOMMENDATIONS)
    deployment.write(Topic.CLICKSTREAM, [click("v")])
    return worker


def foreign_member(deployment: Deployment) -> WorkerProcess:
    """Let another application have the group."""
    consumer = Consumer(
        {
            "bootstrap.servers": deployment.settings.kafka.brokers,
            "group.id": app_id(deployment.settings.kafka, deployment.settings.topics),
            "session.timeout.ms": 45_000,
        }
    )
    consumer.subscribe([deployment.settings.topics.name(Topic.CLICKSTREAM)])
    while not consumer.assignment():
        consumer.poll(0.1)
    worker = deployment.worker()
    worker.wait()
    consumer.close()
    return worker


def same_instance(deployment: Deployment) -> WorkerProcess:
    """Start a second worker with the id of the first; gives the first."""
    first = deployment.worker("a", INSESSION_KAFKA__INSTANCE_ID="same")
    first.wait_until_ready()
    second = deployment.worker("b", INSESSION_KAFKA__INSTANCE_ID="same")
    second.wait_until_ready()
    return first


def paused(deployment: Deployment) -> WorkerProcess:
    """Pause a worker until another one has its partitions."""
    worker = deployment.worker()
    worker.wait_until_ready()
    worker.send(signal.SIGSTOP)
    other = deployment.worker("b")
    other.wait_until_ready()
    deployment.write(Topic.CLICKSTREAM, [click(f"v{number}") for number in range(20)])
    deployment.wait_until_committed(other)
    worker.send(signal.SIGCONT)
    return worker


ON_KAFKA: dict[str, Callable[[Deployment], WorkerProcess]] = {
    "topics that are missing or different": topic_missing,
    "two workers with one kafka.instance_id": same_instance,
    "a worker that was paused, or cut off from the group": paused,
    "a topic that takes less than a worker writes": topic_too_small,
    "the disk is full": disk_full,
    "a changelog that is not the one of the commits": changelog_lost,
    "a damaged block in the local state": block_damaged,
    "a state of a newer version": newer_state,
    "many states that cannot be decoded": states_unreadable,
    "a record that is not acknowledged in time": not_acknowledged,
    "a foreign member in the group": foreign_member,
}


@pytest.mark.parametrize("cause", ON_KAFKA)
def test_a_worker_ends_as_the_table_says(deploy: Deploy, cause: str) -> None:
    """Exit code and a line with what to do, and no other line of that kind."""
    worker = ON_KAFKA[cause](deploy(partitions=1, **NO_TICKS))
    row = ROWS[cause]
    assert worker.wait() == row.code, worker.tail()
    told = worker.log_text()
    _, _, last = told.rpartition("\ninsession: ")
    assert row.last_words in last or row.last_words == "what the operating system says", worker.tail()
    assert told.count("\ninsession: ") == 1
