import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from schemas.errors import InsessionError, UsageError
from session_model.data.formats import SEQUENCES_START_MS, SEQUENCES_STEP_MS, DataFormat, read_events, read_sessions

SESSION_REC = "SessionId\tItemId\tTime\n2\tb\t1400000020.5\n1\ta\t1400000010\n2\ta\t1400000019\n1\tc\t1400000010\n"


def write(path: Path, text: str) -> Path:
    """Make a file."""
    path.write_text(text)
    return path


def click(**fields: object) -> str:
    """Make a line of JSON."""
    return json.dumps({"visitor_id": "v", "event_type": "view", "event_time": 1_600_000_000_000, **fields}) + "\n"


def test_session_rec_sorts_by_time_and_sessions_by_end(tmp_path: Path) -> None:
    """Events are ordered by time with ties in file order, sessions by their last event."""
    sessions = read_sessions(write(tmp_path / "a.tsv", SESSION_REC), "session-rec")
    assert sessions.session_ids == ["1", "2"]
    assert [sessions.item_ids[i] for i in sessions.items] == ["a", "c", "a", "b"]
    assert sessions.starts.tolist() == [0, 2, 4]
    assert sessions.times_ms is not None
    assert sessions.times_ms.tolist() == [1_400_000_010_000, 1_400_000_010_000, 1_400_000_019_000, 1_400_000_020_500]
    assert np.isnan(sessions.prices).all()


def test_session_rec_columns_are_found_by_name(tmp_path: Path) -> None:
    """Other columns and another order change nothing."""
    text = "Time\tRaw\tItemId\tSessionId\n1400000000\tx\ti\ts\n"
    sessions = read_sessions(write(tmp_path / "a.tsv", text), "session-rec")
    assert (sessions.session_ids, sessions.item_ids) == (["s"], ["i"])


def test_gzip_is_found_by_its_magic_bytes(tmp_path: Path) -> None:
    """A gzipped file is read whatever it is called."""
    path = tmp_path / "no-suffix"
    path.write_bytes(gzip.compress(b"a b\n\nc d e\n"))
    sessions = read_sessions(path, "sequences")
    assert sessions.session_ids == ["1", "3"]
    assert sessions.starts.tolist() == [0, 2, 5]
    assert sessions.times_ms is None


def test_damaged_gzip_is_one_message(tmp_path: Path) -> None:
    """A cut gzip file says so instead of showing zlib's error."""
    path = tmp_path / "cut.gz"
    path.write_bytes(gzip.compress(b"a b\n" * 1000)[:-12])
    with pytest.raises(InsessionError, match="damaged"):
        read_sessions(path, "sequences")


def test_events_of_session_rec_come_in_event_time_order(tmp_path: Path) -> None:
    """Each view carries the session as visitor and a running event id."""
    events = list(read_events(write(tmp_path / "a.tsv", SESSION_REC), "session-rec"))
    assert [(e.visitor_id, e.event_id, e.item_id, e.event_time) for e in events] == [
        ("1", "1-1", "a", 1_400_000_010_000),
        ("1", "1-2", "c", 1_400_000_010_000),
        ("2", "2-1", "a", 1_400_000_019_000),
        ("2", "2-2", "b", 1_400_000_020_500),
    ]
    assert {e.session_id for e in events} == {"1", "2"}


def test_events_of_sequences_get_a_made_up_clock(tmp_path: Path) -> None:
    """Sessions follow each other, one click every step."""
    events = list(read_events(write(tmp_path / "a.txt", "a b\nc\n"), "sequences"))
    assert [e.event_time for e in events] == [SEQUENCES_START_MS + i * SEQUENCES_STEP_MS for i in range(3)]
    assert [e.event_id for e in events] == ["1-1", "1-2", "2-1"]


@pytest.mark.parametrize(("gap_ms", "n_sessions"), [(1_800_000, 1), (1_800_001, 2)])
def test_jsonl_gap_is_inclusive(tmp_path: Path, gap_ms: int, n_sessions: int) -> None:
    """Thirty minutes of silence continue a session, a millisecond more ends it."""
    start = 1_600_000_000_000
    text = click(item_id="b", event_time=start + gap_ms) + click(item_id="a", event_time=start)
    sessions = read_sessions(write(tmp_path / "a.jsonl", text), "jsonl")
    assert len(sessions) == n_sessions
    assert [sessions.item_ids[i] for i in sessions.items] == ["a", "b"]


def test_jsonl_keeps_all_events_and_honours_session_ids_and_consent(tmp_path: Path) -> None:
    """A search has item -1, an own session_id overrides the gap, and no consent leaves no trace."""
    late = 1_600_000_000_000 + 10**8
    text = (
        click(item_id="a", session_id="s", price=2.5)
        + click(event_type="search", query="q", session_id="s", event_time=late)
        + click(item_id="x", visitor_id="w", consent=False)
        + click(item_id="a", event_type="purchase", visitor_id="w", event_time=late + 1)
    )
    sessions = read_sessions(write(tmp_path / "a.jsonl", text), "jsonl")
    assert sessions.session_ids == ["s", f"w-{late + 1}"]
    assert sessions.items.tolist() == [0, -1, 0]
    assert sessions.event_types.tolist() == [0, 5, 3]
    assert sessions.prices[0] == 2.5
    assert sessions.item_ids == ["a"]


def test_a_session_is_where_it_was_seen_last(tmp_path: Path) -> None:
    """By its latest event that says so, whatever the order of the lines; formats without places have none."""
    late = 1_600_000_000_000 + 1
    text = (
        click(item_id="b", event_time=late, location="Paris")
        + click(item_id="a", location="Rome")
        + click(item_id="c", event_time=late + 1)
        + click(item_id="a", visitor_id="w")
    )
    sessions = read_sessions(write(tmp_path / "a.jsonl", text), "jsonl")
    assert dict(zip(sessions.session_ids, sessions.locations or [], strict=True)) == {
        "v-1600000000000": "Paris",
        "w-1600000000000": None,
    }
    assert sessions.latest(1).locations == (sessions.locations or [])[-1:]
    assert sessions.is_cut is None
    assert read_sessions(write(tmp_path / "b.tsv", SESSION_REC), "session-rec").locations is None


def test_jsonl_events_that_only_say_who_it_is_are_no_part_of_a_session(tmp_path: Path) -> None:
    """An `identify` event is nothing that a model could learn."""
    text = click(item_id="a") + click(event_type="identify", item_id=None, anonymous_id="cookie")
    sessions = read_sessions(write(tmp_path / "a.jsonl", text), "jsonl")
    assert sessions.items.tolist() == [0]


def test_jsonl_repeats_are_learned_once(tmp_path: Path) -> None:
    """A record that was sent twice counts once; equal events without an id are different events."""
    text = (
        click(item_id="a", event_id="1") * 2 + click(item_id="a", event_id="1", visitor_id="w") + click(item_id="b") * 2
    )
    sessions = read_sessions(write(tmp_path / "a.jsonl", text), "jsonl")
    assert np.bincount(sessions.items).tolist() == [2, 2]
    assert len(list(read_events(tmp_path / "a.jsonl", "jsonl"))) == 5


def test_jsonl_events_are_sorted_and_complete(tmp_path: Path) -> None:
    """Replay sees every valid event, those without consent included, in event-time order."""
    text = click(item_id="b", event_time=1_600_000_000_001) + click(item_id="a", consent=False)
    events = list(read_events(write(tmp_path / "a.jsonl", text), "jsonl"))
    assert [(e.item_id, e.consent) for e in events] == [("a", False), ("b", None)]


@pytest.mark.parametrize(
    ("data_format", "line"),
    [
        ("session-rec", "1\ta"),
        ("session-rec", "1\ta\tnan"),
        ("session-rec", "1\ta\t16000"),
        ("session-rec", "1\ta\t9999999999"),
        ("session-rec", "1\t\t1400000000"),
        ("sequences", "x" * 257),
        ("jsonl", "{"),
        ("jsonl", click(item_id=None).strip()),
    ],
)
def test_a_few_malformed_lines_are_left_out(tmp_path: Path, data_format: DataFormat, line: str) -> None:
    """A malformed line costs itself only."""
    good = {"session-rec": SESSION_REC, "sequences": "a b c d\n", "jsonl": click(item_id="a") * 4}[data_format]
    assert len(read_sessions(write(tmp_path / "a", good + line + "\n"), data_format).items) == 4


def test_bytes_that_are_no_text_are_malformed(tmp_path: Path) -> None:
    """A line that is not UTF-8 is left out like any other."""
    (tmp_path / "a").write_bytes(b"a b\n\xff\xfe\nc d\n")
    assert read_sessions(tmp_path / "a", "sequences").session_ids == ["1", "3"]


@pytest.mark.parametrize(("bad", "fails"), [(10, False), (11, True)])
def test_malformed_lines_are_fatal_above_ten_and_the_share(tmp_path: Path, bad: int, *, fails: bool) -> None:
    """The eleventh malformed line of a short file is one too many; the message names the first."""
    path = write(tmp_path / "a.tsv", SESSION_REC + "broken\n" * bad)
    if fails:
        with pytest.raises(InsessionError, match=r"11 of 16 lines are malformed \(first: line 6: too few columns"):
            read_sessions(path, "session-rec")
        assert len(read_sessions(path, "session-rec", max_malformed_share=0.7)) == 2
    else:
        assert len(read_sessions(path, "session-rec")) == 2


def test_a_line_without_end_is_bounded(tmp_path: Path) -> None:
    """An over-long line is left out as one line."""
    path = write(tmp_path / "a.txt", "a b\n" + "x " * (1 << 20) + "\nc d\n")
    assert read_sessions(path, "sequences").session_ids == ["1", "3"]


def test_what_is_no_data_file_is_wrong_usage(tmp_path: Path) -> None:
    """A directory, a missing file and an unknown format are wrong usage, a missing column is not."""
    with pytest.raises(UsageError, match="directory"):
        read_sessions(tmp_path, "sequences")
    with pytest.raises(UsageError, match="No such file"):
        read_sessions(tmp_path / "none", "sequences")
    with pytest.raises(UsageError, match="none of session-rec, sequences, jsonl"):
        read_sessions(tmp_path, "xls")  # type: ignore[arg-type]
    with pytest.raises(InsessionError, match="lacks Time"):
        read_sessions(write(tmp_path / "a", "SessionId\tItemId\n1\t2\n"), "session-rec")


def ends(**fields: object) -> str:
    """Make a line of session-ends."""
    events = [["view", 1_600_000_000_000, "a", None], ["search", 1_600_000_001_000, None, None]]
    record = {"id": "1", "visitor_key": "k", "session_id": "s", "end_reason": "inactivity", "event_count": 2}
    record |= {"started_at": "2020-09-13T12:26:40Z", "ended_at": "2020-09-13T12:26:41Z", "events": events}
    return json.dumps(record | fields) + "\n"


def test_session_ends_are_people_and_each_record_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Bots and what was written twice are counted; the same session id of two visitors is two sessions."""
    text = ends() * 2 + ends(id="2", is_bot=True) + ends(id="3", visitor_key="l")
    sessions = read_sessions(write(tmp_path / "a.jsonl", text), "session-ends")
    assert sessions.session_ids == ["s", "s"]
    assert [sessions.item_ids[i] if i >= 0 else None for i in sessions.items] == ["a", None] * 2
    told = capsys.readouterr().out
    assert "'sessions of bots': 1" in told
    assert "'repeated records': 1" in told


def test_session_ends_that_were_cut_are_told_from_whole_ones(tmp_path: Path) -> None:
    """Workers keep the last events of a session; where the shopper was is in the record."""
    text = ends(location="Rome") + ends(id="2", session_id="long", event_count=3)
    sessions = read_sessions(write(tmp_path / "a.jsonl", text), "session-ends")
    assert sessions.is_cut is not None
    assert dict(zip(sessions.session_ids, sessions.is_cut.tolist(), strict=True)) == {"s": False, "long": True}
    assert dict(zip(sessions.session_ids, sessions.locations or [], strict=True)) == {"s": "Rome", "long": None}


def test_jsonl_with_types_that_are_none_of_ours_only_names_them(tmp_path: Path) -> None:
    """A spelling that is not mapped must not look like an empty log."""
    text = click(event_type="Product Viewed", item_id="a") * 3
    with pytest.raises(InsessionError, match="event_type 'Product Viewed' is no interaction 3"):
        read_sessions(write(tmp_path / "a.jsonl", text), "jsonl")


def test_jsonl_times_outside_the_live_bounds_are_malformed(tmp_path: Path) -> None:
    """As the worker would dead-letter them."""
    text = click(item_id="a") + click(item_id="b", event_time=5) + click(item_id="c", event_time="1970-01-02T00:00:00Z")
    assert read_sessions(write(tmp_path / "a.jsonl", text), "jsonl").item_ids == ["a"]


def test_parts_are_one_log(tmp_path: Path) -> None:
    """Lines are numbered on over files, repeats are found over files, and an empty part is no fault."""
    write(tmp_path / "0", "a b\nc d\n")
    write(tmp_path / "1", "")
    write(tmp_path / "2", "e f\n")
    assert read_sessions(tmp_path, "sequences").session_ids == ["1", "2", "3"]
    logs = tmp_path / "logs"
    logs.mkdir()
    for name in ("0", "1"):
        write(logs / name, click(item_id="a", event_id="1"))
    assert len(read_sessions(logs, "jsonl").items) == 1
    with pytest.raises(InsessionError, match="no usable line"):
        read_sessions(tmp_path / "[1]", "sequences")
