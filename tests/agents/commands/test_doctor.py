import json
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from confluent_kafka import Producer

from agents.commands import doctor
from agents.commands.doctor import command
from agents.doctor.findings import Finding, error, ok, unchecked, warning
from agents.settings import load_settings
from schemas.errors import InsessionError, UsageError
from streams.local.embedded_broker import EmbeddedBroker
from streams.records import OutputRecord
from streams.tools.sender import Sender


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
    assert told["proposal"] | {"format": "insession"} == mapping
    assert (told["records"], told["readable"], told["ignored"], told["keyed"]) == (30, 30, 0, 30)
    assert told["interactions"] == {"purchase": 30}
    assert told["seen"] == {"encoding": "json", "framing": None, "schema_id": None}


VIEW = {"userId": "u", "action": "detail", "ts": 1_700_000_000, "sku": "s"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Write a shop's events, one a line: a view, an order, a page and what is no JSON."""
    lines = [json.dumps(VIEW | {"action": action}) for action in ("detail", "order", "scroll")]
    path = tmp_path / "events.jsonl"
    path.write_text("\n".join([*lines, "\x1b[31m"]))
    return path


def test_a_sample_may_be_a_file_whose_keys_are_unknown(file: Path) -> None:
    """No broker is asked, and nothing is said of keys."""
    told = json.loads(CliRunner().invoke(command, ["--sample", str(file), "--json"]).stdout)
    assert (told["records"], told["readable"], told["ignored"]) == (4, 2, 1)
    assert told["interactions"] == {"view": 1, "purchase": 1}
    assert told["not_readable"] == {"undecodable": 1}
    assert "keyed" not in told


def test_the_proposal_becomes_a_file_that_is_not_there_yet(file: Path, tmp_path: Path) -> None:
    """The file is settings as they are; one that is there is kept."""
    target = tmp_path / "new" / "mapping.toml"
    arguments = ["--sample", str(file), "--write", str(target)]
    assert CliRunner().invoke(command, arguments).stdout == ""
    assert load_settings(file=target, environment={}).clickstream.mapping.paths["visitor_id"] == "userId"
    written = target.read_bytes()
    refused = CliRunner().invoke(command, arguments)
    assert isinstance(refused.exception, UsageError)
    assert f"{len(written):,} bytes" in str(refused.exception)
    assert target.read_bytes() == written


def test_try_shows_records_beside_what_they_become(file: Path, tmp_path: Path) -> None:
    """The mapping of the settings is tried where they state one, and nothing reaches the terminal as it is."""
    tried = CliRunner().invoke(command, ["--sample", str(file), "--try"], env={"COLUMNS": "200"}).stdout
    assert all(
        word in tried for word in ("view s by u", "purchase s by u", "ignored, event_type", "refused, undecodable")
    )
    assert "\x1b[31m" not in tried
    config = tmp_path / "own.toml"
    config.write_text('[clickstream.mapping.paths]\nvisitor_id = "sku"\nevent_type = "action"\nevent_time = "ts"\n')
    arguments = ["--sample", str(file), "--try", "--json", "--config", str(config)]
    told = json.loads(CliRunner().invoke(command, arguments).stdout)
    assert [one["becomes"][0].split(",")[0] for one in told["tried"]] == ["ignored"] * 3 + ["refused"]
    assert "userId" in told["tried"][0]["value"]


@pytest.mark.parametrize("arguments", [["--try"], ["--write", "mapping.toml"], ["--sample", "no/such.jsonl"]])
def test_options_that_do_not_fit_are_wrong_usage(arguments: list[str]) -> None:
    """The message says what is missing."""
    assert isinstance(CliRunner().invoke(command, arguments).exception, UsageError)


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
