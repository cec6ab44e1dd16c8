"""Baseline: the same work without Faust: a dict, its changelog, one output, one commit a second."""

import time

import click
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer


async def run(brokers: str, source: str, target: str, changelog: str, events: int) -> float:
    """Process all events of `source`; return events per second from the first batch to the last commit."""
    consumer = AIOKafkaConsumer(
        source,
        bootstrap_servers=brokers,
        group_id=f"raw-aiokafka-{source}",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    producer = AIOKafkaProducer(bootstrap_servers=brokers, acks="all", linger_ms=2, max_batch_size=131_072)
    await consumer.start()
    await producer.start()
    try:
        return await _process(consumer, producer, (target, changelog), events)
    finally:
        await consumer.stop()
        await producer.stop()


async def _process(
    consumer: AIOKafkaConsumer, producer: AIOKafkaProducer, topics: tuple[str, str], events: int
) -> float:
    target, changelog = topics
    state: dict[bytes, bytes] = {}
    seen, started, committed = 0, 0.0, time.perf_counter()
    while seen < events:
        batches = await consumer.getmany(timeout_ms=200, max_records=500)
        started = started or (time.perf_counter() if batches else 0.0)
        for messages in batches.values():
            for message in messages:
                state[message.key] = state.get(message.key, b"")[-200:] + message.value[:20]
                written = state[message.key]
                await producer.send(changelog, key=message.key, value=written, partition=message.partition)
                await producer.send(target, key=message.key, value=message.value, partition=message.partition)
            seen += len(messages)
        if time.perf_counter() - committed > 1:
            await producer.flush()
            await consumer.commit()
            committed = time.perf_counter()
    await producer.flush()
    await consumer.commit()
    return seen / (time.perf_counter() - started)


@click.command()
@click.option("--brokers", required=True)
@click.option("--source", required=True, help="Topic that holds the events already.")
@click.option("--target", required=True, help="Topic to send to.")
@click.option("--changelog", required=True, help="Topic of the state, with the partitions of SOURCE.")
@click.option("--events", type=int, required=True, help="How many events SOURCE holds.")
def command(brokers: str, source: str, target: str, changelog: str, events: int) -> None:
    """Process all events of SOURCE and print events per second."""
    click.echo(f"{uvloop.run(run(brokers, source, target, changelog, events)):.0f}")


if __name__ == "__main__":
    command()
