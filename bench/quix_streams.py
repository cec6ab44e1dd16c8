"""Baseline: Quix Streams with one state read, one state write with its changelog, and one send for each event.

Run by `python -m bench` in an environment of its own: it asks for an older confluent-kafka than ours.
"""

import argparse

from quixstreams import Application, State
from quixstreams.models import TopicConfig


def build(brokers: str, group: str, state_dir: str) -> Application:
    """Return an application that commits once a second, as the others do."""
    return Application(
        broker_address=brokers,
        consumer_group=group,
        auto_offset_reset="earliest",
        commit_interval=1.0,
        state_dir=state_dir,
        loglevel="WARNING",
        producer_extra_config={"linger.ms": 2, "acks": "all"},
        topic_create_timeout=60,
    )


def keep(value: bytes, state: State) -> bytes:
    """Append the head of `value` to what is kept of its key."""
    state.set("last", (state.get("last") or "")[-200:] + value[:20].decode())
    return value


def main() -> None:
    """Process the events of SOURCE until this process is ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("brokers", "source", "target", "group", "state-dir"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--partitions", type=int, required=True)
    given = parser.parse_args()
    app = build(given.brokers, given.group, given.state_dir)
    config = TopicConfig(num_partitions=given.partitions, replication_factor=1)
    source = app.topic(given.source, value_deserializer="bytes", key_deserializer="bytes", config=config)
    target = app.topic(given.target, value_serializer="bytes", key_serializer="bytes", config=config)
    app.dataframe(source).apply(keep, stateful=True).to_topic(target)
    app.run()


if __name__ == "__main__":
    main()
