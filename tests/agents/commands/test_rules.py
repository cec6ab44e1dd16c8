"""`insession rules` on the embedded broker."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from confluent_kafka import Producer

from agents.commands.rules import command
from schemas.errors import InsessionError, UsageError
from streams.cluster.producers import producer_config
from streams.cluster.topics import Topic
from streams.local.embedded_broker import EmbeddedBroker

PIN = {"rule_id": "spring", "action": "pin", "items": ["oak"], "position": 1, "where": ["nl"], "note": "campaign"}
BLOCK = {"rule_id": "no-tv", "action": "block", "items": ["tv"], "author": "ben"}


@pytest.fixture
def brokers() -> Iterator[str]:
    """Run a broker that has the topics."""
    with EmbeddedBroker() as broker:
        producer = Producer({"bootstrap.servers": broker.address})
        for topic in (Topic.MERCHANT_RULES, Topic.CATALOG):
            producer.list_topics(topic, timeout=10)
        yield broker.address


def run(brokers: str, *arguments: str, rules: Any = None) -> Result:
    """Run a subcommand with rules at its standard input; raises what it raises."""
    text = None if rules is None else json.dumps(rules)
    return CliRunner().invoke(command, [*arguments, "--brokers", brokers], input=text, catch_exceptions=False)


def listed(brokers: str, *arguments: str) -> Any:
    """Read what `list --json` tells."""
    return json.loads(run(brokers, "list", "--json", *arguments).stdout)


def write(brokers: str, topic: Topic, key: str, value: bytes | None) -> None:
    """Write a record as another program."""
    producer = Producer(producer_config({"bootstrap.servers": brokers}, client_id="test"))
    producer.produce(topic, key=key.encode(), value=value)
    assert producer.flush(10) == 0


def test_what_is_put_is_listed_until_it_is_removed(brokers: str) -> None:
    """With its state, and who put it."""
    told = run(brokers, "put", "-", "--by", "ann", "--json", rules=[PIN, BLOCK])
    assert json.loads(told.stdout) == {"put": ["spring", "no-tv"], "warnings": []}
    rules = {rule["rule_id"]: rule for rule in listed(brokers)["rules"]}
    assert [*rules] == ["no-tv", "spring"]
    assert rules["spring"].items() >= {**PIN, "author": "ann", "state": "in_force"}.items()
    assert rules["no-tv"]["author"] == "ben"
    assert "spring" in run(brokers, "list").stdout
    assert run(brokers, "remove", "spring").stdout == "removed  spring\n"
    assert [rule["rule_id"] for rule in listed(brokers)["rules"]] == ["no-tv"]
    run(brokers, "remove", "no-tv")
    assert "there are no rules" in run(brokers, "list").stdout


def test_every_change_is_in_the_audit(brokers: str) -> None:
    """Who put and who removed, and what another program wrote that is none."""
    run(brokers, "put", "-", "--by", "ann", rules=PIN)
    run(brokers, "put", "-", "--by", "ben", rules={**PIN, "position": 2})
    run(brokers, "remove", "spring", "--by", "cas")
    write(brokers, Topic.MERCHANT_RULES, "odd", b"{")
    changes = listed(brokers, "--audit")["changes"]
    told = [(one["rule_id"], one["change"], one.get("author") or one.get("rule", {}).get("author")) for one in changes]
    assert told == [
        ("spring", "put", "ann"),
        ("spring", "put", "ben"),
        ("spring", "removed", "cas"),
        ("odd", "refused", None),
    ]
    assert "refused" in run(brokers, "list", "--audit").stdout


def test_a_refused_record_is_shown_beside_the_good_one_that_stays(brokers: str) -> None:
    """As workers hold it."""
    run(brokers, "put", "-", rules=BLOCK)
    write(brokers, Topic.MERCHANT_RULES, "no-tv", b'{"rule_id": "no-tv", "action": "hide"}')
    write(brokers, Topic.MERCHANT_RULES, "odd", b"{")
    kept, odd = listed(brokers)["rules"]
    assert (kept["state"], kept["items"], kept["refused"]["reason"]) == ("in_force", ["tv"], "invalid_rule")
    assert (odd["state"], odd["refused"]["reason"]) == ("refused", "undecodable")
    run(brokers, "remove", "odd")
    assert len(listed(brokers)["rules"]) == 1


def test_windows_are_told(brokers: str) -> None:
    """What is not in force yet, and what is over."""
    upcoming = {**BLOCK, "rule_id": "a", "starts_at": "2999-01-01T00:00:00Z"}
    over = {**BLOCK, "rule_id": "b", "ends_at": "2001-01-01T00:00:00Z"}
    run(brokers, "put", "-", "--unchecked", rules=[upcoming, over])
    assert [rule["state"] for rule in listed(brokers)["rules"]] == ["upcoming", "over"]


def test_items_are_held_against_the_catalog_topic_or_a_file(brokers: str, tmp_path: Path) -> None:
    """An unknown one is wrong usage and nothing is put, but for --unchecked."""
    write(brokers, Topic.CATALOG, "tv", b'{"item_id": "tv"}')
    run(brokers, "put", "-", rules=BLOCK)
    with pytest.raises(UsageError, match="nothing was put") as told:
        run(brokers, "put", "-", rules=[BLOCK, PIN])
    assert "the catalog does not know 'oak'" in str(told.value)
    (tmp_path / "catalog.jsonl").write_text('{"item_id": "oak"}\n')
    run(brokers, "put", "-", "--catalog", str(tmp_path / "catalog.jsonl"), rules=PIN)
    told_unchecked = run(brokers, "put", "-", "--unchecked", rules={**PIN, "rule_id": "c", "priority": 1})
    assert "unchecked: c: the catalog does not know 'oak'" in told_unchecked.stderr
    assert [rule["rule_id"] for rule in listed(brokers)["rules"]] == ["c", "no-tv", "spring"]


def test_a_pin_is_held_against_those_that_are_there(brokers: str) -> None:
    """Also one that somebody else has put."""
    run(brokers, "put", "-", rules=PIN)
    with pytest.raises(UsageError, match="both pin position 1"):
        run(brokers, "put", "-", rules={**PIN, "rule_id": "summer"})
    run(brokers, "put", "-", rules={**PIN, "rule_id": "summer", "priority": 5})


def test_what_is_not_there_cannot_be_removed(brokers: str) -> None:
    """Then none is removed."""
    run(brokers, "put", "-", rules=BLOCK)
    with pytest.raises(UsageError, match="there is no rule nothing"):
        run(brokers, "remove", "no-tv", "nothing")
    assert len(listed(brokers)["rules"]) == 1


def test_brokers_that_do_not_answer_are_told() -> None:
    """Not a traceback; the job failed, so it is no wrong usage."""
    with pytest.raises(InsessionError) as told:
        run("127.0.0.1:1", "list")
    assert not isinstance(told.value, UsageError)
