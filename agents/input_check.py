"""What must be true of the topics before a worker subscribes: they exist as expected, and are those of the state."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import structlog
from confluent_kafka import KafkaException, TopicCollection

from agents.changelog_check import check_changelog
from agents.settings import Settings
from schemas.errors import InsessionError
from streams.app import InsessionApp, changelog_name
from streams.endings import explained
from streams.strict import TopicChangedError
from streams.topic_check import check
from streams.topics import Topic, TopicsError, admin_client, changelog_spec, create

log = structlog.get_logger(__name__)

_IDS_FILE = "topic-ids.json"
_TIMEOUT_SECONDS = 15.0


@asynccontextmanager
async def checked_inputs(app: InsessionApp, settings: Settings) -> AsyncIterator[None]:
    """Stop the worker at once where a topic is missing or different, or is not the one that the state was made from."""
    if not settings.kafka.is_mock_broker:  # it can neither describe nor recreate a topic
        try:
            await asyncio.to_thread(check_topics, settings)
            app.commit_note = await asyncio.to_thread(check_changelog, settings)
        except InsessionError as error:
            app.abort(error)
        except OSError as error:  # a full disk does not say which
            app.abort(InsessionError(f"data folder {settings.kafka.datadir}: {explained(error)}"))
    yield


def check_topics(settings: Settings) -> None:
    """Raise TopicsError or TopicChangedError, naming each topic and the remedy; make the changelog if it is missing.

    What is unwise about the shop's own topics is logged.
    """
    admin = admin_client(settings.kafka.client_config())
    changelog = changelog_spec(settings.topics, changelog_name(settings.kafka, settings.topics))
    problems = check(admin, settings.topic_specs())
    for problem in problems:
        if problem.is_warning:
            log.warning("topic_is_unwise", topic=problem.topic, detail=problem.message)
    errors = [problem for problem in problems if not problem.is_warning]
    if not errors:
        create(admin, [changelog])
        errors = check(admin, [changelog])
    if errors:
        raise TopicsError("\n".join(["the topics are not what the worker expects:", *(e.message for e in errors)]))
    inputs = [*settings.clickstreams, settings.topics.name(Topic.SESSION_CONTROL)]
    try:
        described = admin.describe_topics(TopicCollection(inputs), request_timeout=_TIMEOUT_SECONDS)
        topic_ids = {name: str(future.result().topic_id) for name, future in described.items()}
    except KafkaException as error:
        raise TopicsError(f"the brokers do not describe {', '.join(inputs)}: {error.args[0].str()}") from error
    compare_topic_ids(settings.kafka.datadir, topic_ids)


def compare_topic_ids(datadir: Path, topic_ids: dict[str, str]) -> None:
    """Hold the topics' ids (KIP-516) against those that the local state was made from, and note new ones.

    A topic that was deleted and made anew has another id, and offsets that mean something else.
    """
    file = datadir / _IDS_FILE
    try:
        known = msgspec.json.decode(file.read_bytes(), type=dict[str, str]) if file.exists() else {}
    except ValueError as error:
        raise InsessionError(
            f"{file} cannot be read ({error}): delete it if the topics are those that the state in {datadir} was made "
            "from, else empty the folder"
        ) from error
    for name, topic_id in topic_ids.items():
        if known.get(name, topic_id) != topic_id:
            raise TopicChangedError(
                f"topic {name} was deleted and made anew since the state in {datadir} was written: its offsets mean "
                "other events. Start over with another kafka.group and an empty kafka.datadir, or restore the topic"
            )
    datadir.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(".unfinished")
    unfinished.write_bytes(msgspec.json.encode(known | topic_ids))
    unfinished.replace(file)
