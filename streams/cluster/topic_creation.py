"""Making topics, until they can be written to."""

from collections.abc import Mapping, Sequence
from operator import not_
from typing import Final

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from streams.cluster.admin import explained
from streams.cluster.patience import NOT_YET, looked_again
from streams.cluster.topics import TopicsError, TopicSpec, listed

_TIMEOUT_SECONDS: Final = 15.0


def create(admin: AdminClient, specs: Sequence[TopicSpec]) -> list[str]:
    """Create the topics that are missing and return their names once all can be used; leave the others alone.

    One that somebody else makes at the same moment is waited for, too, with the partitions that it was given: whether
    they are as many as the spec says, `topic_check` tells. Raises TopicsError when the cluster refuses one or does not
    answer.
    """
    known = listed(admin)  # fails within seconds where the cluster does not let us in, as creating would not
    wanted = [
        NewTopic(
            spec.name,
            num_partitions=spec.partitions,
            replication_factor=spec.replication,
            config={**spec.configs, **spec.at_creation},
        )
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
    new = [spec for spec in specs if spec.name not in known]
    await_usable(admin, {spec.name: spec.partitions if spec.name in created else None for spec in new})
    return created


def await_usable(admin: AdminClient, partitions: Mapping[str, int | None]) -> None:
    """Wait until topics that are new or grow have as many `partitions`, by name, and brokers that lead them.

    partitions: None = as many as the cluster shows; it shows a new topic with all of them or not at all (KIP-500).

    Faust asks again for a topic that it missed only after minutes; and a broker is named as leader before it is one:
    of what an idempotent producer sends it meanwhile some can be acknowledged and lost (KAFKA-15591). Raises
    TopicsError when they are not there in time.
    """
    if waiting := looked_again(lambda: _not_usable(admin, partitions), not_, _TIMEOUT_SECONDS):
        raise TopicsError(
            f"the cluster does not show {', '.join(waiting)} whole: see its brokers' logs, and run this again"
        )


def _not_usable(admin: AdminClient, partitions: Mapping[str, int | None]) -> list[str]:
    shown = {name: len(topic.partitions) for name, topic in listed(admin).items()}
    if missing := [name for name, least in partitions.items() if shown.get(name, 0) < (least or 1)]:
        return missing
    return _not_led(admin, {name: least or shown[name] for name, least in partitions.items()})


def _not_led(admin: AdminClient, partitions: Mapping[str, int]) -> list[str]:
    """Ask the leader of each partition for its end, which a broker tells only of what it leads already."""
    latest = {
        TopicPartition(name, partition): OffsetSpec.latest()
        for name, least in partitions.items()
        for partition in range(least)
    }
    if not latest:
        return []
    waiting = set()
    for partition, future in admin.list_offsets(latest, request_timeout=_TIMEOUT_SECONDS).items():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() not in NOT_YET:
                raise TopicsError(explained(error)) from error
            waiting.add(partition.topic)
    return sorted(waiting)
