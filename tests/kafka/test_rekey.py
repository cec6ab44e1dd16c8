"""`insession rekey` as a process of its own, killed and stopped while records come in."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from click.testing import CliRunner

from agents.cli import insession
from streams import watchdog
from streams.partitioner import murmur2_partition
from streams.sender import Sender
from streams.topics import Topic, TopicSpec
from streams.window import OutputRecord
from tests.kafka.topic_log import LoggedRecord, TopicReader
from tests.kafka.worker_process import COMMAND

pytestmark = pytest.mark.kafka

PARTITIONS = 3
PATIENCE_SECONDS = 120


class Stream:
    """A source topic keyed by page, and the command that moves it."""

    def __init__(self, topics: Any) -> None:
        self.source = topics.settings.prefix + "events"
        self.clickstream = topics.settings.name(Topic.CLICKSTREAM)
        names = [self.source, self.clickstream, topics.settings.name(Topic.DEAD_LETTERS)]
        topics.create([TopicSpec(name, PARTITIONS, 1, {"cleanup.policy": "delete"}) for name in names])
        self._connection = ["--brokers", topics.brokers, "--prefix", topics.settings.prefix]
        self._reader = TopicReader(topics.brokers, "test")
        self._sender = Sender({"bootstrap.servers": topics.brokers}, client_id="test")
        self._processes: list[tuple[subprocess.Popen[str], subprocess.Popen[bytes]]] = []
        self._written = 0

    def write(self, count: int) -> None:
        """Write records of eleven visitors, each with its own number."""
        for _ in range(count):
            value = json.dumps({"visitor_id": f"v{self._written % 11}", "n": self._written}).encode()
            self._sender.send(OutputRecord(self.source, b"page%d" % (self._written % 5), value))
            self._written += 1
        self._sender.flush()

    def start(self) -> "subprocess.Popen[str]":
        """Start the command without an end."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("INSESSION_")}
        arguments = [COMMAND, "rekey", self.source, *self._connection, "--json"]
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=inherited)
        self._processes.append((process, watchdog.kill_with_parent(process.pid)))
        return process

    def run_until_end(self) -> Any:
        """Run the command up to the end of the source."""
        result = CliRunner().invoke(insession, ["rekey", self.source, *self._connection, "--until-end", "--json"])
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def clicks(self) -> list[LoggedRecord]:
        """Read the clickstream."""
        return self._reader.read(self.clickstream)

    def wait_for_clicks(self, count: int) -> None:
        """Wait until so many records were moved."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while sum(self._reader.end_offsets(self.clickstream).values()) < count:
            assert time.monotonic() < deadline

    def close(self) -> None:
        """Kill what still runs."""
        for process, watching in self._processes:
            process.kill()
            process.communicate()
            watchdog.dismiss(watching)
        self._reader.close()


@pytest.fixture
def stream(kafka_topics: Callable[..., Any]) -> Iterator[Stream]:
    """Make a stream."""
    made = Stream(kafka_topics(partitions=PARTITIONS))
    yield made
    made.close()


def test_a_kill_loses_nothing(stream: Stream) -> None:
    """What was moved and not committed comes twice, what was not moved comes once, all under the visitor's key."""
    stream.write(2_000)
    process = stream.start()
    stream.wait_for_clicks(1)
    stream.write(2_000)
    process.send_signal(signal.SIGKILL)
    assert process.wait(PATIENCE_SECONDS) == -signal.SIGKILL
    stream.run_until_end()
    clicks = stream.clicks()
    assert {json.loads(click.value or b"")["n"] for click in clicks} == set(range(4_000))
    for click in clicks:
        assert click.key == json.loads(click.value or b"")["visitor_id"].encode()
        assert click.partition == murmur2_partition(click.key, PARTITIONS)


def test_sigterm_ends_it_cleanly(stream: Stream) -> None:
    """Exit code 0, the counts are told, and everything that was moved is committed: nothing comes twice."""
    stream.write(500)
    process = stream.start()
    stream.wait_for_clicks(500)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, "Traceback" in err) == (0, False)
    assert json.loads(out) == {"read": 500, "moved": 500, "dead_lettered": 0, "was_interrupted": True}
    assert stream.run_until_end() == {"read": 0, "moved": 0, "dead_lettered": 0, "was_interrupted": False}
    assert len(stream.clicks()) == 500


@pytest.mark.parametrize("source", [Topic.CLICKSTREAM, Topic.DEAD_LETTERS])
def test_a_topic_of_our_own_is_refused(stream: Stream, source: Topic) -> None:
    """The clickstream moved into itself would never end."""
    prefix = stream.clickstream.removesuffix(Topic.CLICKSTREAM)
    result = CliRunner().invoke(insession, ["rekey", prefix + source, "--prefix", prefix])
    assert "of insession's own" in str(result.exception)
