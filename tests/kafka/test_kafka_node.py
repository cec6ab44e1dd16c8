import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Consumer, Producer

from streams.cluster.producers import producer_config
from streams.cluster.topic_creation import create
from streams.cluster.topics import TopicSpec, admin_client
from streams.local.kafka_node import KafkaNode

pytestmark = [pytest.mark.kafka, pytest.mark.usefixtures("kafka_tools")]


def write(address: str, topic: str, value: bytes) -> None:
    """Write one record and wait until it is acknowledged."""
    producer = Producer(producer_config({"bootstrap.servers": address, "log_level": 2}, client_id="test"))
    producer.produce(topic, value)
    assert producer.flush(20) == 0


def read(address: str, topic: str, count: int) -> list[bytes]:
    """Read `count` records from the beginning through a consumer group."""
    config = {"bootstrap.servers": address, "group.id": "test", "auto.offset.reset": "earliest", "log_level": 2}
    consumer = Consumer(config)
    consumer.subscribe([topic])
    try:
        return [message.value() for message in consumer.consume(count, timeout=30)]
    finally:
        consumer.close()


@pytest.mark.slow
def test_a_node_keeps_its_address_and_its_data_over_a_stop_and_a_kill(tmp_path: Path) -> None:
    """What was acknowledged is read after SIGTERM, after SIGKILL, and at the same address."""
    with KafkaNode(tmp_path / "node") as node:
        create(
            admin_client({"bootstrap.servers": node.address}), [TopicSpec("kept", 1, 1, {"cleanup.policy": "delete"})]
        )
        address = node.address
        write(address, "kept", b"before the stop")
        node.stop()
        node.start()
        write(address, "kept", b"before the kill")
        node.kill()
        node.start()
        assert node.address == address
        assert read(address, "kept", 2) == [b"before the stop", b"before the kill"]
    assert (tmp_path / "node" / "data" / "meta.properties").is_file()


def test_topics_do_not_appear_by_use(kafka_node: KafkaNode) -> None:
    """Asking for a topic that nobody created leaves the cluster without it."""
    admin = admin_client({"bootstrap.servers": kafka_node.address})
    assert admin.list_topics("never-created", timeout=10).topics["never-created"].error is not None
    assert "never-created" not in admin.list_topics(timeout=10).topics


def test_a_node_listens_on_loopback_only(kafka_node: KafkaNode) -> None:
    """Nothing of the node is reachable from another machine."""
    process = node_process(os.getpid(), kafka_node.address)
    listening = {item.laddr.ip for item in process.net_connections("tcp") if item.status == psutil.CONN_LISTEN}
    assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}


def test_the_broker_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    """A parent killed with SIGKILL leaves no broker behind."""
    parent = start_foreground("--data-dir", str(tmp_path / "node"))  # nobody is left to remove a temporary folder
    assert parent.stdout is not None
    broker = node_process(parent.pid, parent.stdout.readline().strip())
    parent.kill()
    parent.communicate()
    broker.wait(timeout=20)  # raises where the broker lives on


def test_the_foreground_node_stops_in_order_at_ctrl_c() -> None:
    """Ctrl-C ends `make kafka` with exit code 0 and takes the broker along."""
    parent = start_foreground()
    assert parent.stdout is not None
    broker = node_process(parent.pid, parent.stdout.readline().strip())
    parent.send_signal(signal.SIGINT)
    parent.communicate(timeout=30)
    assert parent.returncode == 0
    assert not broker.is_running()


def start_foreground(*options: str) -> "subprocess.Popen[str]":
    """Start what `make kafka` starts; its first line is the address."""
    return subprocess.Popen(
        [sys.executable, "-m", "streams.local.kafka_node", *options], stdout=subprocess.PIPE, text=True
    )


def node_process(parent: int, address: str) -> psutil.Process:
    """Find the broker among the children of `parent` by the port that it listens on."""
    port = int(address.rsplit(":", 1)[1])
    for child in psutil.Process(parent).children():
        if child.name() == "java" and port in {item.laddr.port for item in child.net_connections("tcp")}:
            return child
    pytest.fail(f"process {parent} has no broker on {address}")
