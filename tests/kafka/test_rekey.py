"""`insession rekey` as a process of its own, killed and stopped while records come in."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from click.testing import CliRunner

from agents.cli import insession
from schemas import watchdog
from schemas.click_reader import ClickReader
from schemas.ids import VisitorId
from schemas.mapping import FieldMapping
from schemas.validation import Ignored, Rejection
from streams.cluster.partitioner import murmur2_partition
from streams.cluster.topics import Topic, TopicSpec
from streams.records import InputRecord, OutputRecord
from streams.sessions.rules import SessionRules
from streams.tools.rekey import Rekey, Route
from streams.tools.sender import Sender
from streams.tools.time_merge import TimeMerge
from tests.kafka.deployment import Say
from tests.kafka.topic_log import LoggedRecord, TopicReader
from tests.kafka.worker_process import COMMAND

pytestmark = pytest.mark.kafka

PARTITIONS = 3
READER = ClickReader(FieldMapping())
PATIENCE_SECONDS = 120
BACKLOG_MS = 2 * 3_600_000
BACKLOG = 60_000
QUEUED_BYTES = 3 << 20
"""Of records with 1 KiB each: a twentieth of the backlog."""


class Stream:
    """A source topic keyed by page, and the command that moves it."""

    def __init__(self, topics: Any) -> None:
        self.source = topics.settings.prefix + "events"
        self.clickstream = topics.settings.name(Topic.CLICKSTREAM)
        self.dead_letters = topics.settings.name(Topic.DEAD_LETTERS)
        self.brokers = topics.brokers
        names = [self.source, self.clickstream, self.dead_letters]
        topics.create([TopicSpec(name, PARTITIONS, 1, {"cleanup.policy": "delete"}) for name in names])
        self._connection = ["--brokers", topics.brokers, "--prefix", topics.settings.prefix]
        self._reader = TopicReader(topics.brokers, "test")
        self._sender = Sender({"bootstrap.servers": topics.brokers}, client_id="test")
        self._processes: list[tuple[subprocess.Popen[str], subprocess.Popen[bytes]]] = []
        self.written = 0

    def write(self, count: int) -> None:
        """Write records of eleven visitors, each with its own number."""
        for _ in range(count):
            value = json.dumps({"visitor_id": f"v{self.written % 11}", "n": self.written}).encode()
            self._sender.send(OutputRecord(self.source, b"page%d" % (self.written % 5), value))
            self.written += 1
        self._sender.flush()

    def write_backlog(self, count: int) -> None:
        """Write padded records over all partitions in turn, with timestamps over the two hours before now."""
        begin_ms = time.time_ns() // 1_000_000 - BACKLOG_MS
        for number in range(count):
            value = {"visitor_id": f"v{number % 997}", "n": self.written, "padding": "x" * 500}
            record = OutputRecord(self.source, None, json.dumps(value).encode(), partition=number % PARTITIONS)
            self._sender.send(record, time_ms=begin_ms + BACKLOG_MS * number // count)
            self.written += 1
        self._sender.flush()

    def member(self) -> Rekey:
        """Make a member of another group, which keeps little of the source in memory."""
        names = {"source": self.source, "target": self.clickstream, "dead_letters": self.dead_letters}
        merge = TimeMerge(max_queued_bytes=QUEUED_BYTES)
        return Rekey({"bootstrap.servers": self.brokers}, Route(**names, group=f"{self.source}-g"), visitors_of, merge)

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


def visitors_of(record: InputRecord) -> Sequence[VisitorId] | Ignored | Rejection:
    """Return the visitors of a record that is written as it is read."""
    return READER.visitor_ids(record.key, record.value, record.headers)


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
    assert json.loads(out) == {"read": 500, "moved": 500, "dead_lettered": 0, "ignored": 0, "was_interrupted": True}
    assert stream.run_until_end() == {"read": 0, "moved": 0, "dead_lettered": 0, "ignored": 0, "was_interrupted": False}
    assert len(stream.clicks()) == 500


def test_a_backlog_of_hours_makes_no_event_late(stream: Stream, say: Say) -> None:
    """A source that is more than fits in memory comes about as it was written, though it is read part after part."""
    stream.write_backlog(BACKLOG)
    with stream.member() as member:
        moved = member.run(lambda: member.moved.read >= BACKLOG, lambda _: None)
    clicks = stream.clicks()
    behind_ms = most_behind_ms(clicks)
    say(f"{moved.moved} records of 2 h, at most {behind_ms} ms behind the latest of their partition")
    assert sorted(json.loads(click.value or b"")["n"] for click in clicks) == list(range(BACKLOG))
    assert behind_ms <= SessionRules().grace_period.total_seconds() * 1000


def test_partitions_that_wait_for_their_turn_move_to_another_member_and_back(stream: Stream) -> None:
    """A pause does not outlive the assignment, and what was queued is read again: all is moved."""
    stream.write_backlog(BACKLOG)
    with stream.member() as first:
        first.run(lambda: True, lambda _: None)
        with stream.member() as second:
            while not second.moved.moved:
                stream.write_backlog(BACKLOG // 10)
                for member in (first, second):
                    member.run(lambda: True, lambda _: None)
        first.run(lambda: first.moved.read + second.moved.read >= stream.written, lambda _: None)
    assert {json.loads(click.value or b"")["n"] for click in stream.clicks()} == set(range(stream.written))


def most_behind_ms(clicks: Sequence[LoggedRecord]) -> int:
    """Return how far a record is behind the latest timestamp before it in its partition, at most."""
    latest_ms: dict[int, int] = {}
    most = 0
    for click in clicks:
        latest_ms[click.partition] = max(click.time_ms, latest_ms.get(click.partition, 0))
        most = max(most, latest_ms[click.partition] - click.time_ms)
    return most


@pytest.mark.parametrize("source", [Topic.CLICKSTREAM, Topic.DEAD_LETTERS])
def test_a_topic_of_our_own_is_refused(stream: Stream, source: Topic) -> None:
    """The clickstream moved into itself would never end."""
    prefix = stream.clickstream.removesuffix(Topic.CLICKSTREAM)
    result = CliRunner().invoke(insession, ["rekey", prefix + source, "--prefix", prefix])
    assert "of insession's own" in str(result.exception)
