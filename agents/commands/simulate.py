"""`insession simulate`: simulated shoppers on your own brokers."""

import json
from datetime import timedelta

import click

from agents.commands.connection import Connection, connection_options
from agents.commands.number_range import NumberRange
from agents.durations import DurationType
from agents.interruption import Interruption
from agents.progress_bar import counted_progress
from schemas.errors import UsageError


@click.command(
    epilog="""\b
Examples:
  insession simulate --brokers 127.0.0.1:9092 --prefix load- --rate 200 --duration 10m
  insession simulate --config staging.toml --rate 50 --json
"""
)
@connection_options
@click.option(
    "--rate",
    type=NumberRange(min=0, min_open=True, max=100_000),
    default=20.0,
    show_default=True,
    help="Events a second.",
)
@click.option(
    "--duration",
    type=DurationType(),
    metavar="DURATION",
    help="Stop after so long, like 10m.  [default: at SIGTERM or Ctrl-C]",
)
@click.option(
    "--items", type=click.IntRange(120, 200_000), default=1_000, show_default=True, help="Items of the simulated shop."
)
@click.option("--seed", type=click.IntRange(min=0), default=7, show_default=True, help="Another seed, another shop.")
@click.option("--json", "as_json", is_flag=True, help="Print the counts as one JSON object.")
def command(
    connection: Connection, rate: float, duration: timedelta | None, items: int, seed: int, *, as_json: bool
) -> None:
    """Write a generated shop's catalog and the clicks of its shoppers, event_time now, at a steady rate.

    For load and for trying out: give it a --prefix of its own, since its items and visitors would mix with real ones.
    The topics must be there (`insession topics create`). What one process reaches is told at the end; where that is
    below --rate, start several, each with another --seed.
    """
    from agents.upkeep.simulation import Simulated, Simulation, shop_for
    from streams.cluster.topic_reader import TopicReader
    from streams.cluster.topics import Topic
    from streams.tools.sender import Sender

    settings = connection.settings()
    if settings.topics.clickstream is not None or settings.topics.catalog is not None:
        raise UsageError(
            "topics.clickstream or topics.catalog names a topic of the shop's own, where generated shoppers would mix "
            "with real ones: leave both away, and give a --prefix"
        )
    config = settings.kafka.client_config()
    with TopicReader(config) as reader:
        for topic in (Topic.CLICKSTREAM, Topic.CATALOG):
            reader.bounds(settings.topics.name(topic))
    simulation = Simulation(
        shop_for(rate, seed, items), settings.topics, Sender(config, client_id="insession-simulate")
    )
    with Interruption() as interruption, interruption.deferred(), counted_progress() as bar:
        task = bar.add_task("clicks", total=None if duration is None else round(rate * duration.total_seconds()))

        def is_over(seconds: float) -> bool:
            return interruption.came or (duration is not None and seconds >= duration.total_seconds())

        def advance(sent: Simulated) -> None:
            bar.update(task, completed=sent.events)

        simulation.describe_items()
        simulation.run(rate, is_over, advance)
    sent = simulation.sent
    if not as_json:
        click.echo(
            f"{sent.events:,} events in {sent.seconds:,.1f} s ({sent.events_per_second:,.0f} a second), "
            f"{sent.catalog_items:,} catalog records"
        )
        return
    counts = {"events": sent.events, "by_type": dict(sent.by_type), "catalog_items": sent.catalog_items}
    speed = {"seconds": sent.seconds, "events_per_second": sent.events_per_second}
    click.echo(json.dumps(counts | speed | {"was_interrupted": interruption.came}))
