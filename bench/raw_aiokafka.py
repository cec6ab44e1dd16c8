"""Baseline: the same work without Faust: a dict, its changelog, one output, one commit a second."""

import time

import click
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer


async def run(brokers: str, source: str, target: str, changelog: str) -> None:
    """Process the events of `source` until the process is ended."""
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
        await _process(consumer, producer, target, changelog)
    finally:
        await consumer.stop()
        await producer.stop()


async def _process(consumer: AIOKafkaConsumer, producer: AIOKafkaProducer, target: str, changelog: str) -> None:
    state: dict[bytes, bytes] = {}
    committed = time.perf_counter()
    while True:
        batches = await consumer.getmany(timeout_ms=200, max_records=500)
        for messages in batches.values():
            for message in messages:
                written = state[message.key] = state.get(message.key, b"")[-200:] + message.value[:20]
                await producer.send(changelog, key=message.key, value=written, partition=message.partition)
                await producer.send(target, key=message.key, value=message.value, partition=message.partition)
        if time.perf_counter() - committed > 1:
            await producer.flush()
            await consumer.commit()
            committed = time.perf_counter()


@click.command()
@click.option("--brokers", required=True)
@click.option("--source", required=True, help="Topic of the events.")
@click.option("--target", required=True, help="Topic to send to.")
@click.option("--changelog", required=True, help="Topic of the state, with the partitions of SOURCE.")
def command(**options: str) -> None:
    """Process the events of SOURCE until this process is ended."""
    uvloop.run(run(**options))


if __name__ == "__main__":
    command()
