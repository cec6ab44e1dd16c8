"""The topics: what each is for, creating them, and checking that the ones on the cluster are what the code expects."""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from schemas.errors import InsessionError, UsageError
from streams.cluster_admin import ClusterAdmin, explained

COMPACTION_LAG: Final = timedelta(days=7)
"""Recommendations and intent signals are a full log for this long; after that only the latest of each visitor stays."""
_TIMEOUT_SECONDS: Final = 15.0
_POLL_SECONDS: Final = 0.05
_PREFIX: Final = re.compile(r"[a-zA-Z0-9._-]{0,200}")  # Kafka: these characters, 249 in all


class Topic(StrEnum):
    """The topics by their names without the prefix."""

    CLICKSTREAM = "clickstream"
    SESSION_CONTROL = "session-control"
    RECOMMENDATIONS = "recommendations"
    DEFAULT_RECOMMENDATIONS = "default-recommendations"
    INTENT_SIGNALS = "intent-signals"
    SESSION_ENDS = "session-ends"
    OUTCOMES = "recommendation-outcomes"
    CATALOG = "catalog"
    DEAD_LETTERS = "clickstream-dlq"


_ANY_PARTITIONS: Final = frozenset({Topic.CATALOG, Topic.DEFAULT_RECOMMENDATIONS})


class TopicsError(InsessionError):
    """The cluster does not answer or refuses; the message names the topic or the brokers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicSettings:
    """How the topics are laid out; the defaults are production's, a single node needs `replication=1`.

    prefix: Before the name of every topic, group and changelog, so that deployments share a cluster.
    partitions: Permanent once there is state: the state of a visitor lives on the partition that the key hashes to.
    replication: Replicas of every topic and changelog.
    min_insync_replicas: Replicas that must hold a record before it counts; without one: replication - 1, at least 1.
    output_retention: Of recommendations, intent signals and dead letters.
    session_ends_retention: Of closed sessions, which training reads.
    outcomes_retention: Of recommendation outcomes.
    """

    prefix: str = ""
    partitions: int = 8
    replication: int = 3
    min_insync_replicas: int | None = None
    output_retention: timedelta = timedelta(days=30)
    session_ends_retention: timedelta = timedelta(days=30)
    outcomes_retention: timedelta = timedelta(days=30)

    def __post_init__(self) -> None:
        """Refuse a prefix that Kafka would refuse, and numbers that contradict each other."""
        if not _PREFIX.fullmatch(self.prefix):
            raise UsageError(
                f"topics.prefix {self.prefix!r}: a topic name takes letters, digits, '.', '_' and '-' only."
            )
        if not 1 <= self.partitions <= 1024:
            raise UsageError(f"topics.partitions {self.partitions}: give a count from 1 to 1024.")
        if self.replication < 1:
            raise UsageError(f"topics.replication {self.replication}: give at least 1.")
        if not 1 <= self.replicas_in_sync <= self.replication:
            raise UsageError(
                f"topics.min_insync_replicas {self.min_insync_replicas}: give 1 to {self.replication} "
                "(topics.replication); with more nothing could be written."
            )
        for name in ("session_ends_retention", "outcomes_retention"):  # Kafka takes -1 ms for ever
            if getattr(self, name) <= timedelta(0):
                raise UsageError(f"topics.{name} {getattr(self, name)}: give a time above 0.")
        if self.output_retention <= COMPACTION_LAG:
            raise UsageError(
                f"topics.output_retention {self.output_retention}: give more than {COMPACTION_LAG}, else the latest "
                "answer of a visitor goes together with the log."
            )

    @property
    def replicas_in_sync(self) -> int:
        """Replicas that must hold a record before it counts: one may be away, where there is more than one."""
        return max(1, self.replication - 1) if self.min_insync_replicas is None else self.min_insync_replicas

    def name(self, topic: Topic) -> str:
        """Return the topic's name on the cluster."""
        return f"{self.prefix}{topic}"


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """What a topic should be. `configs` hold only what the code or the promise to its readers depends on."""

    name: str
    partitions: int
    replication: int
    configs: Mapping[str, str]
    any_partitions: bool = field(default=False, kw_only=True)
    """The count on the cluster may be another: nothing is co-partitioned with this topic."""

    @property
    def cleanup_policy(self) -> str:
        """`delete`, `compact` or both."""
        return self.configs["cleanup.policy"]


@dataclass(frozen=True, slots=True)
class TopicState:
    """What a topic on the cluster is; `replication` is that of its least replicated partition."""

    partitions: int
    replication: int
    configs: Mapping[str, str]


class ProblemKind(StrEnum):
    """What is wrong with a topic, for machines."""

    MISSING = "missing"
    PARTITIONS = "partitions"
    REPLICATION = "replication"
    CONFIG = "config"


@dataclass(frozen=True, slots=True)
class TopicProblem:
    """One difference between a topic and its spec; the message says what is, what should be, and the remedy."""

    topic: str
    kind: ProblemKind
    message: str


def topic_specs(settings: TopicSettings) -> list[TopicSpec]:
    """Return all topics but the changelog; see `changelog_spec`."""
    latest = {
        "cleanup.policy": "compact,delete",
        "min.compaction.lag.ms": _milliseconds(COMPACTION_LAG),
        "retention.ms": _milliseconds(settings.output_retention),
    }
    configs: dict[Topic, dict[str, str]] = {
        Topic.CLICKSTREAM: {"cleanup.policy": "delete"},
        Topic.SESSION_CONTROL: {"cleanup.policy": "delete"},
        Topic.RECOMMENDATIONS: latest,
        Topic.DEFAULT_RECOMMENDATIONS: {"cleanup.policy": "compact"},
        Topic.INTENT_SIGNALS: latest,
        Topic.SESSION_ENDS: {
            "cleanup.policy": "delete",
            "retention.ms": _milliseconds(settings.session_ends_retention),
        },
        Topic.OUTCOMES: {"cleanup.policy": "delete", "retention.ms": _milliseconds(settings.outcomes_retention)},
        Topic.CATALOG: {"cleanup.policy": "compact"},
        Topic.DEAD_LETTERS: {"cleanup.policy": "delete", "retention.ms": _milliseconds(settings.output_retention)},
    }
    return [
        TopicSpec(
            settings.name(topic),
            settings.partitions,
            settings.replication,
            {**own, "min.insync.replicas": str(settings.replicas_in_sync)},
            any_partitions=topic in _ANY_PARTITIONS,
        )
        for topic, own in configs.items()
    ]


def changelog_spec(settings: TopicSettings, name: str) -> TopicSpec:
    """Return the changelog of the visitor states.

    Faust would create it while it starts; its consumer can then miss it until its metadata is refreshed, minutes later.
    """
    configs = {"cleanup.policy": "compact", "min.insync.replicas": str(settings.replicas_in_sync)}
    return TopicSpec(name, settings.partitions, settings.replication, configs)


def admin_client(config: Mapping[str, Any]) -> AdminClient:
    """Return an admin client for librdkafka's `config`: `bootstrap.servers`, and TLS or SASL where asked for."""
    return ClusterAdmin(config)


def create(admin: AdminClient, specs: Sequence[TopicSpec]) -> list[str]:
    """Create the topics that are missing and return their names once the cluster shows all; leave the others alone.

    One that somebody else makes at the same moment is waited for, too. Raises TopicsError when the cluster refuses one
    or does not answer.
    """
    _listed(
        admin
    )  # fails within seconds where the cluster does not let us in; creating would try again until it is late
    wanted = [
        NewTopic(spec.name, num_partitions=spec.partitions, replication_factor=spec.replication, config=spec.configs)
        for spec in specs
    ]
    created = []
    for name, future in admin.create_topics(
        wanted, operation_timeout=_TIMEOUT_SECONDS, request_timeout=_TIMEOUT_SECONDS
    ).items():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise TopicsError(f"Could not create topic {name}: {error.args[0].str()}") from error
        else:
            created.append(name)
    _await_visible(admin, [spec.name for spec in specs])
    return created


def check(admin: AdminClient, specs: Sequence[TopicSpec]) -> list[TopicProblem]:
    """Compare the topics on the cluster with what they should be; an empty list means that a worker may start.

    The embedded broker can neither create nor describe topics: do not call this for it. Raises TopicsError when the
    cluster does not answer.
    """
    found = _describe(admin, [spec.name for spec in specs])
    return [problem for spec in specs for problem in compare(spec, found.get(spec.name))]


def compare(spec: TopicSpec, found: TopicState | None) -> Iterator[TopicProblem]:
    """Yield the differences between one spec and the topic found; None is a topic that is not there."""
    name = spec.name
    if found is None:
        yield TopicProblem(name, ProblemKind.MISSING, f"{name} is missing: run `insession topics create`.")
        return
    if found.partitions != spec.partitions and not spec.any_partitions:
        yield TopicProblem(
            name,
            ProblemKind.PARTITIONS,
            f"{name} has {found.partitions} partitions and should have {spec.partitions}: set topics.partitions to "
            f"{found.partitions} where every topic has that many, else create the topics under a new prefix. Adding "
            "partitions would part visitors from their state.",
        )
    if found.replication < spec.replication:
        yield TopicProblem(
            name,
            ProblemKind.REPLICATION,
            f"{name} has {found.replication} replicas and should have {spec.replication}: move it with "
            "kafka-reassign-partitions, or set topics.replication to what the cluster can hold.",
        )
    for key, value in spec.configs.items():
        is_value = found.configs.get(key, "unset")
        if set(is_value.split(",")) != set(value.split(",")):  # the order of cleanup policies means nothing
            yield TopicProblem(
                name,
                ProblemKind.CONFIG,
                f"{name} has {key}={is_value} and should have {value}: kafka-configs --alter --topic {name} "
                f"--add-config {key}=[{value}]",
            )


def _describe(admin: AdminClient, names: Sequence[str]) -> dict[str, TopicState]:
    listed = _listed(admin)
    try:
        present = [name for name in names if name in listed and listed[name].error is None]
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in present]
        # An empty request is an error of librdkafka's, not an empty answer.
        futures = admin.describe_configs(resources, request_timeout=_TIMEOUT_SECONDS) if resources else {}
        configs = {resource.name: future.result() for resource, future in futures.items()}
    except KafkaException as error:
        raise TopicsError(explained(error)) from error
    return {
        name: TopicState(
            partitions=len(listed[name].partitions),
            replication=min((len(part.replicas) for part in listed[name].partitions.values()), default=0),
            configs={key: entry.value for key, entry in configs[name].items() if entry.value is not None},
        )
        for name in present
    }


def _await_visible(admin: AdminClient, names: Sequence[str]) -> None:
    # Created is not yet in every broker's metadata, and Faust asks again for a topic that it missed only after minutes.
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    missing = set(names)
    while missing:
        listed = _listed(admin)
        missing -= {name for name in missing if name in listed and listed[name].partitions}
        if missing and time.monotonic() > deadline:
            raise TopicsError(
                f"{', '.join(sorted(missing))} exists, but the cluster does not show it: run check again."
            )
        if missing:
            time.sleep(_POLL_SECONDS)


def _listed(admin: AdminClient) -> dict[str, Any]:
    try:
        topics: dict[str, Any] = admin.list_topics(timeout=_TIMEOUT_SECONDS).topics
    except KafkaException as error:
        raise TopicsError(explained(error)) from error
    return topics


def _milliseconds(duration: timedelta) -> str:
    return str(duration // timedelta(milliseconds=1))
