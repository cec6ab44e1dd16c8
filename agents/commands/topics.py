"""`insession topics`: create the topics and check those that are there."""

import json
import sys
from collections.abc import Callable

import click
import msgspec

from agents.commands.connection import Connection, connection_options
from streams.cluster.topic_check import ProblemKind, check
from streams.cluster.topic_creation import create
from streams.cluster.topics import TopicsError, admin_client


@click.group()
def command() -> None:
    """Create the topics, or check that those on the cluster are what the worker expects."""


def _options(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options that both subcommands share."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object."),
        click.option(
            "--min-insync-replicas",
            type=click.IntRange(min=1),
            help="Replicas that must hold a record before it counts.  [default: replication - 1, at least 1]",
        ),
        click.option(
            "--replication", type=click.IntRange(min=1), help="Replicas of every partition; 1 on a single node."
        ),
        click.option(
            "--partitions",
            type=click.IntRange(min=1),
            help="Partitions of every topic; `insession repartition` changes them where there is state.",
        ),
        connection_options,
    ):
        function = option(function)
    return function


@command.command("create", epilog="Example: insession topics create --brokers 127.0.0.1:9092 --replication 1")
@_options
def create_topics(connection: Connection, *, as_json: bool, **layout: int | None) -> None:
    """Create the topics that are missing; leave those that exist as they are."""
    settings = connection.settings({"topics": layout})
    specs = settings.topic_specs()
    admin = admin_client(settings.kafka.client_config())
    the_shops = check(admin, [spec for spec in specs if spec.is_the_shops])
    if miscounted := [problem.message for problem in the_shops if problem.kind is ProblemKind.PARTITIONS]:
        raise TopicsError("\n".join(miscounted))  # before topics of insession's own have another count for ever
    created = create(admin, specs)
    existing = [spec.name for spec in specs if spec.name not in created]
    if as_json:
        click.echo(json.dumps({"created": created, "existing": existing}))
        return
    for name in created:
        click.echo(f"created  {name}")
    for name in existing:
        click.echo(f"exists   {name}")


@command.command("check", epilog="Example: insession topics check --config production.toml --json")
@_options
def check_topics(connection: Connection, *, as_json: bool, **layout: int | None) -> None:
    """Compare the topics with what they should be; exit code 1 when a worker would not start.

    What is unwise about the shop's own topics, clickstream and catalog, is a warning.
    """
    settings = connection.settings({"topics": layout})
    found = check(admin_client(settings.kafka.client_config()), settings.topic_specs())
    warnings = [problem for problem in found if problem.is_warning]
    problems = [problem for problem in found if not problem.is_warning]
    if as_json:
        click.echo(msgspec.json.encode({"problems": problems, "warnings": warnings}).decode())
    else:
        for problem in problems:
            click.echo(problem.message)
        for problem in warnings:
            click.echo(f"warning: {problem.message}")
        if not found:
            click.echo("All topics are as they should be.")
    if problems:
        sys.exit(1)
