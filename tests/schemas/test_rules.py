from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import wire
from schemas.ids import ItemId, RuleId
from schemas.rules import MAX_RULE_BYTES, MAX_RULE_ITEMS, MerchantRule, RemovedRule, UnreadableRule, read_rule

NOW = datetime(2026, 3, 1, tzinfo=UTC)
PIN = {"rule_id": "r", "action": "pin", "items": ["i1"], "position": 1}
BOOST = {"rule_id": "r", "action": "boost", "category": "food", "factor": 2.0}
BLOCK = {"rule_id": "r", "action": "block", "items": ["i1"]}


def read(value: Any, key: bytes = b"r") -> Any:
    """Read a record whose value is JSON of `value`."""
    return read_rule(key, msgspec.json.encode(value))


@pytest.mark.parametrize(
    "rule",
    [
        PIN,
        BOOST,
        BLOCK,
        BOOST | {"action": "bury", "factor": 0.5},
        {"rule_id": "r", "action": "include", "on_sale": True, "where": ["nl/nh"], "tiers": ["popular", "default"]},
        {"rule_id": "r", "action": "block", "new_days": 30, "device": "phone", "pattern": "focused", "arm": "b"},
        BLOCK | {"starts_at": "2026-03-01T00:00:00+01:00", "ends_at": "2026-03-01T00:00:00Z", "priority": -3},
        PIN | {"variant_group": None, "author": "ann", "note": "spring"},
    ],
)
def test_a_rule_is_read_and_written_as_it_stands(rule: dict[str, Any]) -> None:
    """What is put on the topic is what a worker reads, without the fields that say nothing."""
    found = read(rule)
    assert isinstance(found, MerchantRule), found
    again = msgspec.json.decode(wire.encode(found))
    assert read(again) == found
    assert set(again) == {name for name, value in rule.items() if value is not None}


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"rule_id": "r", "action": "block"}, "give one of them, found none"),
        (BLOCK | {"category": "food"}, "give one of them, found items, category"),
        (BLOCK | {"items": []}, "items"),
        (BLOCK | {"items": [f"i{n}" for n in range(MAX_RULE_ITEMS + 1)]}, "items"),
        (BLOCK | {"on_sale": True}, "found items, on_sale"),
        (BLOCK | {"position": 1}, "position: only a pin has one"),
        ({name: value for name, value in PIN.items() if name != "position"}, "position: a pin has one"),
        (PIN | {"position": 0}, "position"),
        (PIN | {"factor": 2.0}, "factor: only a boost and a bury have one"),
        (BOOST | {"factor": 1.0}, "factor: of a boost must be above 1, found 1"),
        (BOOST | {"factor": 101.0}, "factor"),
        (BOOST | {"action": "bury"}, "factor: of a bury must be below 1, found 2"),
        (BOOST | {"action": "bury", "factor": 0.0}, "factor"),
        (BOOST | {"factor": None}, "factor: a boost has one"),
        (BLOCK | {"starts_at": "2026-03-01T00:00:00Z", "ends_at": "2026-03-01T00:00:00Z"}, "ends_at"),
        (BLOCK | {"starts_at": "2026-03-01T00:00:00"}, "starts_at"),
        (BLOCK | {"where": [""]}, "where"),
        (BLOCK | {"items": ["ü" * 65]}, "has more than 128 bytes"),
        (BLOCK | {"tiers": ["best"]}, "tiers"),
        (BLOCK | {"action": "hide"}, "action"),
        (BLOCK | {"wher": ["nl"]}, "wher"),
    ],
)
def test_a_rule_that_contradicts_itself_is_refused_by_its_field(rule: dict[str, Any], said: str) -> None:
    """An unknown field among them: a condition that is not understood would make the rule hold too widely."""
    found = read(rule)
    assert isinstance(found, UnreadableRule)
    assert (found.rule_id, found.reason) == ("r", "invalid_rule")
    assert said in found.detail


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        (None, b"{}", "unreadable_key"),
        (b"", None, "unreadable_key"),
        (b"\xff", b"{}", "unreadable_key"),
        (b"k" * 129, None, "unreadable_key"),
        (b"r", b"{", "undecodable"),
        (b"r", b'{"rule_id": "\xff"}', "undecodable"),
        (b"r", b"[" * 10_000, "invalid_rule"),
        (b"r", b" " * (MAX_RULE_BYTES + 1), "too_large"),
        (b"other", msgspec.json.encode(BLOCK), "key_mismatch"),
    ],
)
def test_a_record_that_is_no_rule_says_why(key: bytes | None, value: bytes | None, reason: str) -> None:
    """It names the rule where the key does."""
    found = read_rule(key, value)
    assert isinstance(found, UnreadableRule)
    assert found.reason == reason
    assert found.rule_id is None if reason == "unreadable_key" else found.rule_id is not None


def test_a_tombstone_removes_its_rule() -> None:
    """A null value, not an empty one."""
    assert read_rule(b"r", None) == RemovedRule(RuleId("r"))
    assert isinstance(read_rule(b"r", b""), UnreadableRule)


@given(st.binary(max_size=64), st.none() | st.binary(max_size=256))
def test_no_record_raises(key: bytes, value: bytes | None) -> None:
    """Whatever somebody writes to the topic ends no worker."""
    assert read_rule(key, value) is not None


def test_a_window_is_in_unix_milliseconds_and_open_without_a_time() -> None:
    """From its start, inclusive, to its end, exclusive."""
    rule = MerchantRule(rule_id=RuleId("r"), action="block", items=(ItemId("i"),))
    assert rule.starts_ms <= 0 < NOW.timestamp() * 1000 * 1000 < rule.ends_ms
    rule = msgspec.structs.replace(rule, starts_at=NOW, ends_at=NOW + timedelta(seconds=1))
    assert (rule.starts_ms, rule.ends_ms) == (1_772_323_200_000, 1_772_323_201_000)
