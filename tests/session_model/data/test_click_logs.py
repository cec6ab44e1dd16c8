"""Lines of JSON by the mapping of the worker."""

import json
from pathlib import Path

import pytest

from schemas.mapping import FieldMapping
from session_model.data.click_logs import ClickLog
from session_model.data.formats import ReadOptions, read_events, read_sessions
from session_model.data.text_lines import MalformedLines

NOW = "2026-11-20T10:00:00Z"
ORDERS = FieldMapping(
    paths={"visitor_id": "user", "event_type": "name", "event_time": "at", "event_id": "id", "item_id": "lines[].sku"},
    values={"event_type": {"order": "purchase"}},
)


def write(path: Path, *lines: object) -> Path:
    """Make a file of a JSON value a line."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_the_lines_of_an_order_are_all_learned_and_a_repeat_of_it_is_not(tmp_path: Path) -> None:
    """They share event_id and time, which tells repeats of the record and not of its lines."""
    order = {"user": 7, "name": "order", "at": NOW, "id": "o1", "lines": [{"sku": "a"}, {"sku": "b"}, {"sku": "a"}]}
    path, options = write(tmp_path / "a.jsonl", order, order), ReadOptions(mapping=ORDERS)
    sessions = read_sessions(path, "jsonl", options=options)
    assert [sessions.item_ids[item] for item in sessions.items] == ["a", "b", "a"]
    event_ids = [event.event_id for event in read_events(path, "jsonl", options=options)]
    assert event_ids == ["o1", "o1-1", "o1-2"] * 2


def test_a_batch_is_read_for_each_of_its_visitors(tmp_path: Path) -> None:
    """A file has no keys, so nobody's events are somebody else's."""
    batch = [{"user": user, "name": "view", "at": NOW, "lines": [{"sku": user}]} for user in ("x", "y")]
    options = ReadOptions(mapping=ORDERS)
    assert len(read_sessions(write(tmp_path / "a.jsonl", batch), "jsonl", options=options)) == 2


def test_odd_describing_fields_cost_no_click_and_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in the stream, our own form included."""
    click = {"visitor_id": "v", "event_type": "view", "event_time": NOW, "item_id": "a", "price": "12,95"}
    sessions = read_sessions(write(tmp_path / "a.jsonl", click | {"quantity": 0}), "jsonl")
    assert sessions.prices[0] == pytest.approx(12.95)
    told = capsys.readouterr().out
    assert "fields_repaired" in told
    assert "malformed" not in told


def test_a_time_that_only_a_record_has_is_none_of_a_file(tmp_path: Path) -> None:
    """A made-up one would put all clicks into one moment."""
    mapping = FieldMapping(paths={"event_time": "$record.timestamp"})
    path = write(tmp_path / "a.jsonl", {"visitor_id": "v", "event_type": "view", "item_id": "a"})
    malformed = MalformedLines(path)
    assert list(ClickLog(mapping).records(malformed)) == []
    assert malformed.count == 1


def test_pages_are_ignored_and_what_cannot_be_read_is_malformed(tmp_path: Path) -> None:
    """Both are counted, apart."""
    malformed = MalformedLines(
        write(
            tmp_path / "a.jsonl",
            {"visitor_id": "v", "event_type": "page_view", "event_time": NOW},
            {"event_type": "page_view"},
            {"visitor_id": "v", "event_type": "view", "event_time": NOW},
            {"visitor_id": "v", "event_type": "view", "event_time": 5, "item_id": "a"},
            {"visitor_id": "v", "event_type": "view", "event_time": NOW, "item_id": "a", "consent": "perhaps"},
            [],
        )
    )
    assert list(ClickLog(FieldMapping()).records(malformed)) == []
    assert malformed.count == 3
    assert malformed.ignored.total() == 3
