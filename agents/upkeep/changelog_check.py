"""Whether the state of the deployment is the one that its commits stand for, and taking another one as it is."""

import shutil
from pathlib import Path
from typing import Final

import structlog
from confluent_kafka import TopicPartition

from agents.settings import Settings
from streams.cluster.group_commits import GroupCommits
from streams.cluster.group_state import group_state
from streams.cluster.topic_creation import create
from streams.cluster.topics import VISITORS, Topic, admin_client, app_id, changelog_name, changelog_spec
from streams.state.changelog_identity import Changelog, committed, look_at, refuse_another

log = structlog.get_logger(__name__)

_ID_FILE: Final = "changelog-id"


def check_changelog(settings: Settings) -> str:
    """Return the note that commits shall carry; the changelog must be there.

    Raises ChangelogLostError where the commits were made with another changelog, TopicsError where the brokers do not
    answer. Drops the local copies that were made from another one.
    """
    changelog = verified_changelog(settings)
    drop_copies_of_another(settings.kafka.datadir, changelog.identity.topic_id)
    return changelog.identity.note


def verified_changelog(settings: Settings) -> Changelog:
    """Look at the changelog, and raise as `check_changelog` does."""
    changelog = _looked_at(settings)
    refuse_another(changelog, _commits(settings))
    return changelog


def accept_changelog(settings: Settings) -> tuple[Changelog, int]:
    """Take the changelog as it is, made now where there is none; returns it and how many partitions have commits.

    Raises InsessionError while the group has members.
    """
    admin = admin_client(settings.kafka.client_config())
    group, topic = app_id(settings.kafka, settings.topics), settings.topics.name(Topic.CLICKSTREAM)
    state = group_state(admin, group, topic, settings.topics.partitions)
    state.refuse_workers(group, then="then accept the changelog")
    create(admin, [changelog_spec(settings.topics, changelog_name(settings.kafka, settings.topics))])
    changelog = _looked_at(settings)
    commits = _commits(settings)
    with GroupCommits(settings.kafka.client_config(), group) as written:
        for name in settings.clickstreams:
            offsets = {part.partition: part.offset for part in commits if part.topic == name}
            written.write(name, offsets, changelog.identity.note)
    return changelog, len(commits)


def drop_copies_of_another(datadir: Path, topic_id: str) -> None:
    """Drop the local copies of the state where they were made from a changelog of another id, and note this one's."""
    file = datadir / _ID_FILE
    known = file.read_text().strip() if file.exists() else topic_id
    if known != topic_id:
        copies = [copy for copy in datadir.rglob(f"{VISITORS}-*.db") if copy.is_dir()]
        for copy in copies:
            shutil.rmtree(copy)
        log.warning("copies_of_another_changelog_dropped", folder=str(datadir), partitions=len(copies))
    datadir.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(".unfinished")
    unfinished.write_text(topic_id)
    unfinished.replace(file)


def _looked_at(settings: Settings) -> Changelog:
    config = settings.kafka.client_config()
    return look_at(admin_client(config), config, changelog_name(settings.kafka, settings.topics))


def _commits(settings: Settings) -> list[TopicPartition]:
    wanted = [
        TopicPartition(topic, partition)
        for topic in settings.clickstreams
        for partition in range(settings.topics.partitions)
    ]
    return committed(settings.kafka, app_id(settings.kafka, settings.topics), wanted)
