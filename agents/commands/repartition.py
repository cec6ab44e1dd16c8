"""`insession repartition`: more partitions for a deployment that has state."""

import json
from dataclasses import asdict

import click

from agents.commands.connection import Connection, connection_options
from agents.commands.number_range import NumberRange
from agents.logs import configure_logs
from agents.progress_bar import counted_progress, steps_on
from agents.upkeep.repartition import Repartition


@click.command(
    epilog="""\b
Examples:
  insession repartition --partitions 16 --config production.toml
  insession repartition --partitions 16 --settle 0 --json      # no producer writes
"""
)
@connection_options
@click.option("--partitions", required=True, type=click.IntRange(1, 1024), help="How many each topic shall have.")
@click.option(
    "--settle",
    type=NumberRange(min=0),
    default=300.0,
    show_default=True,
    metavar="SECONDS",
    help="How long producers may write by the old count after the clickstream has grown (their metadata.max.age.ms).",
)
@click.option("--json", "as_json", is_flag=True, help="Print the counts as one JSON object.")
def command(connection: Connection, partitions: int, settle: float, *, as_json: bool) -> None:
    """Give every topic so many partitions and move each visitor's state to the one that its key has then.

    All workers must be stopped; clicks wait meanwhile, and what was not read is answered without the model. Safe to run
    again after whatever ended it: until it is done no worker starts. Then set topics.partitions and start the workers.
    """
    configure_logs("WARNING")
    with counted_progress() as bar:
        progress = steps_on(bar, "looking at the topics")
        done = Repartition(connection.settings(), partitions, settle_seconds=settle, progress=progress).run()
    if as_json:
        click.echo(json.dumps(asdict(done)))
        return
    click.echo(
        f"{done.before} to {done.now} partitions: {done.answered:,} waiting records answered, {done.moved:,} of "
        f"{done.states:,} states moved. Set topics.partitions to {done.now} and start the workers"
    )
