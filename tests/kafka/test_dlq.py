"""`insession dlq` on a real broker: letters as a worker writes them are listed, shown and sent again once."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner, Result

from agents.cli import insession
from schemas.errors import UsageError
from schemas.state import InputPosition
from schemas.validation import Rejection
from streams.cluster.topics import Topic
from streams.delivery.dead_letters import dead_letter
from streams.records import InputRecord
from streams.tools.dead_letter_log import REPLAY_HEADER
from streams.tools.sender import Sender
from tests.kafka.topic_log import LoggedRecord, TopicReader

pytestmark = pytest.mark.kafka

VALUE = b'{"visitor_id": "v\x1b"}'


class Desk:
    """A clickstream and a dead-letter topic with `count` letters of visitors v0, v1, ..., and the command on them."""

    def __init__(self, topics: Any, count: int) -> None:
        topics.create()
        self._topics = topics
        self.clickstream = topics.settings.name(Topic.CLICKSTREAM)
        self._dlq = topics.settings.name(Topic.DEAD_LETTERS)
        sender = Sender({"bootstrap.servers": topics.brokers}, client_id="test")
        for number in range(count):
            position = InputPosition(self.clickstream, 0, number)
            record = InputRecord(position, b"v%d" % number, VALUE, 0, [("trace", b"%d" % number)])
            rejection = Rejection("missing_item" if number else "undecodable", "no item")
            sender.send(dead_letter(record, rejection, self._dlq))
        sender.flush()

    def run(self, *arguments: str) -> Result:
        """Run `insession dlq` with these arguments."""
        connection = ["--brokers", self._topics.brokers, "--prefix", self._topics.settings.prefix]
        return CliRunner().invoke(insession, ["dlq", arguments[0], *connection, *arguments[1:]])

    def json(self, *arguments: str) -> Any:
        """Run `insession dlq ... --json` and read what it prints."""
        result = self.run(*arguments, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def clicks(self) -> list[LoggedRecord]:
        """Read the clickstream."""
        reader = TopicReader(self._topics.brokers, "test")
        try:
            return reader.read(self.clickstream)
        finally:
            reader.close()


@pytest.fixture
def desk(kafka_topics: Callable[..., Any]) -> Desk:
    """Write seven letters: one undecodable, six without an item."""
    return Desk(kafka_topics(partitions=2), 7)


def test_letters_are_counted_and_shown(desk: Desk) -> None:
    """The list counts by reason; a letter is found by its place or by its input's, and nothing of it is raw."""
    reasons = {one["reason"]: one for one in desk.json("list")["reasons"]}
    assert {reason: one["count"] for reason, one in reasons.items()} == {"missing_item": 6, "undecodable": 1}
    assert [one["count"] for one in desk.json("list", "--reason", "undecodable")["reasons"]] == [1]
    cut = desk.run("list", "--limit", "3", "--since", "1h", "--json")
    assert sum(one["count"] for one in json.loads(cut.stdout)["reasons"]) == 3
    assert "4 older letters were not looked at" in cut.stderr
    by_place = desk.json("show", reasons["undecodable"]["latest"])
    assert by_place == desk.json("show", f"{desk.clickstream}-0-0")
    assert (by_place["key"], by_place["headers"]) == ("v0", [{"name": "trace", "value": "0"}])
    for arguments in (("list",), ("show", f"{desk.clickstream}-0-0")):
        shown = desk.run(*arguments)
        assert shown.exit_code == 0, shown.output
        assert "\x1b" not in shown.stdout


def test_a_replay_sends_what_it_told_and_only_once(desk: Desk) -> None:
    """Without --yes nothing moves; with it each input is as it was, under a header; the next run leaves them alone."""
    choice = ("replay", "--reason", "missing_item")
    plan = {"planned": 6, "by_topic": {desk.clickstream: 6}, "sent": 0, "left": {}, "is_carried_out": False}
    assert desk.json(*choice) == plan
    assert f"to {desk.clickstream}  6" in desk.run(*choice).stdout
    assert desk.clicks() == []
    assert desk.json(*choice, "--yes")["sent"] == 6
    clicks = desk.clicks()
    assert {(click.key, click.value) for click in clicks} == {(b"v%d" % number, VALUE) for number in range(1, 7)}
    assert all([name for name, _ in click.headers] == ["trace", REPLAY_HEADER] for click in clicks)
    assert desk.json(*choice, "--yes") == {
        "planned": 0,
        "by_topic": {},
        "sent": 0,
        "left": {"replayed_before": 6},
        "is_carried_out": True,
    }
    assert desk.json(*choice, "--yes", "--again")["sent"] == 6
    assert len(desk.clicks()) == 12


def test_a_replay_needs_a_choice(desk: Desk) -> None:
    """All letters of all time are never sent by accident."""
    refused = desk.run("replay", "--yes")
    assert "say which letters" in str(refused.exception)
    assert desk.clicks() == []


def test_a_letter_that_is_not_there_is_one_line(desk: Desk) -> None:
    """The message says how to find those that are."""
    assert "insession dlq list" in str(desk.run("show", "0:99").exception)


def test_a_partition_that_is_not_there_is_one_line(desk: Desk) -> None:
    """A wrong number is told, not taken for a partition without letters."""
    refused = desk.run("replay", "--offsets", "2:0-5", "--yes")
    assert isinstance(refused.exception, UsageError)
    assert "has no partition 2: they are 0 to 1" in str(refused.exception)
