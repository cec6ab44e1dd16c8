"""Measure the baselines on one Kafka node: `python -m tests.bench` (or `make bench`).

Each round preloads nothing anew: every program reads the same events with a group of its own. Figures of different
machines, and of a machine with other work, do not compare; ratios within one run do.
"""

import statistics
import subprocess
import sys
import uuid

import click
from confluent_kafka import Producer

from streams.kafka_node import KafkaNode
from streams.producers import producer_config
from streams.topics import TopicSpec, admin_client, create

VALUE_BYTES = 218
KEYS = 5_000


def preload(brokers: str, topic: str, events: int) -> None:
    """Write `events` records of 218 bytes with 5,000 keys."""
    producer = Producer(
        producer_config({"bootstrap.servers": brokers, "log_level": 2}, client_id="bench", linger_ms=20)
    )
    for number in range(events):
        while True:
            try:
                producer.produce(topic, key=f"visitor-{number * 7919 % KEYS}", value=f"{number:0{VALUE_BYTES}d}")
                break
            except BufferError:
                producer.poll(0.1)
    if left := producer.flush(60):
        raise click.ClickException(f"{left} of {events} events did not reach the broker.")


def measure(program: str, brokers: str, partitions: int, events: int) -> float:
    """Run one program on topics of its own and return the events per second that it prints."""
    run_id = f"{program.replace('_', '-')}-{uuid.uuid4().hex[:8]}"
    names = {role: f"{run_id}-{role}" for role in ("source", "target", "changelog")}
    # Faust names its changelog itself, and creates it.
    specs = [TopicSpec(name, partitions, 1, {"cleanup.policy": "delete"}) for name in names.values()]
    create(admin_client({"bootstrap.servers": brokers}), specs)
    preload(brokers, names["source"], events)
    extra = ["--changelog", names["changelog"]] if program == "raw_aiokafka" else ["--partitions", str(partitions)]
    command = [sys.executable, "-m", f"tests.bench.{program}", "--brokers", brokers, "--events", str(events)]
    command += ["--source", names["source"], "--target", names["target"], *extra]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, timeout=600)
    if run.returncode != 0 or not run.stdout.strip():
        raise click.ClickException(
            f"{program} ended with exit code {run.returncode} and no figure; its errors are above."
        )
    return float(run.stdout.split()[-1])


@click.command()
@click.option("--events", default=20_000, show_default=True, help="Events of each run.")
@click.option("--partitions", default=8, show_default=True)
@click.option("--rounds", default=3, show_default=True, help="The programs take turns; the median counts.")
def command(events: int, partitions: int, rounds: int) -> None:
    """Print events per second of each baseline: the median and all rounds."""
    figures: dict[str, list[float]] = {"bare_faust": [], "raw_aiokafka": []}
    with KafkaNode() as node:
        for _ in range(rounds):
            for program, rates in figures.items():
                rates.append(measure(program, node.address, partitions, events))
    for program, rates in figures.items():
        click.echo(f"{program:14} {statistics.median(rates):8.0f} events/s   {', '.join(f'{r:.0f}' for r in rates)}")


if __name__ == "__main__":
    command()
