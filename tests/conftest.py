"""What several rooms need: a real Kafka, once a run or from outside, and the options of the conformance test."""

import logging
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import structlog
from confluent_kafka.admin import AdminClient
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from agents.logs import ROOMS
from streams.cluster.topic_creation import create
from streams.cluster.topics import TopicSettings, TopicSpec, admin_client, topic_specs
from streams.local.kafka_jars import KafkaUnavailableError, default_cache, fetch, find_java
from streams.local.kafka_node import KafkaNode

BROKERS = "INSESSION_TEST_BROKERS"

# How fast an example runs says how busy the machine is, not whether the property holds.
hypothesis_settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that point tests/serving/test_conformance.py at a model server from outside, and the table's."""
    parser.addoption("--chaos-table", metavar="FILE", help="where tests/chaos writes the table of what it counted")
    parser.addoption("--serving-address", metavar="HOST:PORT", help="test this model server, not the embedded one")
    parser.addoption("--serving-models", metavar="FOLDER", help="the folder from which that server loads its models")


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Put logging back: a command that a test runs in this process sets it up for all tests after it."""
    root = logging.getLogger()
    handlers, levels = root.handlers, {name: logging.getLogger(name).level for name in ("", *ROOMS)}
    yield
    root.handlers = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    structlog.reset_defaults()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take long: those on Kafka wait most of their time, and none shall be the last.

    Files stay whole: the order is that in which they are handed to the processes of a run.
    """
    ranks: dict[Path, int] = {}
    for item in items:
        rank = 0 if item.get_closest_marker("kafka") else 1 if item.get_closest_marker("slow") else 2
        ranks[item.path] = min(rank, ranks.get(item.path, rank))
    items.sort(key=lambda item: ranks[item.path])


_SHARED_NODE = pytest.StashKey[KafkaNode]()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Let the processes of a run share one Kafka (a hook of pytest-xdist, called in the one that starts them).

    Not where brokers are broken: what one process does to its own is none of the others' business.
    """
    config = node.config
    if config.option.markexpr.startswith("chaos") or os.environ.get(BROKERS):
        return
    if _SHARED_NODE not in config.stash:
        try:
            config.stash[_SHARED_NODE] = KafkaNode().__enter__()
        except KafkaUnavailableError:
            return  # the tests that need it say so
    node.workerinput["kafka_brokers"] = config.stash[_SHARED_NODE].address


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the shared Kafka."""
    if _SHARED_NODE in config.stash:
        config.stash[_SHARED_NODE].close()


@dataclass(frozen=True)
class KafkaTopics:
    """Topics of one test, with a prefix that no other test has.

    `create()` makes the project's topics, `create(specs)` others; both go at the end of the test.
    """

    brokers: str
    admin: AdminClient
    settings: TopicSettings
    made: list[str] = field(default_factory=list)

    def create(self, specs: Sequence[TopicSpec] | None = None) -> list[str]:
        """Create topics and return their names."""
        names = create(self.admin, topic_specs(self.settings) if specs is None else specs)
        self.made.extend(names)
        return names


def require_kafka(exception: KafkaUnavailableError) -> None:
    """Fail where Kafka is required, as in CI; skip with the reason elsewhere."""
    if os.environ.get("INSESSION_REQUIRE_KAFKA"):
        pytest.fail(f"INSESSION_REQUIRE_KAFKA is set: {exception}")
    pytest.skip(str(exception))


@contextmanager
def where_kafka_is() -> Iterator[None]:
    """Skip, or fail as `require_kafka` says, where what is done within finds no Kafka."""
    try:
        yield
    except KafkaUnavailableError as error:
        require_kafka(error)


@pytest.fixture(scope="session")
def kafka_tools() -> None:
    """Skip where Kafka cannot be started: no Java 17, no Maven, no network."""
    with where_kafka_is():
        find_java()
        fetch(default_cache())


@pytest.fixture(scope="session")
def kafka_brokers(request: pytest.FixtureRequest) -> str:
    """Address of the brokers that the tests share: `INSESSION_TEST_BROKERS`, else a node of the run's own."""
    shared = os.environ.get(BROKERS) or getattr(request.config, "workerinput", {}).get("kafka_brokers")
    return shared or request.getfixturevalue("kafka_node").address


@pytest.fixture(scope="session")
def kafka_node(kafka_tools: None) -> Iterator[KafkaNode]:  # noqa: ARG001 - only its skip matters
    """Share one node among the tests of a process: never stop this one; a test that must starts its own."""
    with where_kafka_is(), KafkaNode() as node:
        yield node


@pytest.fixture
def kafka_topics(kafka_brokers: str) -> Iterator[Callable[..., KafkaTopics]]:
    """Make `KafkaTopics`; `kafka_topics(partitions=4)` sets what a test cares about."""
    admin = admin_client({"bootstrap.servers": kafka_brokers})
    made: list[KafkaTopics] = []

    def make(partitions: int = 4) -> KafkaTopics:
        settings = TopicSettings(
            prefix=f"t{uuid.uuid4().hex[:10]}-", partitions=partitions, replication=1, min_insync_replicas=1
        )
        made.append(KafkaTopics(kafka_brokers, admin, settings))
        return made[-1]

    yield make
    if names := [name for topics in made for name in topics.made]:
        for future in admin.delete_topics(names).values():
            future.result()
