import json
from typing import Any

import pytest

from schemas.errors import UsageError
from schemas.events import ClickEvent, from_unix_ms, unix_ms
from schemas.mapping import FieldMapping
from schemas.validation import (
    EARLIEST_TIME_MS,
    LATEST_TIME_MS,
    MAX_FUTURE_MS,
    MAX_VALUE_BYTES,
    Rejection,
    parse_click,
)

RECORD_TIME_MS = 1_700_000_000_000
IDENTITY = FieldMapping()


def _click(**changes: Any) -> bytes:
    fields = {"visitor_id": "v1", "event_type": "view", "event_time": RECORD_TIME_MS, "item_id": "i1"} | changes
    return json.dumps({name: value for name, value in fields.items() if value is not None}).encode()


def _reason(value: bytes | None, key: bytes | None = b"v1") -> str | None:
    parsed = parse_click(key, value, RECORD_TIME_MS, IDENTITY)
    return parsed.reason if isinstance(parsed, Rejection) else None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (_click(), None),
        (None, "null_value"),
        (b"", "undecodable"),
        (b"\xff\xfe", "undecodable"),
        (b"{", "undecodable"),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, "undecodable"),
        (b"[1]", "invalid_field"),
        (b'{"visitor_id": "v1"}', "invalid_field"),
        (_click(event_type="teleport"), "invalid_field"),
        (_click(visitor_id=7), "invalid_field"),
        (_click(visitor_id=""), "invalid_field"),
        (_click(item_id="x" * 257), "invalid_field"),
        (_click(price=-1), "invalid_field"),
        (_click(price="12"), "invalid_field"),
        (_click(event_time="2023-11-14T22:13:20"), "invalid_field"),
        (_click(event_time="yesterday"), "invalid_field"),
        (_click(item_id=None), "missing_item"),
        (_click(item_id=None, event_type="search", query="boots"), None),
        (_click(event_time=EARLIEST_TIME_MS), None),
        (_click(event_time=EARLIEST_TIME_MS - 1), "absurd_time"),
        (_click(event_time=RECORD_TIME_MS // 1000), "absurd_time"),
        (_click(event_time=RECORD_TIME_MS + MAX_FUTURE_MS), None),
        (_click(event_time=RECORD_TIME_MS + MAX_FUTURE_MS + 1), "absurd_time"),
        (_click(event_time=10**18), "absurd_time"),
        (_click(surprise="extra fields are the shop's own business"), None),
    ],
)
def test_bad_input_gets_its_reason_code(value: bytes | None, expected: str | None) -> None:
    """Each way to be wrong has one reason; what is right passes."""
    assert _reason(value) == expected


@pytest.mark.parametrize(
    ("event_time", "expected"),
    [
        (LATEST_TIME_MS, None),
        (LATEST_TIME_MS + 1, "absurd_time"),
        ("9999-12-31T23:59:59.999Z", None),
        ("9999-12-31T23:59:59.999-00:01", "absurd_time"),
    ],
)
def test_a_time_that_no_output_can_spell_is_refused(event_time: object, expected: str | None) -> None:
    """Not even where the record's timestamp, which the producer sets, is as absurd (microseconds for milliseconds)."""
    parsed = parse_click(b"v1", _click(event_time=event_time), RECORD_TIME_MS * 1000, IDENTITY)
    assert (parsed.reason if isinstance(parsed, Rejection) else None) == expected
    if isinstance(parsed, ClickEvent):
        assert unix_ms(from_unix_ms(parsed.event_time_ms)) == LATEST_TIME_MS


def test_giant_values_are_refused_before_decoding() -> None:
    """One byte over the limit is not decoded; the limit itself is."""
    padding = MAX_VALUE_BYTES - len(_click(query=""))
    assert _reason(_click(query="x" * padding)) == "invalid_field"
    assert _reason(_click(query="x" * (padding + 1))) == "too_large"


@pytest.mark.parametrize("key", [None, b"", b"v2", b"v1 "])
def test_a_key_that_is_not_the_visitor_is_refused(key: bytes | None) -> None:
    """A wrong key means a wrong partition, which would split the visitor's state in silence."""
    assert _reason(_click(), key=key) == "key_mismatch"


def test_event_time_is_read_as_rfc3339_and_as_unix_milliseconds() -> None:
    """Both wire forms of a time give the same milliseconds."""
    text = parse_click(b"v1", _click(event_time="2023-11-14T23:13:20.5+01:00"), RECORD_TIME_MS, IDENTITY)
    number = parse_click(b"v1", _click(event_time=RECORD_TIME_MS + 500), RECORD_TIME_MS, IDENTITY)
    assert isinstance(text, ClickEvent)
    assert isinstance(number, ClickEvent)
    assert text.event_time_ms == number.event_time_ms == RECORD_TIME_MS + 500


@pytest.mark.parametrize("milliseconds", [0, 1, 999, 1_700_000_000_123, 4_102_444_800_001])
def test_unix_milliseconds_round_trip_exactly(milliseconds: int) -> None:
    """No float touches a time."""
    assert unix_ms(from_unix_ms(milliseconds)) == milliseconds


SHOP = FieldMapping(
    paths={"visitor_id": "user.id", "event_type": "action", "event_time": "ts", "item_id": "product.sku"},
    values={"event_type": {"product_view": "view", "order": "purchase"}},
    time_format="unix_s",
)


@pytest.mark.parametrize("ts", [1_700_000_000, "1700000000", 1_700_000_000.0])
def test_a_shops_own_json_is_mapped(ts: object) -> None:
    """Paths, value names and the time format come from settings; numeric ids become strings."""
    value = json.dumps({"user": {"id": 7}, "action": "order", "ts": ts, "product": {"sku": 12}, "price": 3.5}).encode()
    event = parse_click(b"7", value, RECORD_TIME_MS, SHOP)
    assert event == ClickEvent(
        visitor_id="7",  # type: ignore[arg-type]
        event_type="purchase",
        event_time=RECORD_TIME_MS,
        item_id="12",  # type: ignore[arg-type]
        price=3.5,
    )


@pytest.mark.parametrize(
    ("field", "text", "meaning"),
    [("price", "3.50", 3.5), ("quantity", "2", 2), ("consent", "False", False), ("consent", "granted", True)],
)
def test_a_shops_numbers_and_booleans_may_be_text(field: str, text: str, meaning: object) -> None:
    """What a shop calls true and false is a value map's to say."""
    consent = {"granted": "true", "denied": "false"}
    shop = FieldMapping(paths={"visitor_id": "user"}, values={"consent": consent}, time_format="unix_ms")
    value = {"user": 7, "event_type": "view", "event_time": RECORD_TIME_MS, "item_id": "i", field: text}
    event = parse_click(b"7", json.dumps(value).encode(), RECORD_TIME_MS, shop)
    assert isinstance(event, ClickEvent), event
    assert getattr(event, field) == meaning


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b'{"user": {"id": 7}, "action": "order", "ts": 1700000000, "price": "free"}', "invalid_field"),
        (b'{"user": {"id": 7}, "action": "order", "ts": 1700000000, "price": "nan"}', "invalid_field"),
        (b'{"user": {"id": 7}, "action": "order", "ts": 1700000000, "quantity": "1.5"}', "invalid_field"),
        (b'{"user": {"id": 7}, "action": "order", "ts": 1700000000, "consent": "perhaps"}', "invalid_field"),
        (b'{"user": 7, "action": "order", "ts": 1}', "invalid_field"),
        (b'{"user": {"id": 7}, "action": "order", "ts": "soon"}', "invalid_field"),
        (b'{"user": {"id": 7}, "action": "order", "ts": true}', "invalid_field"),
        (b'{"user": {"id": 7}, "action": "order", "ts": 1e400}', "invalid_field"),
        (b'{"user": {"id": 7}, "action": "wink", "ts": 1700000000}', "invalid_field"),
        (b"3", "invalid_field"),
    ],
)
def test_unmappable_json_is_refused(value: bytes, expected: str) -> None:
    """A path that leads nowhere, an unreadable time or an unknown value is a reason, never an exception."""
    parsed = parse_click(b"7", value, RECORD_TIME_MS, SHOP)
    assert isinstance(parsed, Rejection)
    assert parsed.reason == expected


@pytest.mark.parametrize(
    "arguments",
    [
        {"paths": {"visitor": "a"}},
        {"values": {"x": {}}},
        {"paths": {"visitor_id": "a..b"}},
        {"time_format": "stardate"},
    ],
)
def test_a_mapping_that_names_what_does_not_exist_is_refused_at_once(arguments: dict[str, Any]) -> None:
    """A typo in the mapping stops the start, with the setting's name in the message."""
    with pytest.raises(UsageError, match=r"clickstream\.mapping"):
        FieldMapping(**arguments)
