"""How long a worker reads its state from the changelog into an empty folder: `python -m bench.recovery`.

A Kafka node of its own, and one real worker; the states are those of `bench/memory.py`.
"""

import json
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Final

import click
from confluent_kafka import Producer

from bench.memory import state_of_eight_events, with_items_of_its_own
from bench.memory_store import PARTITIONS
from schemas.state import encode_state
from streams.cluster.producers import producer_config
from streams.cluster.topic_creation import create
from streams.cluster.topics import TopicSettings, admin_client, changelog_name, changelog_spec, topic_specs
from streams.local.kafka_node import KafkaNode
from streams.sessions.rules import SessionRules
from streams.sessions.sessionizer import InputTopics, Sessionizer
from streams.settings import StreamSettings
from tests.kafka.worker_process import WorkerProcess

TOPICS: Final = TopicSettings(prefix="recovery-", partitions=PARTITIONS, replication=1, min_insync_replicas=1)


@click.command()
@click.option("--visitors", default=300_000, show_default=True, help="States in the changelog.")
def main(visitors: int) -> None:
    """Write a changelog, start a worker without a folder, and print how long it takes to be ready."""
    with tempfile.TemporaryDirectory() as folder, KafkaNode() as node:
        changelog = changelog_name(StreamSettings(brokers=node.address), TOPICS)
        create(
            admin_client({"bootstrap.servers": node.address}), [*topic_specs(TOPICS), changelog_spec(TOPICS, changelog)]
        )
        written_bytes = _fill(node.address, changelog, visitors)
        began = time.monotonic()
        options = {"brokers": node.address, "prefix": TOPICS.prefix, "partitions": str(PARTITIONS), "replication": "1"}
        worker = WorkerProcess(options, {}, Path(folder) / "worker")
        worker.wait_until_ready()
        seconds = time.monotonic() - began
        recovery_seconds = worker.metric("insession_last_recovery_seconds")
        measured = {
            "visitors": visitors,
            "changelog_bytes_a_visitor": round(written_bytes / visitors),
            "disk_bytes_a_visitor": round(worker.metric("insession_table_bytes") / visitors),
            "seconds_until_ready": round(seconds, 1),
            "recovery_seconds": round(recovery_seconds, 1),
            "recovery_seconds_a_million": round(recovery_seconds * 1e6 / visitors),
        }
        worker.close()
    click.echo(json.dumps(measured, indent=2))


def _fill(brokers: str, changelog: str, visitors: int) -> int:
    """Write a state for each visitor; returns the bytes of all."""
    sessionizer = Sessionizer(SessionRules(), InputTopics("clickstream", "session-control"))
    state = state_of_eight_events(sessionizer, is_open=False)
    value = encode_state(state, due_ms=sessionizer.due_ms(state), is_quiet=True)
    producer, order, written_bytes = (
        Producer(producer_config({"bootstrap.servers": brokers}, client_id="bench")),
        Random(1),
        0,
    )
    for visitor in range(visitors):
        key, content = b"%032d" % visitor, with_items_of_its_own(value, order)
        written_bytes += len(key) + len(content)
        while True:
            try:
                producer.produce(changelog, key=key, value=content)
                break
            except BufferError:
                producer.poll(0.1)
    assert producer.flush(60) == 0
    return written_bytes


if __name__ == "__main__":
    main()
