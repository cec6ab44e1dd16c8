"""A deployment of one test: its topics under a prefix of its own, its workers, its shop and its books."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from agents.settings import Settings, load_settings
from streams.cluster.producers import producer_config
from streams.cluster.topic_creation import create
from streams.cluster.topics import Topic, TopicSpec, app_id
from tests.kafka.ledger import Ledger
from tests.kafka.observer_process import ObserverProcess
from tests.kafka.shop import Click, Traffic
from tests.kafka.topic_log import TopicReader
from tests.kafka.worker_process import WorkerProcess

NO_TICKS = {"INSESSION_KAFKA__TICK_INTERVAL": "86400"}
"""Ticks depend on the wall clock: without them the state is a function of the clickstream alone."""


class NewRecord(NamedTuple):
    """A record to write; partition -1 = by the key."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    partition: int = -1


@dataclass(frozen=True, slots=True)
class Deployment:
    """Topics that exist, and workers with one consumer group on them."""

    settings: Settings
    admin: AdminClient
    folder: Path
    reader: TopicReader
    _environment: Mapping[str, str]
    _workers: list[WorkerProcess] = field(default_factory=list)
    _observers: list[ObserverProcess] = field(default_factory=list)

    def worker(self, name: str = "a", *, partitions: str | None = None, **settings: str) -> WorkerProcess:
        """Start a worker on the data folder `name`; further settings by their variables' names."""
        topics = self.settings.topics
        options = {
            "brokers": self.settings.kafka.brokers,
            "prefix": topics.prefix,
            "partitions": partitions or str(topics.partitions),
            "replication": "1",
        }
        self._workers.append(WorkerProcess(options, {**self._environment, **settings}, self.folder / name))
        return self._workers[-1]

    def observer(self, name: str = "observer", **settings: str) -> ObserverProcess:
        """Start an observer; further settings by their variables' names."""
        options = {"brokers": self.settings.kafka.brokers, "prefix": self.settings.topics.prefix}
        self._observers.append(ObserverProcess(options, {**self._environment, **settings}, self.folder / name))
        return self._observers[-1]

    def workers(self) -> list[WorkerProcess]:
        """Return all that were started, the newest last."""
        return list(self._workers)

    def traffic(self, clicks: Iterator[Click]) -> Traffic:
        """Prepare to write clicks to the clickstream."""
        return Traffic(self.settings.kafka.brokers, self.settings.topics.name(Topic.CLICKSTREAM), clicks)

    def write(
        self, topic: Topic | str, records: Iterable[NewRecord], *, transaction: str | None = None, codec: str = "none"
    ) -> None:
        """Write records, in a transaction of that id if one is given, and wait until the broker has them."""
        producer = self.producer(transaction=transaction, codec=codec)
        if transaction is not None:
            producer.begin_transaction()
        self.produce(producer, topic, records)
        if transaction is not None:
            producer.commit_transaction()

    def producer(self, *, transaction: str | None = None, codec: str = "none") -> Producer:
        """Make a producer, ready to begin a transaction if it has the id of one."""
        broker = {"bootstrap.servers": self.settings.kafka.brokers, "log_level": 2}
        config = {**producer_config(broker, client_id="test"), "message.max.bytes": 2 << 20, "compression.type": codec}
        producer = Producer(config if transaction is None else {**config, "transactional.id": transaction})
        if transaction is not None:
            producer.init_transactions()
        return producer

    def produce(self, producer: Producer, topic: Topic | str, records: Iterable[NewRecord]) -> None:
        """Write records and wait until the broker has them."""
        failed: list[Any] = []
        for record in records:
            producer.produce(
                self.settings.topics.name(topic) if isinstance(topic, Topic) else topic,
                key=record.key,
                value=record.value,
                partition=record.partition,
                headers=list(record.headers),
                on_delivery=lambda error, _: failed.append(error) if error else None,
            )
        assert producer.flush(30) == 0
        assert failed == []

    def set_compression(self, topic: str, codec: str) -> None:
        """Set a topic's `compression.type`, and wait until the broker says so."""
        resource = ConfigResource(
            ConfigResource.Type.TOPIC,
            topic,
            incremental_configs=[ConfigEntry("compression.type", codec, incremental_operation=AlterConfigOpType.SET)],
        )
        self.admin.incremental_alter_configs([resource])[resource].result()
        while self.admin.describe_configs([resource])[resource].result()["compression.type"].value != codec:
            pass  # a moment; pytest's timeout bounds this

    def delete(self, topic: Topic) -> str:
        """Delete a topic, wait until the cluster no longer shows it, and return its name."""
        name = self.settings.topics.name(topic)
        self.admin.delete_topics([name])[name].result()
        while name in self.admin.list_topics(timeout=15).topics:
            pass  # the broker hides it a moment after the controller; pytest's timeout bounds this
        return name

    def make_anew(self, topic: Topic) -> str:
        """Delete a topic and create it again; gives its name."""
        name = self.delete(topic)
        self.create(next(spec for spec in self.settings.topic_specs() if spec.name == name))
        return name

    def create(self, spec: TopicSpec) -> None:
        """Create a topic of any layout."""
        create(self.admin, [spec])

    def commit(self, topic: Topic, offset: int) -> None:
        """Commit an offset of partition 0 for the group, which must have no member."""
        config = {
            "bootstrap.servers": self.settings.kafka.brokers,
            "group.id": app_id(self.settings.kafka, self.settings.topics),
        }
        consumer = Consumer(config)
        consumer.commit(offsets=[TopicPartition(self.settings.topics.name(topic), 0, offset)], asynchronous=False)
        consumer.close()

    def wait_until_committed(self, worker: WorkerProcess) -> None:
        """Wait until all input that is there now is acknowledged and committed."""
        names = [*self.settings.clickstreams, self.settings.topics.name(Topic.SESSION_CONTROL)]
        for name, ends in {name: self.reader.end_offsets(name) for name in names}.items():
            worker.wait_until(partial(self._is_committed, name, ends), f"the commits reached {ends} in {name}")

    def _is_committed(self, name: str, ends: Mapping[int, int]) -> bool:
        committed = self.reader.committed(name)
        return all(committed[partition] >= end for partition, end in ends.items())

    def ledger(self) -> Ledger:
        """Open the books on what the topics hold now."""
        return Ledger(self.settings, self.reader)

    def close(self) -> None:
        """End every worker and observer that still runs."""
        for process in (*self._workers, *self._observers):
            process.close()


Deploy = Callable[..., Deployment]
Say = Callable[[object], None]


@pytest.fixture
def deploy(kafka_topics: Callable[..., Any], tmp_path: Path) -> Iterator[Deploy]:
    """Make deployments: `deploy(partitions=4, INSESSION_SESSIONS__INACTIVITY_GAP="2")` sets what a test cares about.

    `{prefix}` in the name or value of a setting is the deployment's own.
    """
    with ExitStack() as stack:

        def make(*, partitions: int = 4, **environment: str) -> Deployment:
            topics = kafka_topics(partitions=partitions)
            prefix = topics.settings.prefix
            given = {
                name.replace("{prefix}", prefix): value.replace("{prefix}", prefix)
                for name, value in environment.items()
            }
            environment = {"INSESSION_KAFKA__SESSION_TIMEOUT": "8", "INSESSION_KAFKA__SEND_TIMEOUT": "6", **given}
            layout = {"prefix": topics.settings.prefix, "partitions": partitions, "replication": 1}
            settings = load_settings(
                {"kafka": {"brokers": topics.brokers}, "topics": {**layout, "min_insync_replicas": 1}},
                environment=environment,
            )
            topics.create(settings.topic_specs())
            group = topics.settings.prefix + settings.kafka.group
            stack.callback(note_topics, topics)
            reader = TopicReader(topics.brokers, group)
            stack.callback(reader.close)
            deployment = Deployment(settings, topics.admin, tmp_path, reader, environment)
            stack.callback(deployment.close)
            return deployment

        yield make


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Show a human the counts of a run, also where it passes."""

    def show(line: object) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n{line}\n")

    return show


def note_topics(topics: Any) -> None:
    """Let `kafka_topics` delete what is there at the end, the changelog included."""
    listed = topics.admin.list_topics(timeout=15).topics
    topics.made[:] = [name for name in listed if name.startswith(topics.settings.prefix)]
