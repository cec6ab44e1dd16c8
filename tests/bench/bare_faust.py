"""Baseline: stock Faust, one RocksDB table write and one send for each event. Run by `python -m tests.bench`."""

import asyncio
import tempfile
import time
from pathlib import Path

import click
import faust
import uvloop

PARTITION_OPTIONS = {"driver": "rocksdict", "block_cache_size": 16 << 20, "write_buffer_size": 8 << 20}


def build(brokers: str, source: str, partitions: int, datadir: Path) -> faust.App:
    """Return an app with the settings of the product's worker, and none of its code."""
    return faust.App(
        f"bare-faust-{source}",
        broker=f"kafka://{brokers}",
        store="rocksdb://",
        datadir=str(datadir),
        topic_partitions=partitions,
        topic_disable_leader=True,
        broker_commit_interval=1.0,
        stream_buffer_maxsize=512,
        producer_linger=0.002,
        producer_max_batch_size=131_072,
        producer_request_timeout=30,
        web_enabled=False,
        consumer_auto_offset_reset="earliest",
    )


async def run(app: faust.App, inputs: faust.Topic, outputs: faust.Topic, events: int) -> float:
    """Process all events of `inputs`; return events per second from the first to the flush after the last."""
    table = app.Table(
        "last", key_type=bytes, value_type=bytes, partitions=inputs.partitions, options=dict(PARTITION_OPTIONS)
    )
    first, last = asyncio.Event(), asyncio.Event()

    @app.agent(inputs)
    async def process(stream: faust.Stream[bytes]) -> None:
        seen = 0
        async for event in stream.events():
            first.set()
            table[event.key] = (table.get(event.key) or b"")[-200:] + event.value[:20]
            await outputs.send(key=event.key, value=event.value, partition=event.message.partition)
            seen += 1
            if seen == events:
                last.set()

    await app.start()
    await first.wait()
    started = time.perf_counter()
    await last.wait()
    await app.producer.flush()
    rate = events / (time.perf_counter() - started)
    await app.stop()
    return rate


@click.command()
@click.option("--brokers", required=True)
@click.option("--source", required=True, help="Topic that holds the events already.")
@click.option("--target", required=True, help="Topic to send to.")
@click.option("--partitions", type=int, required=True)
@click.option("--events", type=int, required=True, help="How many events SOURCE holds.")
def command(brokers: str, source: str, target: str, partitions: int, events: int) -> None:
    """Process all events of SOURCE and print events per second."""
    raw = {"key_serializer": "raw", "value_serializer": "raw"}

    async def main() -> float:
        app = build(brokers, source, partitions, Path(folder))
        inputs = app.topic(source, partitions=partitions, key_type=bytes, value_type=bytes, **raw)
        return await run(app, inputs, app.topic(target, partitions=partitions, **raw), events)

    with tempfile.TemporaryDirectory() as folder:
        click.echo(f"{uvloop.run(main()):.0f}")


if __name__ == "__main__":
    command()
