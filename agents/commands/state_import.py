"""`insession state import`: go on with a mirrored or restored changelog."""

import json
from dataclasses import asdict
from datetime import timedelta

import click

from agents.commands.connection import Connection, connection_options
from agents.progress_bar import counted_progress
from agents.settings import Settings
from schemas.errors import InsessionError, UsageError
from streams.cluster.group_state import group_state
from streams.cluster.topic_check import layout_problem
from streams.cluster.topic_creation import create
from streams.cluster.topic_reader import TopicReader
from streams.cluster.topics import Topic, TopicsError, admin_client, app_id, changelog_name, changelog_spec
from streams.tools.state_import import ImportRoute, import_state


@click.command(
    "import",
    epilog="""\b
Examples:
  insession state import --config production.toml
  insession state import primary.insession-visitors-changelog --config production.toml
""",
)
@connection_options
@click.argument("source", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the counts as one JSON object.")
def import_command(connection: Connection, source: str | None, *, as_json: bool) -> None:
    """Take the changelog SOURCE, a mirror or a restored copy, as the state of kafka.group.

    Without SOURCE the group's own changelog is taken, as a mirror with the same names leaves it. Offsets of the topics
    that the state was made from are void. Where the group has no commit it begins by timestamp, two minutes or so
    before the latest record that the state knows of: that much may be answered twice. Run it before the first worker
    of the group; it is safe to run again until then.
    """
    settings = connection.settings()
    route = _route(settings, source)
    _refuse_running(settings, route)
    with counted_progress() as bar:
        task = bar.add_task(f"{route.source} to {route.target}", total=None)
        done = import_state(
            settings.kafka.client_config(),
            route,
            total=lambda records: bar.update(task, total=records),
            advance=lambda records: bar.update(task, advance=records),
        )
    if as_json:
        click.echo(json.dumps(asdict(done)))
        return
    begun = sum(map(len, done.begins.values()))
    click.echo(
        f"{done.states:,} states are in {route.target}; {begun} partitions without a commit begin by the records' "
        f"times: start the workers of group {route.group}"
    )


def _route(settings: Settings, source: str | None) -> ImportRoute:
    target = changelog_name(settings.kafka, settings.topics)
    rules = settings.sessions
    return ImportRoute(
        source=source or target,
        target=target,
        group=app_id(settings.kafka, settings.topics),
        clickstreams=tuple(settings.clickstreams),
        control=settings.topics.name(Topic.SESSION_CONTROL),
        margin_ms=(rules.grace_period + rules.allowed_skew) // timedelta(milliseconds=1),
    )


def _refuse_running(settings: Settings, route: ImportRoute) -> None:
    """Refuse a group that runs or has run, and changelogs of other partition counts; make the target."""
    admin = admin_client(settings.kafka.client_config())
    topics = settings.topics
    spec = changelog_spec(topics, route.target)
    with TopicReader(settings.kafka.client_config()) as reader:
        partitions = len(reader.bounds(route.source))
    if partitions != topics.partitions:
        raise UsageError(
            f"{route.source} has {partitions} partitions and topics.partitions is {topics.partitions}: import it with "
            f"topics of {partitions} partitions, then run `insession repartition`"
        )
    state = group_state(admin, route.group, topics.name(Topic.CLICKSTREAM), topics.partitions)
    state.refuse_workers(route.group, then="then import the state")
    if route.source == route.target:
        return
    if any(state.committed.values()):
        raise InsessionError(
            f"group {route.group} has answered clicks, and its own states would be lost: import into a new kafka.group"
        )
    create(admin, [spec])
    with TopicReader(settings.kafka.client_config()) as reader:
        problem = layout_problem(spec, len(reader.bounds(route.target)))
    if problem is not None:
        raise TopicsError(problem.message)
