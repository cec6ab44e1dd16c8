from typing import Literal

import pytest

from schemas.state import InputPosition
from schemas.validation import Rejection
from streams.delivery.dead_letters import HEADER_PREFIX, MAX_HEADER_BYTES, MAX_KEY_BYTES, MAX_VALUE_BYTES, dead_letter
from streams.records import InputRecord, OutputRecord, Undecodable

BROKER_LIMIT_BYTES = 1 << 20


def letter(
    key: bytes | None = b"k",
    value: bytes | None = b"v",
    headers: tuple[tuple[str, bytes], ...] = (),
    detail: str = "no",
) -> OutputRecord:
    """Make the dead letter of one input."""
    record = InputRecord(InputPosition("clicks", 3, 41), key, value, 0, headers)
    return dead_letter(record, Rejection("undecodable", detail), "dlq")


def errors(record: OutputRecord) -> dict[str, bytes]:
    """Return the error headers by their short names."""
    return {name.removeprefix(HEADER_PREFIX): value for name, value in record.headers if name.startswith(HEADER_PREFIX)}


@pytest.mark.parametrize(("key", "value"), [(b"k", b"\xff\x00"), (None, b"v"), (b"k", None), (None, None), (b"", b"")])
def test_the_original_is_kept_byte_for_byte(key: bytes | None, value: bytes | None) -> None:
    """Key and value are the input's, whatever they are, on the dead-letter topic and by the key's partition."""
    record = letter(key, value)
    assert (record.topic, record.key, record.value, record.partition) == ("dlq", key, value, None)
    assert "truncated_from_bytes" not in errors(record)


def test_the_headers_say_what_happened_and_where() -> None:
    """Reason, message and position of the input are in headers."""
    assert errors(letter(detail="bad")) == {
        "id": b"clicks-3-41",
        "reason": b"undecodable",
        "message": b"bad",
        "topic": b"clicks",
        "partition": b"3",
        "offset": b"41",
    }


def test_the_original_headers_come_first_and_stay() -> None:
    """Headers of the input are kept in order, repeated names too."""
    given = (("trace", b"1"), ("trace", b"2"), ("ce_id", b"x"))
    assert tuple(letter(headers=given).headers[:3]) == given


def test_error_headers_of_an_earlier_dead_letter_are_replaced() -> None:
    """A dead letter that was written back and failed again tells of its latest failure only."""
    again = letter(headers=((HEADER_PREFIX + "reason", b"too_large"), (HEADER_PREFIX + "old", b"1"), ("trace", b"1")))
    names = [name for name, _ in again.headers]
    assert errors(again)["reason"] == b"undecodable"
    assert names.count(HEADER_PREFIX + "reason") == 1
    assert HEADER_PREFIX + "old" not in names
    assert ("trace", b"1") in again.headers


def test_a_value_at_the_limit_is_whole() -> None:
    """The limits are inclusive."""
    record = letter(bytes(MAX_KEY_BYTES), bytes(MAX_VALUE_BYTES))
    assert (len(record.key or b""), len(record.value or b"")) == (MAX_KEY_BYTES, MAX_VALUE_BYTES)
    assert "truncated_from_bytes" not in errors(record)


@pytest.mark.parametrize(("key_bytes", "value_bytes"), [(1, MAX_VALUE_BYTES + 1), (MAX_KEY_BYTES + 1, 1)])
def test_an_oversize_original_is_cut_and_marked(key_bytes: int, value_bytes: int) -> None:
    """Its beginning is kept, and a header says how many bytes it had."""
    record = letter(b"k" * key_bytes, b"v" * value_bytes)
    assert record.key == b"k" * min(key_bytes, MAX_KEY_BYTES)
    assert record.value == b"v" * min(value_bytes, MAX_VALUE_BYTES)
    assert errors(record)["truncated_from_bytes"] == str(key_bytes + value_bytes).encode()


@pytest.mark.parametrize(("size", "is_kept"), [(MAX_HEADER_BYTES, True), (MAX_HEADER_BYTES + 1, False)])
def test_huge_headers_are_dropped_and_marked(size: int, *, is_kept: bool) -> None:
    """Names and values count together; where they are too many all go, and a header says so."""
    record = letter(headers=(("ab", b"x" * (size - 3)), ("c", b"")))
    assert ("headers_dropped" in errors(record)) is not is_kept
    assert ("c" in dict(record.headers)) is is_kept


@pytest.mark.parametrize(
    ("kept", "told"), [("all", set()), ("no_headers", {"headers_dropped"}), ("encoded", {"encoded"})]
)
def test_what_is_not_the_original_is_marked(kept: Literal["all", "no_headers", "encoded"], told: set[str]) -> None:
    """What a client could not decode says what its letter lacks."""
    record = InputRecord(InputPosition("clicks", 3, 41), b"k", b"v", 0, undecodable=Undecodable("odd", kept))
    assert record.rejection == Rejection("undecodable", "odd")
    found = errors(dead_letter(record, record.rejection, "dlq"))
    assert found.keys() & {"headers_dropped", "encoded"} == told


def test_a_long_message_is_cut() -> None:
    """The message is bounded, so that it cannot carry the whole value again."""
    assert errors(letter(detail="x" * 9_000))["message"] == b"x" * 500


def test_the_largest_dead_letter_fits_the_brokers_limit() -> None:
    """Everything at or over its limit together stays below Kafka's default record size."""
    record = letter(
        bytes(MAX_KEY_BYTES + 1),
        bytes(MAX_VALUE_BYTES + 1),
        (("h" * 9, bytes(MAX_HEADER_BYTES - 9)),),
        "\u20ac" * 9_000,
    )
    headers = sum(len(name.encode()) + len(value) for name, value in record.headers)
    assert len(record.key or b"") + len(record.value or b"") + headers < BROKER_LIMIT_BYTES * 0.95
