from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from agents.settings import Settings
from agents.worker.trending_view import from_avro, taking, trending_board
from schemas import wire
from schemas.records import Trending
from schemas.state import InputPosition
from serving.trending import TrendingBoard
from streams.records import InputRecord
from tests.serving.test_trending import START_MS, trending


def record(key: bytes | None, value: bytes | None) -> InputRecord:
    """Make a record of the topic."""
    return InputRecord(InputPosition("trending", 0, 0), key, value, START_MS)


@pytest.fixture
def board_and_take() -> tuple[TrendingBoard, Callable[[InputRecord], None], CollectorRegistry]:
    """Make a board, and what feeds it; what is no JSON has one byte before it."""
    registry = CollectorRegistry()
    board = trending_board(Settings(), registry)
    return board, taking(board, lambda value: msgspec.json.decode(value[1:], type=Trending)), registry


def test_lists_are_taken_in_and_taken_away(board_and_take: Any) -> None:
    """In JSON or as the outputs are encoded; a tombstone ends a place's list. The metrics say how many there are."""
    board, take, registry = board_and_take
    take(record(b"nl", wire.encode(trending("a", "nl"))))
    take(record(b"__all__", b"\0" + wire.encode(trending("b"))))
    assert registry.get_sample_value("insession_trending_lists") == 2
    take(record(b"nl", None))
    assert registry.get_sample_value("insession_trending_lists") == len(board) == 1
    assert registry.get_sample_value("insession_trending_stale") == 1  # they are of a spring long ago


def test_a_list_in_avro_is_read() -> None:
    """Its moments are Unix milliseconds; what else the decoder says of it is passed over."""
    plain = msgspec.json.decode(wire.encode(trending("a b", "nl")))
    assert from_avro({**plain, "event_time": START_MS, "updated_at": START_MS, "@type": "insession.Trending"}) == (
        trending("a b", "nl")
    )
    with pytest.raises(ValueError, match="items"):
        from_avro([1])


def test_a_record_that_cannot_be_read_changes_nothing(board_and_take: Any) -> None:
    """The view passes it over, logs and counts it."""
    board, take, _ = board_and_take
    take(record(b"nl", wire.encode(trending("a", "nl"))))
    with pytest.raises(msgspec.MsgspecError):
        take(record(b"nl", b"{"))
    assert len(board) == 1
