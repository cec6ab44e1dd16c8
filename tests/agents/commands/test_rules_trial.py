"""`insession rules test`, without a release: lists rest on what the log says is popular."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from agents.commands.rules import command
from schemas.errors import UsageError
from tests.serving.rules.builders import DAY_MS

START_MS = 1_772_323_200_000
"""The first of March 2026."""


class Shop:
    """Files of a shop in which ten visitors go from item to item, `a` to `e`, the earlier ones more often."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write(
            "catalog.jsonl", [{"item_id": item, "category": "top" if item < "c" else "rest"} for item in "abcdex"]
        )
        clicks = [
            {"visitor_id": f"v{visitor}", "event_type": "view", "event_time": START_MS + 60_000 * visitor + 1000 * step}
            | {"item_id": item, "location": "nl/ams"}
            for visitor in range(10)
            for step, item in enumerate("abcde"[: 5 - visitor // 2])
        ]
        self.write("clicks.jsonl", clicks)

    def write(self, name: str, records: list[dict[str, Any]]) -> Path:
        """Write JSON lines."""
        path = self.folder / name
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
        return path

    def test(self, rules: list[dict[str, Any]], *arguments: str) -> dict[str, Any]:
        """Run the command with the catalog; gives what it says for machines."""
        return json.loads(self.run(rules, *arguments, "--json"))

    def run(self, rules: list[dict[str, Any]], *arguments: str) -> str:
        """Run the command; gives standard output."""
        catalog = ["--catalog", str(self.folder / "catalog.jsonl")]
        file = str(self.write("rules.jsonl", rules))
        told = CliRunner().invoke(command, ["test", file, *catalog, *arguments], catch_exceptions=False)
        assert told.exit_code == 0
        return told.stdout

    @property
    def log(self) -> list[str]:
        """Return the options that name the log."""
        return ["--log", str(self.folder / "clicks.jsonl"), "--format", "jsonl"]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """Return a shop."""
    return Shop(tmp_path)


def ids(items: list[dict[str, Any]]) -> str:
    """Join items."""
    return "".join(item["item_id"] for item in items)


PIN = {"rule_id": "pin", "action": "pin", "items": ["x"], "position": 1, "where": ["nl"]}
BLOCK = {"rule_id": "block", "action": "block", "category": "top"}


def test_a_list_is_shown_before_and_after(shop: Shop) -> None:
    """At a place and a time, with what each rule did; without a log from the catalog alone."""
    told = shop.test([PIN, BLOCK], "--where", "nl/ams", "--at", "2026-03-01T12:00Z")
    assert (ids(told["before"]), ids(told["after"])) == ("abcdex", "xcde")
    assert told["after"][0] == {"item_id": "x", "score": 0.0, "rule": "pin", "source": "rule"}
    assert told["applied"] == {"block": 1, "pin": 1}
    assert (told["hidden"], told["not_in_force"], told["hit_rate_lost"]) == ({}, [], None)
    assert (told["tier"], told["where"], told["at"]) == ("default", "nl/ams", "2026-03-01T12:00:00Z")
    elsewhere = shop.test([PIN, BLOCK], "--where", "be")
    assert (ids(elsewhere["after"]), elsewhere["not_in_force"]) == ("cdex", ["pin"])


def test_a_rule_that_another_hides_is_named_with_it(shop: Shop) -> None:
    """So is one that is of another time."""
    rules = [
        PIN,
        {**PIN, "rule_id": "wide", "where": []},
        {"rule_id": "boost", "action": "boost", "items": ["a"], "factor": 3.0},
        BLOCK,
        {**BLOCK, "rule_id": "later", "starts_at": "2999-01-01T00:00:00Z"},
    ]
    told = shop.test(rules, "--where", "nl/ams")
    assert told["hidden"] == {"boost": "block", "wide": "pin"}
    assert told["not_in_force"] == ["later"]


def test_rules_that_empty_a_list_are_in_force(shop: Shop) -> None:
    """Though there is no list that says so."""
    everything = {"rule_id": "all-out", "action": "block", "items": list("abcdex")}
    told = shop.test([everything, {**BLOCK, "starts_at": "2999-01-01T00:00:00Z"}])
    assert (told["after"], told["applied"], told["not_in_force"]) == ([], {"all-out": 1}, ["block"])


def test_a_log_says_what_rules_cost(shop: Shop) -> None:
    """The share of next items among the first 20, without and with them, and the answers that each changed."""
    told = shop.test([BLOCK], *shop.log, "--where", "nl/ams")
    assert told["targets"] > 0
    assert told["hit_rate_lost"] == pytest.approx(told["hit_rate_before"] - told["hit_rate_after"])
    assert told["hit_rate_lost"] > 0
    assert 0 < told["applied"]["block"] <= told["answers"]
    assert ids(told["before"]).startswith("ab")
    assert not set(ids(told["after"])) & set("ab")


def test_a_rule_costs_what_its_window_covers(shop: Shop) -> None:
    """By the time of the events, not of today."""
    over = {**BLOCK, "ends_at": "2026-03-01T00:00:00Z"}
    told = shop.test([over], *shop.log)
    assert (told["applied"], told["hit_rate_lost"]) == ({}, 0.0)


def test_the_list_may_be_of_a_session_on_a_device_in_an_arm(shop: Shop) -> None:
    """What a rule names as a condition can be said."""
    condition = {"device": "phone", "arm": "b", "pattern": "exploring"}
    rules = [{**BLOCK, **condition}]
    options = ["--device", "phone", "--arm", "b"]
    viewed = [word for item in "abcd" for word in ("--viewed", item)]
    assert shop.test(rules, *options)["not_in_force"] == ["block"]
    assert shop.test(rules, *options, *viewed)["applied"] == {"block": 1}


def test_what_is_on_sale_or_new_is_so_at_that_time(shop: Shop) -> None:
    """As the catalog says."""
    shop.write(
        "catalog.jsonl",
        [
            {"item_id": "a", "sale": {"price": 1.0, "ends_at": START_MS + DAY_MS, "locations": ["nl"]}},
            {"item_id": "b", "available_from": START_MS},
            {"item_id": "c"},
        ],
    )
    rules = [
        {"rule_id": "sale", "action": "bury", "on_sale": True, "factor": 0.1},
        {"rule_id": "new", "action": "block", "new_days": 2},
    ]
    for where, at, after in (
        ("nl/ams", "2026-03-01T12:00Z", "ca"),
        ("be", "2026-03-01T12:00Z", "ac"),
        ("nl/ams", "2026-03-02T12:00Z", "ac"),
        ("nl/ams", "2026-03-04T12:00Z", "abc"),
    ):
        assert ids(shop.test(rules, "--where", where, "--at", at)["after"]) == after


def test_people_get_tables(shop: Shop) -> None:
    """The list, what each rule did, and the cost."""
    told = shop.run([PIN, BLOCK], *shop.log, "--where", "nl/ams")
    for words in ("before", "after", "changed it", "hit rate on the log"):
        assert words in told


def test_a_file_that_holds_no_rule_is_wrong_usage(shop: Shop) -> None:
    """Before anything is read or replayed."""
    with pytest.raises(UsageError, match="give one of them"):
        shop.run([{"rule_id": "r", "action": "block"}])


def test_what_put_would_refuse_is_tried_and_said(shop: Shop) -> None:
    """An item that nobody knows, a window in the past, two pins of one position, too many pins."""
    over = {**BLOCK, "ends_at": "2020-01-01T00:00:00Z"}
    other = {**PIN, "rule_id": "other", "items": ["sofa"]}
    many = [{**PIN, "rule_id": f"pin{place}", "position": place} for place in range(2, 6)]
    told = shop.test([over, PIN, other, *many], "--at", "2026-03-01T12:00Z")["warnings"]
    assert [warning.removeprefix("`insession rules put` would refuse ") for warning in told] == [
        "block: ends_at 2020-01-01 00:00:00+00:00 is past",
        "other: the catalog does not know 'sofa'",
        "pin and other both pin position 1 at one place and time: end one, or give them different priorities",
        "5 of 20 positions are pinned at 'nl': little of a list is the shopper's own",
    ]
    assert shop.test([PIN])["warnings"] == []


def test_a_list_of_nothing_says_what_to_give(tmp_path: Path) -> None:
    """Also to who reads only JSON."""
    (tmp_path / "rules.json").write_text(json.dumps(PIN))
    told = CliRunner().invoke(command, ["test", str(tmp_path / "rules.json"), "--json"], catch_exceptions=False)
    (warning,) = json.loads(told.stdout)["warnings"]
    assert warning == "without rules the list is empty: nothing is known to list; give --log, --models or --catalog"
    assert told.stderr == f"warning: {warning}\n"
