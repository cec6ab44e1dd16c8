"""How a consumer group stands: its workers, and how far behind they are on a topic."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from schemas.errors import InsessionError
from streams.cluster.patience import asked_again
from streams.cluster.topics import TopicsError

_TIMEOUT_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class GroupState:
    """A group at one moment. state: as Kafka calls it, in capitals; `EMPTY` where there is no such group.

    committed: by partition of the topic; a partition without a commit is not in it.
    """

    state: str
    members: int
    committed: Mapping[int, int]

    def lag(self, bounds: Mapping[int, range]) -> dict[int, int]:
        """Return the records of each partition that are not acknowledged; without a commit all that are there."""
        return {
            partition: held.stop - max(held.start, min(self.committed.get(partition, held.start), held.stop))
            for partition, held in bounds.items()
        }

    def refuse_workers(self, group: str, then: str) -> None:
        """Raise InsessionError while the group has members; `then`: what may be done without them."""
        if self.members:
            raise InsessionError(f"group {group} has {self.members} workers: stop them all, {then}")


def group_state(admin: AdminClient, group: str, topic: str, partitions: int) -> GroupState:
    """Ask how `group` stands on `topic`; raises TopicsError where the brokers do not answer."""
    wanted = [TopicPartition(topic, partition) for partition in range(partitions)]
    try:
        return asked_again(lambda: _ask(admin, group, wanted), _TIMEOUT_SECONDS)
    except KafkaException as error:
        why = error.args[0]
        raise TopicsError(f"the brokers do not tell of group {group} ({why.name()} {why.str()})") from error


def owned_partitions(admin: AdminClient, group: str) -> dict[str, frozenset[int]] | None:
    """Return the partitions that the members of `group` have, by topic; None while the group is not at rest.

    Raises TopicsError where the brokers do not answer.
    """
    try:
        described = _described(admin, group)
    except KafkaException as error:
        raise TopicsError(f"the brokers do not tell of group {group} ({error.args[0].str()})") from error
    if described is None or described.state.name != "STABLE":
        return None
    owned: dict[str, set[int]] = {}
    for member in described.members:
        for part in member.assignment.topic_partitions:
            owned.setdefault(part.topic, set()).add(part.partition)
    return {topic: frozenset(partitions) for topic, partitions in owned.items()}


def _ask(admin: AdminClient, group: str, wanted: list[TopicPartition]) -> GroupState:
    described = _described(admin, group)
    asked = [ConsumerGroupTopicPartitions(group, wanted)]
    try:
        found = admin.list_consumer_group_offsets(asked, request_timeout=_TIMEOUT_SECONDS)[group].result()
    except KafkaException as error:
        if is_unknown_group(error):
            return GroupState("EMPTY", 0, {})
        raise
    committed = {part.partition: part.offset for part in found.topic_partitions if part.offset >= 0}
    if described is None or described.state.name == "DEAD":
        return GroupState("EMPTY", 0, committed)
    return GroupState(described.state.name, len(described.members), committed)


def _described(admin: AdminClient, group: str) -> Any | None:
    """Describe a group; None = there is none."""
    try:
        return admin.describe_consumer_groups([group], request_timeout=_TIMEOUT_SECONDS)[group].result()
    except KafkaException as error:
        if is_unknown_group(error):
            return None
        raise


def is_unknown_group(error: KafkaException) -> bool:
    """Since KIP-1043 a group that is not there is an error, before it was a dead one."""
    return bool(error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND)
