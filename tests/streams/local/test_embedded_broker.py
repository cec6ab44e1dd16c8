import subprocess
import sys

import pytest
from aiokafka.partitioner import DefaultPartitioner
from confluent_kafka import Consumer, Producer, TopicPartition

from schemas.errors import InsessionError
from streams.cluster.producers import producer_config
from streams.local.embedded_broker import PARTITIONS, EmbeddedBroker, EmbeddedBrokerProcess


def round_trip(address: str) -> dict[bytes, int]:
    """Write 40 keys, read them back, and return the partition that each was read from."""
    producer = Producer(producer_config({"bootstrap.servers": address}, client_id="test"))
    for number in range(40):
        producer.produce("clicks", key=f"v{number}".encode(), value=b"{}")
    assert producer.flush(10) == 0
    consumer = Consumer({"bootstrap.servers": address, "group.id": "test"})
    consumer.assign([TopicPartition("clicks", partition, 0) for partition in range(PARTITIONS)])
    messages = consumer.consume(40, timeout=10)
    consumer.close()
    return {message.key(): message.partition() for message in messages}


def test_keys_written_are_read_from_murmur2s_partition() -> None:
    """Without any Kafka installed, records go in and out, placed as Faust places them."""
    with EmbeddedBroker() as broker:
        read = round_trip(broker.address)
    partitions = list(range(PARTITIONS))
    assert read == {f"v{n}".encode(): DefaultPartitioner()(f"v{n}".encode(), partitions, partitions) for n in range(40)}


def test_a_broker_process_serves_other_processes() -> None:
    """The address works from outside, and the process ends with the block."""
    with EmbeddedBrokerProcess() as broker:
        assert len(round_trip(broker.address)) == 40
    assert broker._child.exit_code == 0


def test_the_process_ends_with_its_parents_pipe() -> None:
    """The end of standard input, which a killed parent causes too, ends the broker."""
    process = subprocess.Popen(
        [sys.executable, "-m", "streams.local.embedded_broker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    address, _ = process.communicate(input="", timeout=20)
    assert address.startswith("127.0.0.1:")
    assert process.returncode == 0


def test_a_broker_process_that_does_not_start_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says how to see the cause."""
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(InsessionError, match=r"did not start .*python -m streams\.local\.embedded_broker"):
        EmbeddedBrokerProcess()
