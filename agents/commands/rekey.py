"""`insession rekey`: key a stream by visitor that is keyed by something else."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import click

from agents.commands.connection import Connection, connection_options
from agents.encodings import Encodings, click_readers
from agents.interruption import Interruption
from agents.progress_bar import counted_progress
from agents.settings import Settings
from schemas.errors import UsageError
from schemas.ids import VisitorId
from schemas.validation import Ignored, Rejection
from streams.cluster.group_state import group_state
from streams.cluster.topic_reader import TopicReader
from streams.cluster.topics import Topic, admin_client
from streams.records import InputRecord
from streams.tools.rekey import Rekey, Route


@click.command(
    epilog="""\b
Examples:
  insession rekey shop-events --config production.toml
  insession rekey shop-events --brokers 127.0.0.1:9092 --until-end --json
"""
)
@connection_options
@click.argument("source")
@click.option("--until-end", is_flag=True, help="Stop at what SOURCE holds now, instead of going on.")
@click.option("--json", "as_json", is_flag=True, help="Print the counts as one JSON object.")
def command(connection: Connection, source: str, *, until_end: bool, as_json: bool) -> None:
    """Copy the records of topic SOURCE to the clickstream, keyed by the visitor_id that clickstream.mapping finds.

    Runs until SIGTERM or Ctrl-C; several share the partitions. Every record is moved at least once: after a crash some
    come twice, which an event_id makes harmless. A record without a visitor_id goes to the dead letters, unless the
    mapping ignores it; a batch of several visitors is copied for each.
    """
    settings = connection.settings()
    route = _route(settings, source)
    ends = _ends(settings, route)
    admin = admin_client(settings.kafka.client_config())

    def is_at_end() -> bool:
        """Ask for the commits of all members together; one that is at rest may have no partition to move."""
        committed = group_state(admin, route.group, source, len(ends)).committed
        return all(committed.get(partition, 0) >= end for partition, end in ends.items())

    reader = click_readers(settings, Encodings(settings).clicks)[settings.topics.name(Topic.CLICKSTREAM)]

    def visitors_of(record: InputRecord) -> Sequence[VisitorId] | Ignored | Rejection:
        return reader.visitor_ids(record.key, record.value, record.headers)

    with Interruption() as interruption, interruption.deferred(), counted_progress() as bar:
        task = bar.add_task(f"{source} to {route.target}", total=None)
        with Rekey(settings.kafka.client_config(), route, visitors_of) as rekey:
            moved = rekey.run(
                until=lambda: interruption.came or (until_end and is_at_end()),
                advance=lambda moved: bar.update(task, completed=moved.read),
            )
    if as_json:
        click.echo(json.dumps(asdict(moved) | {"was_interrupted": interruption.came}))
        return
    click.echo(
        f"{moved.moved:,} records moved to {route.target}, {moved.dead_lettered:,} to {route.dead_letters}, "
        f"{moved.ignored:,} not for us"
    )


def _route(settings: Settings, source: str) -> Route:
    names = {topic: settings.topics.name(topic) for topic in Topic}
    if source in {*names.values(), *settings.clickstreams}:
        raise UsageError(f"{source} is a topic of insession's own: give the topic that the shop writes")
    return Route(
        source=source,
        target=names[Topic.CLICKSTREAM],
        dead_letters=names[Topic.DEAD_LETTERS],
        group=f"{settings.topics.prefix}{settings.kafka.group}-rekey-{source}",
    )


def _ends(settings: Settings, route: Route) -> Mapping[int, int]:
    """Return the end of each partition of the source, 0 where it is empty; refuses a topic that is not there."""
    with TopicReader(settings.kafka.client_config()) as reader:
        for topic in (route.target, route.dead_letters):
            reader.bounds(topic)
        return {partition: held.stop if held else 0 for partition, held in reader.bounds(route.source).items()}
