"""Checking that the topics on the cluster are what the code expects, and what their owner should know.

What insession makes must be as its spec says; replicas, all and in sync, may be more. The shop's own topics are taken
as they are: only what no worker could live with is an error, and nothing that is said of them lowers anything.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from streams.cluster.admin import explained
from streams.cluster.topics import MAX_RECORD_BATCH_BYTES, TopicsError, TopicSpec, listed

_TIMEOUT_SECONDS: Final = 15.0
_IN_SYNC: Final = "min.insync.replicas"
_POLICY: Final = "cleanup.policy"
_MAX_BYTES: Final = "max.message.bytes"
_BOUNDS: Final = ("retention.ms", "retention.bytes")
_HIDDEN: Final = frozenset({KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED})


@dataclass(frozen=True, slots=True)
class TopicState:
    """What a topic on the cluster is; `replication` is that of its least replicated partition.

    configs: None where the brokers hide them from this user.
    """

    partitions: int
    replication: int
    configs: Mapping[str, str] | None


class ProblemKind(StrEnum):
    """What is wrong with a topic, for machines."""

    MISSING = "missing"
    PARTITIONS = "partitions"
    REPLICATION = "replication"
    CONFIG = "config"


@dataclass(frozen=True, slots=True)
class TopicProblem:
    """One difference between a topic and its spec; the message says what is, what should be, and the remedy.

    is_warning: a worker may start.
    """

    topic: str
    kind: ProblemKind
    message: str
    is_warning: bool = False


def check(admin: AdminClient, specs: Sequence[TopicSpec]) -> list[TopicProblem]:
    """Compare the topics on the cluster with what they should be; without an error in the list a worker may start.

    The embedded broker can neither create nor describe topics: do not call this for it. Raises TopicsError when the
    cluster does not answer.
    """
    found = described(admin, [spec.name for spec in specs])
    return [problem for spec in specs for problem in compare(spec, found.get(spec.name))]


def compare(spec: TopicSpec, found: TopicState | None) -> Iterator[TopicProblem]:
    """Yield the differences between one spec and the topic found; None is a topic that is not there."""
    if (problem := layout_problem(spec, None if found is None else found.partitions)) is not None:
        yield problem
    if found is None:
        return
    if spec.is_the_shops:
        for kind, message in _problems_of_the_shops(spec, found):
            yield TopicProblem(spec.name, kind, f"{spec.name} {message}", is_warning=True)
    else:
        for kind, message in _wrong_with_ours(spec, found):
            yield TopicProblem(spec.name, kind, f"{spec.name} {message}")


def layout_problem(spec: TopicSpec, partitions: int | None) -> TopicProblem | None:
    """Hold a topic's partitions against its spec; None = it is not there."""
    if partitions is None:
        return TopicProblem(spec.name, ProblemKind.MISSING, _missing(spec))
    if partitions == spec.partitions or spec.any_partitions:
        return None
    return TopicProblem(spec.name, ProblemKind.PARTITIONS, _other_count(spec, partitions))


def _missing(spec: TopicSpec) -> str:
    if spec.is_the_shops:
        return (
            f"{spec.name} is missing: run `insession topics create`, or, where the shop has it already, see that its "
            "name is right in topics.clickstream or topics.catalog and that this user may describe it."
        )
    return f"{spec.name} is missing: run `insession topics create`."


def _other_count(spec: TopicSpec, count: int) -> str:
    has = f"{spec.name} has {count} partitions and should have {spec.partitions}"
    if spec.is_the_shops:
        return (
            f"{has}: set topics.partitions to {count} and run `insession topics create`; where insession's own topics "
            f"are there already, stop all workers and run `insession repartition --partitions {count}`."
        )
    return (
        f"{has}: set topics.partitions to {count} where every topic has that many. Where partitions were added, or a "
        f"repartition did not end, stop all workers and run `insession repartition --partitions "
        f"{max(count, spec.partitions)}`: the visitors' states have to move with their keys."
    )


def _wrong_with_ours(spec: TopicSpec, found: TopicState) -> Iterator[tuple[ProblemKind, str]]:
    if found.replication < spec.replication:
        yield (
            ProblemKind.REPLICATION,
            (
                f"has {found.replication} replicas and should have {spec.replication}: move it with "
                "kafka-reassign-partitions, or set topics.replication to what the cluster can hold."
            ),
        )
    if found.configs is None:
        yield ProblemKind.CONFIG, "hides its settings: allow this user DescribeConfigs on it."
        return
    for key, value in spec.configs.items():
        is_value = found.configs.get(key, "unset")
        if key == _IN_SYNC and int(value) <= _number(found.configs, key, default=0) <= found.replication:
            continue
        if set(is_value.split(",")) != set(value.split(",")):  # the order of cleanup policies means nothing
            yield (
                ProblemKind.CONFIG,
                (
                    f"has {key}={is_value} and should have {value}: kafka-configs --alter --topic {spec.name} "
                    f"--add-config {key}=[{value}]"
                ),
            )
    if (small := _too_small(spec, found.configs)) is not None:
        yield ProblemKind.CONFIG, small


def _too_small(spec: TopicSpec, configs: Mapping[str, str]) -> str | None:
    """Describe a topic that takes less than the worker may write; its brokers' message.max.bytes is its default."""
    takes = _number(configs, _MAX_BYTES, default=MAX_RECORD_BATCH_BYTES)
    if takes >= MAX_RECORD_BATCH_BYTES:
        return None
    return (
        f"takes records of at most {takes:,} bytes ({_MAX_BYTES}, or message.max.bytes of the brokers) and should take "
        f"{MAX_RECORD_BATCH_BYTES:,}, the most that a worker may write: kafka-configs --alter --topic {spec.name} "
        f"--add-config {_MAX_BYTES}=1048588"
    )


def _problems_of_the_shops(spec: TopicSpec, found: TopicState) -> Iterator[tuple[ProblemKind, str]]:
    if found.replication < spec.replication:
        yield (
            ProblemKind.REPLICATION,
            (
                f"has {found.replication} replicas, less than topics.replication ({spec.replication}): a broker that "
                "is lost may take records with it. Tell its owner."
            ),
        )
    if found.configs is None:
        yield ProblemKind.CONFIG, "hides its settings: allow this user DescribeConfigs on it to have them checked."
        return
    in_sync = _number(found.configs, _IN_SYNC, default=1)
    if in_sync > found.replication:
        yield (
            ProblemKind.CONFIG,
            (
                f"has {_IN_SYNC}={in_sync} and {found.replication} replicas: nobody can write to it with acks=all. "
                "Tell its owner."
            ),
        )
    if in_sync < int(spec.configs[_IN_SYNC]):
        yield (
            ProblemKind.CONFIG,
            (
                f"has {_IN_SYNC}={in_sync}, less than insession's own topics ({spec.configs[_IN_SYNC]}): a record that "
                "counts as written may be lost with a broker. Tell its owner."
            ),
        )
    if (loss := _loss(spec, found.configs)) is not None:
        yield ProblemKind.CONFIG, loss


def _loss(spec: TopicSpec, configs: Mapping[str, str]) -> str | None:
    """Report what the cleanup of a topic takes away that the worker would have read."""
    policies = set(configs.get(_POLICY, "delete").split(","))
    policy = f"has {_POLICY}={configs.get(_POLICY, 'delete')}"
    if spec.cleanup_policy == "delete":
        if "compact" not in policies:
            return None
        return (
            f"{policy}: of a visitor only the latest click stays, so a worker that is behind never sees the others. "
            "Have the clicks written to a topic that is not compacted."
        )
    if "delete" not in policies or all(_number(configs, bound, default=-1) < 0 for bound in _BOUNDS):
        return None
    return (
        f"{policy} and a retention: an item that is not written again before it is over is unknown after the next "
        "start. Have it compacted, or kept for ever (retention.ms=-1)."
    )


def _number(configs: Mapping[str, str], key: str, *, default: int) -> int:
    return int(configs.get(key, default))


def described(admin: AdminClient, names: Sequence[str]) -> dict[str, TopicState]:
    """Return those of the topics that are there; raises TopicsError where the cluster does not answer."""
    shown = listed(admin)
    try:
        present = [name for name in names if name in shown and shown[name].error is None]
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in present]
        # An empty request is an error of librdkafka's, not an empty answer.
        futures = admin.describe_configs(resources, request_timeout=_TIMEOUT_SECONDS) if resources else {}
        configs = {resource.name: _configs(future) for resource, future in futures.items()}
    except KafkaException as error:
        raise TopicsError(explained(error)) from error
    return {
        name: TopicState(
            partitions=len(shown[name].partitions),
            replication=min((len(part.replicas) for part in shown[name].partitions.values()), default=0),
            configs=configs[name],
        )
        for name in present
    }


def _configs(future: Future[dict[str, Any]]) -> dict[str, str] | None:
    try:
        return {key: entry.value for key, entry in future.result().items() if entry.value is not None}
    except KafkaException as error:
        if error.args[0].code() in _HIDDEN:
            return None
        raise
