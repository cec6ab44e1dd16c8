import json
import tomllib
from collections.abc import Iterator

import pytest
from click.testing import CliRunner
from confluent_kafka import Producer

from agents.commands import doctor
from agents.commands.doctor import command
from agents.doctor.findings import Finding, error, ok, unchecked, warning
from schemas.errors import InsessionError, UsageError
from streams.embedded_broker import EmbeddedBroker
from streams.sender import Sender
from streams.window import OutputRecord


@pytest.fixture(scope="module")
def brokers() -> Iterator[str]:
    """Share an embedded broker with a shop's topic and an empty one, which it makes when it is asked for."""
    with EmbeddedBroker() as broker:
        Producer({"bootstrap.servers": broker.address}).list_topics("empty", timeout=10)
        sender = Sender({"bootstrap.servers": broker.address}, client_id="test")
        for number in range(40):
            event = {"userId": f"u{number % 5}", "action": "order", "ts": 1_700_000_000 + number, "sku": "s"}
            sender.send(OutputRecord("shop", event["userId"].encode(), json.dumps(event).encode()))  # type: ignore[attr-defined]
        for number in range(40):
            item = {"sku": f"s{number}", "inventory": {"quantity": number % 4}, "name": "Shoe"}
            sender.send(OutputRecord("items", item["sku"].encode(), json.dumps(item).encode()))  # type: ignore[attr-defined]
        sender.flush()
        yield broker.address


def test_a_sample_becomes_a_settings_section(brokers: str) -> None:
    """What is printed is TOML alone, so that it can be redirected into a file; --json tells the same."""
    arguments = ["--brokers", brokers, "--sample", "shop"]
    mapping = tomllib.loads(CliRunner().invoke(command, arguments).stdout)["clickstream"]["mapping"]
    assert mapping["paths"] == {"visitor_id": "userId", "event_type": "action", "event_time": "ts", "item_id": "sku"}
    told = json.loads(CliRunner().invoke(command, [*arguments, "--json", "--records", "30"]).stdout)
    assert told["mapping"] == mapping
    assert (told["sampled"], told["readable"], told["keyed"]) == (30, 30, 30)


def test_a_sample_of_items_becomes_a_settings_section(brokers: str) -> None:
    """The same for the catalog's topic, where it is said that it is one."""
    arguments = ["--brokers", brokers, "--sample", "items", "--catalog"]
    mapping = tomllib.loads(CliRunner().invoke(command, arguments).stdout)["catalog"]["mapping"]
    assert mapping["paths"] == {"item_id": "sku", "available": "inventory.quantity", "title": "name"}
    told = json.loads(CliRunner().invoke(command, [*arguments, "--json"]).stdout)
    assert told["mapping"] == mapping
    assert (told["sampled"], told["readable"], told["available"]) == (40, 40, 30)


def test_a_catalog_is_proposed_for_a_sample_only() -> None:
    """Otherwise the option would be without a meaning, in silence."""
    result = CliRunner().invoke(command, ["--catalog"])
    assert isinstance(result.exception, UsageError)


def test_an_empty_topic_has_nothing_to_sample(brokers: str) -> None:
    """The message says what to do."""
    result = CliRunner().invoke(command, ["--brokers", brokers, "--sample", "empty"])
    assert isinstance(result.exception, InsessionError)
    assert "holds no record" in str(result.exception)


@pytest.mark.parametrize(
    ("findings", "code"),
    [
        ([ok("a", "well")], 0),
        ([ok("a", "well"), warning("b", "soon", "do"), unchecked("c", "why")], 0),
        ([error("a", "broken\x1b[31m", "mend [bold]it[/bold]"), ok("b", "well")], 1),
    ],
)
def test_only_an_error_is_a_failure(findings: list[Finding], code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table and the JSON hold every finding; what others wrote is neither markup nor escape."""
    monkeypatch.setattr(doctor, "_findings", lambda *_: findings)
    shown = CliRunner().invoke(command, [])
    assert shown.exit_code == code
    assert all(one.check in shown.stdout for one in findings)
    assert "\x1b[31m" not in shown.stdout
    assert ("[bold]it[/bold]" in shown.stdout) is (code == 1)
    told = CliRunner().invoke(command, ["--json"])
    assert told.exit_code == code
    assert [one["level"] for one in json.loads(told.stdout)["findings"]] == [one.level for one in findings]


def test_each_wrong_setting_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else is examined with settings that are wrong."""
    monkeypatch.setenv("INSESSION_KAFKA__WEB_PORT", "x")
    monkeypatch.setenv("INSESSION_KAFKA__BROKRS", "x")
    result = CliRunner().invoke(command, ["--json"])
    found = json.loads(result.stdout)["findings"]
    assert result.exit_code == 1
    assert [one["check"] for one in found] == ["settings"] * 2
    assert {name in "".join(one["message"] for one in found) for name in ("WEB_PORT", "BROKRS")} == {True}
