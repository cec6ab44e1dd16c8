"""Whether the changelog is still the one that the commits of the group were made with.

Every commit carries a note of it: its topic id (KIP-516) and where its partitions begin. A changelog that was deleted,
made anew or cut at its beginning has another; the offsets would go on there while every visitor began anew. Where the
commits have no note (of an older insession, or set by a tool) only an empty changelog can be told.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from aiokafka import TopicPartition as AiokafkaPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError as AiokafkaError
from aiokafka.structs import OffsetAndMetadata
from confluent_kafka import KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from schemas.errors import InsessionError
from streams.cluster.admin import explained
from streams.cluster.patience import asked_again
from streams.cluster.topic_reader import TopicReader
from streams.cluster.topics import TopicsError
from streams.credentials import broker_credentials
from streams.settings import StreamSettings

_TIMEOUT_SECONDS: Final = 15.0
_RETRY_SECONDS: Final = 0.2
_NOTE: Final = "insession-changelog"


class ChangelogLostError(InsessionError):
    """The group has commits, and the state that they stand for is not in the changelog. A person must decide."""


@dataclass(frozen=True, slots=True)
class ChangelogIdentity:
    """What tells a changelog from another one of its name. begins_at: sum of its partitions' first offsets."""

    topic_id: str
    begins_at: int

    @property
    def note(self) -> str:
        """Write it as the metadata of a commit."""
        return f"{_NOTE} {self.topic_id} {self.begins_at}"

    @classmethod
    def read(cls, note: str | None) -> Self | None:
        """Read it back; None where the metadata is somebody else's."""
        name, _, rest = (note or "").partition(" ")
        topic_id, _, begins_at = rest.rpartition(" ")
        return cls(topic_id, int(begins_at)) if name == _NOTE and begins_at.isdecimal() else None


@dataclass(frozen=True, slots=True)
class Changelog:
    """A changelog as it is. records: what its offsets span; compaction may have left fewer."""

    name: str
    identity: ChangelogIdentity
    records: int


def look_at(admin: AdminClient, client_config: Mapping[str, Any], name: str) -> Changelog:
    """Look at a changelog that is there; raises TopicsError where the brokers do not answer."""
    try:
        topic_id = asked_again(lambda: _topic_id(admin, name), _TIMEOUT_SECONDS)
    except KafkaException as error:
        raise TopicsError(f"the brokers do not describe {name}: {explained(error)}") from error
    with TopicReader(client_config) as reader:
        bounds = reader.bounds(name).values()
    return Changelog(name, ChangelogIdentity(topic_id, sum(held.start for held in bounds)), sum(map(len, bounds)))


def _topic_id(admin: AdminClient, name: str) -> str:
    described = admin.describe_topics(TopicCollection([name]), request_timeout=_TIMEOUT_SECONDS)
    return str(described[name].result().topic_id)


def committed(settings: StreamSettings, group: str, partitions: Sequence[TopicPartition]) -> list[TopicPartition]:
    """Return the commits of `group` on `partitions`, where there are any.

    Raises TopicsError where the brokers do not answer.

    By the worker's own client: confluent-kafka reads metadata up to a NUL, which only its own commits end with, and so
    takes in what lies behind it in memory (confluentinc/librdkafka#4649).
    """
    try:
        found = asyncio.run(_committed(settings, group, partitions))
    except (AiokafkaError, OSError, TimeoutError) as error:
        raise TopicsError(f"the brokers do not tell the commits of group {group}: {error!r}") from error
    return [
        TopicPartition(tp.topic, tp.partition, at.offset, at.metadata.rstrip("\0"))
        for tp, at in found.items()
        if at.offset > 0
    ]


async def _committed(
    settings: StreamSettings, group: str, partitions: Sequence[TopicPartition]
) -> Mapping[AiokafkaPartition, OffsetAndMetadata]:
    wanted = [AiokafkaPartition(part.topic, part.partition) for part in partitions]
    admin = AIOKafkaAdminClient(
        bootstrap_servers=[address.strip() for address in settings.brokers.split(",")],
        **credentials_to_aiokafka_auth(broker_credentials(settings.security)),
    )
    async with asyncio.timeout(_TIMEOUT_SECONDS):
        await admin.start()
        try:
            while True:
                try:
                    found = await admin.list_consumer_group_offsets(group, partitions=wanted)
                except AiokafkaError as error:
                    if not error.retriable:
                        raise
                else:
                    # The client passes over a coordinator that is not ready, and then there are fewer.
                    if found.keys() >= set(wanted):
                        return found  # type: ignore[no-any-return]
                await asyncio.sleep(_RETRY_SECONDS)
        finally:
            await admin.close()


def refuse_another(changelog: Changelog, commits: Sequence[TopicPartition]) -> None:
    """Raise ChangelogLostError where the commits were made with another changelog, or there is nothing in this one."""
    notes = [ChangelogIdentity.read(part.metadata) for part in commits]
    if all(note == changelog.identity for note in notes):
        return
    noted = next((note for note in notes if note not in {None, changelog.identity}), None)
    if noted is None:
        if changelog.records:
            return
        what = "is empty"
    elif noted.topic_id == changelog.identity.topic_id:
        what = "has lost its first records"
    else:
        what = "was deleted and made anew"
    raise ChangelogLostError(
        f"changelog {changelog.name} {what}, but the group has answered clicks: every visitor who is not in it would "
        "begin anew. Restore the changelog; or, to go on with what it holds, stop all workers, run "
        "`insession state accept`, and start them again"
    )
