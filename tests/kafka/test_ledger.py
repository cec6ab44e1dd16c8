"""`insession ledger` on a real broker: after a worker that was killed nothing is lost, and what is made so is found."""

import json
import signal
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from click.testing import CliRunner, Result

from agents.cli import insession
from schemas.errors import InsessionError, UsageError
from schemas.state import InputPosition
from schemas.validation import Rejection
from streams.cluster.topics import Topic
from streams.delivery.dead_letters import dead_letter
from streams.records import InputRecord, OutputRecord
from streams.tools.sender import Sender
from tests.kafka.deployment import NO_TICKS, Deploy, NewRecord, Say

pytestmark = pytest.mark.kafka

VISITORS = [f"v{number}" for number in range(80)]
LINES = 12
MAPPING = {"INSESSION_CLICKSTREAM__MAPPING__PATHS__ITEM_ID": "lines[].sku"}
SETTINGS = {**NO_TICKS, **MAPPING, "INSESSION_SESSIONS__BOT_BURST_EVENTS": "6"}
COUNTS = ("inputs", "answered", "ignored", "dead_lettered", "lost", "twice")


def event(visitor: str, event_type: str, time_ms: int, *items: str) -> dict[str, Any]:
    """Make an event with a line for each item; a line costs as much as the item's number."""
    lines = [{"sku": item, "price": float(item[1:])} for item in items]
    return {"visitor_id": visitor, "event_type": event_type, "event_time": time_ms, "lines": lines}


def record(visitor: str, content: object) -> NewRecord:
    """Make the record of a visitor."""
    return NewRecord(visitor.encode(), json.dumps(content).encode())


def ledger(brokers: str, prefix: str, *arguments: str) -> Result:
    """Run `insession ledger` on the topics of a prefix."""
    connection = ["--brokers", brokers, "--prefix", prefix]
    return CliRunner().invoke(insession, ["ledger", *connection, *arguments])


def last_records(visitor: str, time_ms: int) -> list[NewRecord]:
    """Make what is not for us, a batch, an order of many lines, what cannot be used, and the session's end."""
    order = event(visitor, "purchase", time_ms + 20, *(f"i{number}" for number in range(LINES)))
    batch = [event(visitor, kind, time_ms + place, "i7") for place, kind in enumerate(["view", "page", "favorite"])]
    return [
        record(visitor, event(visitor, "page", time_ms)),
        NewRecord(visitor.encode(), None),
        record(visitor, batch),
        record(visitor, []),
        record(visitor, order),
        record(visitor, {"visitor_id": visitor, "event_type": "view"}),
        record(visitor, event(visitor, "session_end", time_ms + 30)),
    ]


def test_an_order_is_one_record_with_an_outcome_a_line_and_nothing_is_lost_by_a_kill(
    deploy: Deploy, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages, tombstones and batches between leave no output; state and session ends are the undisturbed run's."""
    deployment = deploy(partitions=2, **SETTINGS)
    start_ms = time.time_ns() // 1_000_000
    first = deployment.worker()
    for number in range(2):
        views = [record(visitor, event(visitor, "view", start_ms + number, f"i{number}")) for visitor in VISITORS]
        deployment.write(Topic.CLICKSTREAM, views)
        deployment.wait_until_committed(first)
    parts = [last_records(visitor, start_ms + 10) for visitor in VISITORS]
    deployment.write(Topic.CLICKSTREAM, [one for records in parts for one in records])
    first.wait_until(lambda: first.metric("insession_events_total") > 2 * len(VISITORS) + 10, "it answered some")
    assert first.end(signal.SIGKILL) == -signal.SIGKILL
    second = deployment.worker()
    second.wait_until_ready()  # the first may have committed all
    deployment.wait_until_committed(second)
    assert second.end(signal.SIGTERM) == 0
    books = deployment.ledger()
    findings = books.check()
    say(findings)
    findings.assert_clean()
    (orders, ends) = ({outcome.id: outcome for outcome in books.outcomes() if outcome.action == "purchase"}, {})
    for end in books.session_ends():
        assert ends.setdefault(end.id, end) == end
    lines = {f"i{number}": float(number) for number in range(LINES)}
    assert len(ends) == len(VISITORS)
    for end in ends.values():
        assert {item: price for kind, _, item, price in map(_fields, end.events) if kind == "purchase"} == lines
        assert (end.event_count, end.is_bot, end.end_reason) == (4 + LINES, False, "session_end_event")
    firsts = {outcome_id for outcome_id in orders if outcome_id in {answer.id for answer in books.recommendations}}
    assert len(VISITORS) - findings.replayed <= len(firsts) <= len(VISITORS)  # of a replayed order there may be none
    assert set(orders) == firsts | {f"{first}-{line}" for first in firsts for line in range(1, LINES)}
    for name, value in MAPPING.items():
        monkeypatch.setenv(name, value)
    counted = ledger(deployment.settings.kafka.brokers, deployment.settings.topics.prefix, "--json")
    assert counted.exit_code == 0, counted.output
    counts = json.loads(counted.stdout)
    visitors = len(VISITORS)
    expected = {"inputs": 9 * visitors, "answered": 5 * visitors, "ignored": 3 * visitors, "dead_lettered": visitors}
    assert {name: counts[name] for name in expected} == expected
    assert (counts["lost"], counts["pending"], counts["unreadable_outputs"]) == (0, 0, 0)
    assert counts["twice"] == findings.duplicates
    assert counts["ignored_by_reason"] == dict.fromkeys(("event_type", "tombstone", "empty"), visitors)


def _fields(one: Any) -> tuple[str, int, str | None, float | None]:
    return one.event_type, one.time_ms, one.item_id, one.price


def test_what_is_lost_or_twice_is_found(kafka_topics: Callable[..., Any]) -> None:
    """Of seven clicks one has two answers, one an answer and a dead letter, one a dead letter, and two have nothing."""
    topics = kafka_topics(partitions=2)
    topics.create()
    names = {topic: topics.settings.name(topic) for topic in Topic}
    sender = Sender({"bootstrap.servers": topics.brokers}, client_id="test")
    clickstream, now_ms = names[Topic.CLICKSTREAM], time.time_ns() // 1_000_000
    for number in range(8):
        click = {"visitor_id": "v", "event_type": "page" if number == 7 else "view", "event_time": now_ms}
        value = json.dumps(click | {"item_id": f"i{number}"}).encode()
        sender.send(OutputRecord(clickstream, b"v", value, [], partition=1))
    for offset in (0, 1, 1, 2, 3):
        answer = json.dumps({"id": f"{clickstream}-1-{offset}"}).encode()
        sender.send(OutputRecord(names[Topic.RECOMMENDATIONS], b"v", answer, [], partition=1))
    sender.send(OutputRecord(names[Topic.RECOMMENDATIONS], b"v", b"not ours", [], partition=1))
    for offset in (2, 4):
        origin = InputRecord(InputPosition(clickstream, 1, offset), b"v", b"{}", now_ms)
        sender.send(dead_letter(origin, Rejection("undecodable", "no"), names[Topic.DEAD_LETTERS]))
    sender.flush()
    run = partial(ledger, topics.brokers, topics.settings.prefix)
    found = run("--to-end", "--json")
    counts = json.loads(found.stdout)
    assert {name: counts[name] for name in COUNTS} == {
        "inputs": 8,
        "answered": 4,
        "ignored": 1,
        "dead_lettered": 1,
        "lost": 2,
        "twice": 2,
    }
    assert (counts["answered_and_dead_lettered"], counts["unreadable_outputs"]) == (1, 1)
    assert counts["first_lost"] == [f"{clickstream}-1-5", f"{clickstream}-1-6"]
    assert counts["topics"][clickstream]["0"]["inputs"] == 0
    assert isinstance(found.exception, InsessionError)
    assert f"2 inputs owe a record and have none, the first ones: {clickstream}-1-5" in str(found.exception)
    assert "dead-lettered" in run("--to-end").stdout
    cut = run("--to-end", "--limit", "2", "--json")
    assert [json.loads(cut.stdout)[name] for name in ("inputs", "lost", "older")] == [2, 1, 6]
    owed = run("--json")
    assert owed.exit_code == 0, owed.output
    assert [json.loads(owed.stdout)[name] for name in ("inputs", "lost", "pending")] == [0, 0, 8]
    refused = run("--partition", "2")
    assert isinstance(refused.exception, UsageError)
    assert "has no partition 2: they are 0 to 1" in str(refused.exception)
