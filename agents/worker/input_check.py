"""What must be true of the topics before a worker subscribes, and the watch over it afterwards."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import structlog

from agents.settings import Settings
from agents.upkeep.changelog_check import check_changelog
from schemas.errors import InsessionError
from streams.app import InsessionApp
from streams.cluster.patience import looked_again
from streams.cluster.topic_check import ProblemKind, TopicProblem, check
from streams.cluster.topic_creation import create
from streams.cluster.topic_watch import SeenTopic, Sighting, TopicWatch, look_at, seen_topics
from streams.cluster.topics import TopicsError, TopicSpec, admin_client, app_id, changelog_name, changelog_spec
from streams.delivery.endings import explained

log = structlog.get_logger(__name__)

_PATIENCE_SECONDS: Final = 15.0
"""For brokers that have not heard yet of a changelog which was just made."""


@asynccontextmanager
async def checked_inputs(
    app: InsessionApp, settings: Settings, topic_ids: dict[str, int], watch: TopicWatch
) -> AsyncIterator[None]:
    """Stop the worker at once where a topic is missing or different; what happens to one later, `watch` finds.

    topic_ids: takes the ids of the topics, by name.
    """
    if not settings.kafka.is_mock_broker:  # it can neither describe nor recreate a topic
        try:
            seen = await asyncio.to_thread(check_topics, settings)
            app.commit_note = await asyncio.to_thread(check_changelog, settings)
        except InsessionError as error:
            app.abort(error)
        except OSError as error:  # a full disk does not say which
            app.abort(InsessionError(f"data folder {settings.kafka.datadir}: {explained(error)}"))
        else:
            topic_ids.update({name: topic.topic_id for name, topic in seen.items()})
            watch.expect(_specs(settings), seen)
            watch.start(_look(settings))
    yield
    watch.stop()


def check_topics(settings: Settings) -> Mapping[str, SeenTopic]:
    """Return what the topics are, the changelog included, which is made where it is missing.

    Raises TopicsError that names each topic and the remedy. What is unwise about the shop's own topics is logged.
    """
    admin = admin_client(settings.kafka.client_config())
    changelog = _changelog_spec(settings)
    problems = check(admin, settings.topic_specs())
    for problem in problems:
        if problem.is_warning:
            log.warning("topic_is_unwise", topic=problem.topic, detail=problem.message)
    errors = [problem for problem in problems if not problem.is_warning]
    if not errors:
        create(admin, [changelog])
        errors = looked_again(lambda: check(admin, [changelog]), _are_all_there, _PATIENCE_SECONDS)
    if errors:
        raise TopicsError("\n".join(["the topics are not what the worker expects:", *(e.message for e in errors)]))
    names = [spec.name for spec in _specs(settings)]
    seen = looked_again(lambda: seen_topics(admin, names), lambda found: None not in found.values(), _PATIENCE_SECONDS)
    if gone := sorted(name for name, topic in seen.items() if topic is None):
        raise TopicsError(f"{', '.join(gone)} went away while the worker started: see who deletes topics, start again")
    return {name: topic for name, topic in seen.items() if topic is not None}


def _are_all_there(problems: Sequence[TopicProblem]) -> bool:
    return all(problem.kind is not ProblemKind.MISSING for problem in problems)


def _look(settings: Settings) -> Callable[[], Sighting]:
    admin = admin_client(settings.kafka.client_config())
    names = [spec.name for spec in _specs(settings)]
    return partial(look_at, admin, names, app_id(settings.kafka, settings.topics))


def _specs(settings: Settings) -> list[TopicSpec]:
    return [*settings.topic_specs(), _changelog_spec(settings)]


def _changelog_spec(settings: Settings) -> TopicSpec:
    return changelog_spec(settings.topics, changelog_name(settings.kafka, settings.topics))
