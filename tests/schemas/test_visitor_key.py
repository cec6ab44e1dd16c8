import pytest

from schemas.events import MAX_ID_LENGTH
from schemas.mapping import FieldMapping
from schemas.validation import MAX_VALUE_BYTES, Rejection
from schemas.visitor_key import visitor_key

MAPPING = FieldMapping(paths={"visitor_id": "user.id"}, time_format="unix_s")


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (b'{"user": {"id": "v"}}', b"v"),
        (b'{"user": {"id": 7}, "event_time": "never"}', b"7"),
        ('{"user": {"id": "ü€"}}'.encode(), "ü€".encode()),
        (b'{"user": {"id": "%s"}}' % (b"x" * MAX_ID_LENGTH), b"x" * MAX_ID_LENGTH),
    ],
)
def test_the_key_is_the_visitor_whatever_else_is_wrong(value: bytes, key: bytes) -> None:
    """It is found as the worker finds it; what the worker refuses for another reason it refuses later."""
    assert visitor_key(value, MAPPING) == key


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "null_value"),
        (b" " * (MAX_VALUE_BYTES + 1), "too_large"),
        (b"\xff", "undecodable"),
        (b'{"user": ' * 7_000, "undecodable"),
        (b"[]", "invalid_field"),
        (b'{"visitor_id": "v"}', "invalid_field"),
        (b'{"user": {"id": ""}}', "invalid_field"),
        (b'{"user": {"id": true}}', "invalid_field"),
        (b'{"user": {"id": "%s"}}' % (b"x" * (MAX_ID_LENGTH + 1)), "invalid_field"),
        (b'{"user": {"id": "\\ud800\\ud800"}}', "undecodable"),
    ],
)
def test_without_a_visitor_there_is_a_reason(value: bytes | None, reason: str) -> None:
    """Nothing that a record holds is an exception."""
    found = visitor_key(value, MAPPING)
    assert isinstance(found, Rejection)
    assert found.reason == reason
