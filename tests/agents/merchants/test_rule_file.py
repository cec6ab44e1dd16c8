import json
from pathlib import Path

import pytest

from agents.merchants.rule_file import read_rule_file, rules_in
from schemas.errors import UsageError

BLOCK = {"rule_id": "b", "action": "block", "items": ["i"]}
PIN = {"rule_id": "p", "action": "pin", "items": ["i"], "position": 1}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps([BLOCK, PIN], indent=2),
        json.dumps(BLOCK) + "\n\n" + json.dumps(PIN) + "\n",
    ],
)
def test_a_file_holds_a_list_of_rules_or_one_a_line(text: str, tmp_path: Path) -> None:
    """As people write them, and as they lie on the topic."""
    (tmp_path / "rules").write_text(text)
    assert [rule.rule_id for rule in read_rule_file(tmp_path / "rules")] == ["b", "p"]


def test_a_file_may_hold_one_rule_over_several_lines() -> None:
    """The plainest case."""
    assert [rule.rule_id for rule in rules_in(json.dumps(PIN, indent=2).encode(), "f")] == ["p"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "has 0 rules"),
        (b"[]", "has 0 rules"),
        (b'{\n"rule_id": "b",\n}', "f is no JSON (JSON is malformed: trailing comma in object (byte 18))"),
        (b"\xff", "f is no JSON"),
        (b'{"rule_id": "b"}\n{', "line 2 is no JSON"),
        (b'["b"]', "rule 1: no JSON object with a rule_id"),
        (
            json.dumps([BLOCK, {**BLOCK, "rule_id": "c", "action": "hide"}]).encode(),
            "rule 2: rule 'c': Invalid enum value 'hide' - at `$.action`; give one of pin, boost, bury, block, include",
        ),
        (json.dumps({**PIN, "position": 0}).encode(), "rule 1: rule 'p'"),
        (json.dumps([BLOCK, BLOCK]).encode(), "2 rules are called 'b'"),
        (json.dumps({**BLOCK, "items": ["i" * 300] * 900}).encode(), "at most 262,144"),
        (json.dumps({**BLOCK, "rule_id": "\ud800"}).encode(), "f is no JSON"),
    ],
)
def test_what_is_no_rule_is_named_with_its_place(content: bytes, said: str) -> None:
    """Wrong usage, and nothing of the file is taken."""
    with pytest.raises(UsageError, match=r"^f") as told:
        rules_in(content, "f")
    assert said in str(told.value)


def test_all_that_is_wrong_is_told_at_once() -> None:
    """Nobody mends a file one rule at a time."""
    with pytest.raises(UsageError) as told:
        rules_in(json.dumps([{**BLOCK, "items": []}, {**PIN, "factor": 2.0}]).encode(), "f")
    assert [line.partition(":")[0] for line in str(told.value).splitlines()] == ["f, rule 1", "f, rule 2"]
