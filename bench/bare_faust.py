"""Baseline: stock Faust, one RocksDB table write and one send for each event. Run by `python -m bench`."""

import asyncio
from pathlib import Path

import click
import faust
import uvloop

PARTITION_OPTIONS = {"driver": "rocksdict", "block_cache_size": 16 << 20, "write_buffer_size": 8 << 20}
RAW = {"key_type": bytes, "value_type": bytes, "key_serializer": "raw", "value_serializer": "raw"}


def build(app_id: str, brokers: str, partitions: int, datadir: Path) -> faust.App:
    """Return an app with the settings of the product's worker, and none of its code."""
    return faust.App(
        app_id,
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


async def run(app: faust.App, source: str, target: str) -> None:
    """Process the events of `source` until the process is ended."""
    inputs, outputs = app.topic(source, **RAW), app.topic(target, **RAW)
    table = app.Table(
        "last", key_type=bytes, value_type=bytes, partitions=app.conf.topic_partitions, options=dict(PARTITION_OPTIONS)
    )

    @app.agent(inputs)  # type: ignore[untyped-decorator]
    async def process(stream: faust.Stream[bytes]) -> None:
        async for event in stream.events():
            table[event.key] = (table.get(event.key) or b"")[-200:] + event.value[:20]
            await outputs.send(key=event.key, value=event.value, partition=event.message.partition)

    await app.start()
    await asyncio.Event().wait()


@click.command()
@click.option("--brokers", required=True)
@click.option("--source", required=True, help="Topic of the events.")
@click.option("--target", required=True, help="Topic to send to.")
@click.option("--app-id", required=True, help="Consumer group and prefix of the changelog.")
@click.option("--partitions", type=int, required=True, help="Partitions of both topics.")
@click.option("--datadir", type=click.Path(path_type=Path), required=True)
def command(app_id: str, brokers: str, partitions: int, datadir: Path, **topics: str) -> None:
    """Process the events of SOURCE until this process is ended."""

    async def main() -> None:
        await run(build(app_id, brokers, partitions, datadir), topics["source"], topics["target"])

    uvloop.run(main())


if __name__ == "__main__":
    command()
