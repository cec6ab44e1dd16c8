"""`insession topics`: create the topics and check those that are there."""

import json
import sys
from collections.abc import Callable
from typing import Any

import click
import msgspec

from streams.topics import TopicSettings, admin_client, check, create, topic_specs


@click.group()
def command() -> None:
    """Create the topics, or check that those on the cluster are what the worker expects."""


def _options(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options that both subcommands share."""
    defaults = TopicSettings()
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object."),
        click.option(
            "--min-insync-replicas",
            type=click.IntRange(min=1),
            help="Replicas that must hold a record before it counts.  [default: replication - 1, at least 1]",
        ),
        click.option(
            "--replication",
            type=click.IntRange(min=1),
            default=defaults.replication,
            show_default=True,
            help="Replicas of every partition; 1 on a single node.",
        ),
        click.option(
            "--partitions",
            type=click.IntRange(min=1),
            default=defaults.partitions,
            show_default=True,
            help="Partitions of every topic; permanent once there is state.",
        ),
        click.option("--prefix", default=defaults.prefix, help="Prefix of every topic's name."),
        click.option("--brokers", required=True, metavar="HOST:PORT[,...]", help="Brokers to ask first."),
    ):
        function = option(function)
    return function


@command.command("create")
@_options
def create_topics(brokers: str, *, as_json: bool, **layout: Any) -> None:
    """Create the topics that are missing; leave those that exist as they are."""
    specs = topic_specs(_settings(**layout))
    created = create(admin_client({"bootstrap.servers": brokers}), specs)
    existing = [spec.name for spec in specs if spec.name not in created]
    if as_json:
        click.echo(json.dumps({"created": created, "existing": existing}))
        return
    for name in created:
        click.echo(f"created  {name}")
    for name in existing:
        click.echo(f"exists   {name}")


@command.command("check")
@_options
def check_topics(brokers: str, *, as_json: bool, **layout: Any) -> None:
    """Compare the topics with what they should be; exit code 1 when one differs."""
    problems = check(admin_client({"bootstrap.servers": brokers}), topic_specs(_settings(**layout)))
    if as_json:
        click.echo(msgspec.json.encode({"problems": problems}).decode())
    else:
        for problem in problems:
            click.echo(problem.message)
        if not problems:
            click.echo("All topics are as they should be.")
    if problems:
        sys.exit(1)


def _settings(prefix: str, partitions: int, replication: int, min_insync_replicas: int | None) -> TopicSettings:
    return TopicSettings(
        prefix=prefix,
        partitions=partitions,
        replication=replication,
        min_insync_replicas=min_insync_replicas or max(1, replication - 1),
    )
