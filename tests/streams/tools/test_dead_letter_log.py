import pytest

from schemas.errors import UsageError
from schemas.state import InputPosition
from schemas.validation import Rejection, RejectReason
from streams.delivery.dead_letters import HEADER_PREFIX, MAX_VALUE_BYTES, dead_letter
from streams.records import InputRecord
from streams.tools.dead_letter_log import (
    REPLAY_HEADER,
    UNKNOWN,
    DeadLetter,
    by_partition,
    obstacle,
    parse_position,
    read_dead_letter,
    replay_record,
    summarize,
)

CONTROL = "session-control"
ORIGIN = InputPosition("clickstream", 3, 41)


def letter(
    *,
    reason: RejectReason = "undecodable",
    at: tuple[int, int] = (0, 0),
    time_ms: int = 0,
    value: bytes | None = b"v",
    headers: tuple[tuple[str, bytes], ...] = (("h", b"1"),),
    origin: InputPosition = ORIGIN,
) -> DeadLetter:
    """Dead-letter an input and read the letter back."""
    written = dead_letter(InputRecord(origin, b"k", value, 0, headers), Rejection(reason, "no"), "dlq")
    position = InputPosition("dlq", *at)
    return read_dead_letter(InputRecord(position, written.key, written.value, time_ms, written.headers))


def test_a_letter_tells_the_input_and_what_went_wrong() -> None:
    """Reason, detail and origin come from the error headers; key, value and the other headers are the input's."""
    found = letter()
    assert (found.reason, found.detail, found.origin) == ("undecodable", "no", ORIGIN)
    assert (found.key, found.value, found.headers) == (b"k", b"v", (("h", b"1"),))
    assert not found.is_cut


@pytest.mark.parametrize("headers", [(), ((HEADER_PREFIX + "offset", b"x"),), (("reason", b"mine"),)])
def test_a_foreign_record_is_told_apart(headers: tuple[tuple[str, bytes], ...]) -> None:
    """Without our headers the reason is unknown, and there is nowhere to send it."""
    found = read_dead_letter(InputRecord(InputPosition("dlq", 0, 0), None, None, 0, headers))
    assert (found.reason, found.origin) == (UNKNOWN, None)
    assert obstacle(found, CONTROL, {}) == "foreign"


def test_letters_are_counted_by_reason() -> None:
    """The most frequent reason comes first, with its times, its offsets and its latest letter."""
    letters = [
        letter(reason="undecodable", at=(0, 5), time_ms=30),
        letter(reason="missing_item", at=(0, 6), time_ms=10),
        letter(reason="missing_item", at=(1, 2), time_ms=40),
        letter(reason="missing_item", at=(0, 9), time_ms=20),
    ]
    first, second = summarize(letters)
    assert (first.reason, first.count, first.first_ms, first.last_ms) == ("missing_item", 3, 10, 40)
    assert first.offsets == {0: (6, 9), 1: (2, 2)}
    assert first.latest is letters[2]
    assert (second.reason, second.count) == ("undecodable", 1)


def test_a_replay_is_the_input_and_names_the_letter() -> None:
    """Key, bytes and headers are as they were; a header says that it is a replay, and of what."""
    record = replay_record(letter(at=(2, 7)))
    assert (record.topic, record.key, record.value, record.partition) == ("clickstream", b"k", b"v", None)
    assert record.headers == [("h", b"1"), (REPLAY_HEADER, b"dlq-2-7")]


def test_a_replay_that_failed_again_says_so() -> None:
    """Its dead letter keeps the header; another replay names the newer letter only."""
    once = replay_record(letter(at=(2, 7)))
    again = letter(at=(2, 9), headers=tuple(once.headers))
    assert again.replayed_from == "dlq-2-7"
    assert obstacle(again, CONTROL, {}) == "failed_again"
    assert replay_record(again).headers == [("h", b"1"), (REPLAY_HEADER, b"dlq-2-9")]


def test_what_must_not_be_sent_again_is_named() -> None:
    """A cut original, a control record and a letter that was replayed before each have their reason; the rest goes."""
    assert obstacle(letter(value=bytes(MAX_VALUE_BYTES + 1)), CONTROL, {}) == "cut"
    assert obstacle(letter(reason="unreadable_state"), CONTROL, {}) == "state"
    assert obstacle(letter(origin=InputPosition(CONTROL, 0, 1)), CONTROL, {}) == "control_record"
    assert obstacle(letter(at=(1, 4)), CONTROL, {1: {4}}) == "replayed_before"
    assert obstacle(letter(at=(0, 4)), CONTROL, {1: {4}}) is None


def test_offsets_are_gathered_by_partition() -> None:
    """Partitions come in order."""
    assert dict(by_partition([letter(at=(1, 4)), letter(at=(0, 1)), letter(at=(1, 5))])) == {0: {1}, 1: {4, 5}}


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("3:120", InputPosition("dlq", 3, 120)),
        ("clickstream-3-120", InputPosition("clickstream", 3, 120)),
        ("shop-a.clicks-dlq-0-7", InputPosition("shop-a.clicks-dlq", 0, 7)),
    ],
)
def test_positions_are_read_as_they_are_printed(text: str, position: InputPosition) -> None:
    """Short for the dead-letter topic itself, or a record id of any topic."""
    assert parse_position(text, "dlq") == position


@pytest.mark.parametrize("text", ["", "7", "3-7", "a:b", "3:-1", "-3-7", "t-3-x", "3:" + "9" * 20])
def test_what_is_no_position_is_wrong_usage(text: str) -> None:
    """The message says what is one."""
    with pytest.raises(UsageError, match="PARTITION:OFFSET"):
        parse_position(text, "dlq")
