"""The topics: what each is for and how it is laid out; `topic_creation` makes them, `topic_check` compares them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final, NamedTuple

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from msgspec import Struct

from schemas.errors import InsessionError, UsageError
from schemas.records import (
    DefaultRecommendations,
    IntentSignal,
    RecommendationOutcome,
    RecommendationSet,
    SessionSummary,
    Trending,
)
from streams.cluster.admin import ClusterAdmin, explained
from streams.settings import StreamSettings

VISITORS: Final = "visitors"
"""The table of visitor states."""
COMPACTION_LAG: Final = timedelta(days=7)
"""Recommendations and intent signals are a full log for this long; after that only the latest of each visitor stays."""
RULES_AUDIT: Final = timedelta(days=30)
"""Every change of a merchants' rule is there for this long; after that only the latest record of each rule stays."""
MAX_RECORD_BATCH_BYTES: Final = 1_000_012
"""What a topic of ours must take: the most that a producer of the worker sends at once, and the log's own overhead."""
_TIMEOUT_SECONDS: Final = 15.0
_PREFIX: Final = re.compile(r"[a-zA-Z0-9._-]{0,200}")  # Kafka: these characters, 249 in all
_NAME: Final = re.compile(r"(?!\.{1,2}$)[a-zA-Z0-9._-]{1,249}")


class Topic(StrEnum):
    """The topics by their names without the prefix."""

    CLICKSTREAM = "clickstream"
    SESSION_CONTROL = "session-control"
    RECOMMENDATIONS = "recommendations"
    DEFAULT_RECOMMENDATIONS = "default-recommendations"
    INTENT_SIGNALS = "intent-signals"
    SESSION_ENDS = "session-ends"
    OUTCOMES = "recommendation-outcomes"
    SHADOW = "shadow-recommendations"
    TRENDING = "trending"
    OBSERVER_STATE = "observer-state"
    CATALOG = "catalog"
    MERCHANT_RULES = "merchant-rules"
    DEAD_LETTERS = "clickstream-dlq"


class TopicFacts(NamedTuple):
    """What follows from a topic.

    record: what lies in it, of one struct that is ours to encode; None = the shop's own records, control records of
    several kinds, rules, which are JSON always, or the bytes of inputs. is_the_shops: it is written by the shop.
    any_partitions: it may have another count than the clickstream. partitions: the count that it is created with, where
    that is not the clickstream's. names_visitors: its keys are visitors, and its values tell of them. replay_file: into
    which `insession replay` writes it; None = a replay has none.
    """

    record: type[Struct] | None = None
    is_the_shops: bool = False
    any_partitions: bool = False
    partitions: int | None = None
    names_visitors: bool = False
    replay_file: str | None = None


TOPICS: Final[Mapping[Topic, TopicFacts]] = {
    Topic.CLICKSTREAM: TopicFacts(is_the_shops=True),
    Topic.SESSION_CONTROL: TopicFacts(),
    Topic.RECOMMENDATIONS: TopicFacts(RecommendationSet, names_visitors=True, replay_file="recommendations.jsonl"),
    Topic.DEFAULT_RECOMMENDATIONS: TopicFacts(DefaultRecommendations, any_partitions=True),
    Topic.INTENT_SIGNALS: TopicFacts(IntentSignal, names_visitors=True, replay_file="intent-signals.jsonl"),
    Topic.SESSION_ENDS: TopicFacts(SessionSummary, replay_file="session-ends.jsonl"),
    Topic.OUTCOMES: TopicFacts(RecommendationOutcome, names_visitors=True, replay_file="outcomes.jsonl"),
    Topic.SHADOW: TopicFacts(RecommendationSet, names_visitors=True),
    Topic.TRENDING: TopicFacts(Trending, any_partitions=True, partitions=1),
    Topic.OBSERVER_STATE: TopicFacts(any_partitions=True, partitions=1),
    Topic.CATALOG: TopicFacts(is_the_shops=True, any_partitions=True),
    Topic.MERCHANT_RULES: TopicFacts(any_partitions=True),
    Topic.DEAD_LETTERS: TopicFacts(replay_file="dead-letters.jsonl"),
}

_BROKERS_TIME: Final[dict[str, str]] = {"message.timestamp.type": "LogAppendTime"}
"""Of a topic of ours by which everybody can tell the brokers' clock."""
_OFTEN_REPLACED: Final[dict[str, str]] = {"segment.ms": "600000", "max.compaction.lag.ms": "3600000"}
"""Of a topic whose few keys are written every few seconds: else a new reader has a week of them before it."""


class TopicsError(InsessionError):
    """The cluster does not answer or refuses; the message names the topic or the brokers."""


class TopicChangedError(InsessionError):
    """The input topic is not the one that the commits and the state were made from. Stop; a person must decide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicSettings:
    """How the topics are laid out; the defaults are production's, a single node needs `replication=1`.

    prefix: Before the name of every topic, group and changelog, so that deployments share a cluster.
    clickstream: Full name of the shop's topic of clicks, without the prefix; not set = prefix and `clickstream`.
    catalog: Full name of the shop's topic of items, without the prefix; not set = prefix and `catalog`.
    partitions: Of every topic; with state only `insession repartition` changes it, since states lie where keys hash to.
    replication: Replicas of every topic and changelog.
    min_insync_replicas: Replicas that must hold a record before it counts; without one: replication - 1, at least 1.
    output_retention: Of recommendations, intent signals and dead letters.
    session_ends_retention: Of closed sessions, which training reads.
    outcomes_retention: Of recommendation outcomes, and of what a release on trial would have answered.
    """

    prefix: str = ""
    clickstream: str | None = None
    catalog: str | None = None
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
        self._check_names()
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
        given = self.clickstream if topic is Topic.CLICKSTREAM else self.catalog if topic is Topic.CATALOG else None
        return given or f"{self.prefix}{topic}"

    def _check_names(self) -> None:
        """Refuse what is no topic name, and one name for two topics: what is written to one would be read as both."""
        for setting, given in (("clickstream", self.clickstream), ("catalog", self.catalog)):
            if given is None:
                continue
            if not is_topic_name(given):
                raise UsageError(
                    f"topics.{setting} {given!r}: a topic name takes up to 249 letters, digits, '.', '_' and '-'."
                )
            others = [topic for topic in Topic if topic != setting and self.name(topic) == given]
            if others:
                raise UsageError(f"topics.{setting} {given!r} is the name of {others[0]}, too: give each its own.")


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """What a topic should be. `configs` hold only what the code or the promise to its readers depends on."""

    name: str
    partitions: int
    replication: int
    configs: Mapping[str, str]
    any_partitions: bool = field(default=False, kw_only=True)
    """The count on the cluster may be another: nothing is co-partitioned with this topic."""
    at_creation: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    """Beside `configs`, where we create it; on the cluster it may be otherwise."""
    is_the_shops: bool = field(default=False, kw_only=True)
    """Somebody else may have made it and decides about it: only what stops the worker is an error."""

    @property
    def cleanup_policy(self) -> str:
        """`delete`, `compact` or both."""
        return self.configs["cleanup.policy"]


def app_id(settings: StreamSettings, topics: TopicSettings) -> str:
    """Return the consumer group."""
    return topics.prefix + settings.group


def changelog_name(settings: StreamSettings, topics: TopicSettings) -> str:
    """Return the changelog of the visitor states, as Faust does."""
    return f"{app_id(settings, topics)}-{VISITORS}-changelog"


def topic_specs(settings: TopicSettings) -> list[TopicSpec]:
    """Return all topics but the changelog; see `changelog_spec`."""
    latest = {
        "cleanup.policy": "compact,delete",
        "min.compaction.lag.ms": _milliseconds(COMPACTION_LAG),
        "retention.ms": _milliseconds(settings.output_retention),
    }
    at_creation: dict[Topic, dict[str, str]] = {
        Topic.SESSION_CONTROL: _BROKERS_TIME,
        Topic.RECOMMENDATIONS: _compacted_within(2 * COMPACTION_LAG),
        Topic.INTENT_SIGNALS: _compacted_within(2 * COMPACTION_LAG),
        Topic.TRENDING: _OFTEN_REPLACED,
        Topic.OBSERVER_STATE: _OFTEN_REPLACED,
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
        Topic.SHADOW: {"cleanup.policy": "delete", "retention.ms": _milliseconds(settings.outcomes_retention)},
        Topic.TRENDING: {"cleanup.policy": "compact"},
        Topic.OBSERVER_STATE: {"cleanup.policy": "compact"},
        Topic.CATALOG: {"cleanup.policy": "compact"},
        Topic.MERCHANT_RULES: {"cleanup.policy": "compact", "min.compaction.lag.ms": _milliseconds(RULES_AUDIT)},
        Topic.DEAD_LETTERS: {"cleanup.policy": "delete", "retention.ms": _milliseconds(settings.output_retention)},
    }
    return [
        TopicSpec(
            settings.name(topic),
            TOPICS[topic].partitions or settings.partitions,
            settings.replication,
            {**own, "min.insync.replicas": str(settings.replicas_in_sync)},
            any_partitions=TOPICS[topic].any_partitions,
            at_creation=at_creation.get(topic, {}),
            is_the_shops=TOPICS[topic].is_the_shops,
        )
        for topic, own in configs.items()
    ]


def further_clickstream_spec(settings: TopicSettings, name: str) -> TopicSpec:
    """Return a clickstream beside the one of the settings: a visitor's state is on the same partition number."""
    configs = {"cleanup.policy": "delete", "min.insync.replicas": str(settings.replicas_in_sync)}
    return TopicSpec(name, settings.partitions, settings.replication, configs, is_the_shops=True)


def is_topic_name(name: str) -> bool:
    """Return whether Kafka takes it."""
    return _NAME.fullmatch(name) is not None


def changelog_spec(settings: TopicSettings, name: str) -> TopicSpec:
    """Return the changelog of the visitor states.

    Faust would create it while it starts; its consumer can then miss it until its metadata is refreshed, minutes later.
    """
    configs = {"cleanup.policy": "compact", "min.insync.replicas": str(settings.replicas_in_sync)}
    within = _compacted_within(COMPACTION_LAG)
    return TopicSpec(name, settings.partitions, settings.replication, configs, at_creation=within)


def admin_client(config: Mapping[str, Any]) -> AdminClient:
    """Return an admin client for librdkafka's `config`: `bootstrap.servers`, and TLS or SASL where asked for."""
    return ClusterAdmin(config)


def listed(admin: AdminClient) -> dict[str, Any]:
    """Ask for the metadata of all topics, by name; raises TopicsError where the cluster does not answer."""
    try:
        topics: dict[str, Any] = admin.list_topics(timeout=_TIMEOUT_SECONDS).topics
    except KafkaException as error:
        raise TopicsError(explained(error)) from error
    return topics


def _compacted_within(time: timedelta) -> dict[str, str]:
    """Return when what was erased must be gone (KIP-354); else a broker compacts where it is worth its while."""
    return {"max.compaction.lag.ms": _milliseconds(time)}


def _milliseconds(duration: timedelta) -> str:
    return str(duration // timedelta(milliseconds=1))
