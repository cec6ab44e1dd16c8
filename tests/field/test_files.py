"""Log files as shops and publishers really have them; lines made by hand."""

import json
from pathlib import Path

import pytest

from schemas.errors import InsessionError, UsageError
from schemas.mapping import FieldMapping
from session_model.data.formats import DATA_FORMATS, DataFormat, ReadOptions, read_events, read_sessions
from session_model.data.sessions import Sessions
from session_model.data.table_layout import parse_layout

DAY_SECONDS = 86_400
TABLE = "session_id,item_id,timestamp\n1,10,1700000000\n1,11,1700000009\n"
SESSION_ENDS = "".join(
    json.dumps(
        {
            "id": f"clickstream-0-{offset}-k{offset}",
            "visitor_key": f"k{offset}",
            "session_id": f"clickstream-0-{offset}",
            "end_reason": "inactivity",
            "started_at": "2026-11-20T10:00:01.000Z",
            "ended_at": "2026-11-20T10:00:09.000Z",
            "event_count": 2,
            "events": [["view", 1795168800000, "chair", 40.0], ["view", 1795168808000, "lamp", 9.5]],
            "is_bot": False,
        }
    )
    + "\n"
    for offset in range(3)
)


def write(path: Path, text: str) -> Path:
    """Make a file."""
    path.write_text(text)
    return path


def items(sessions: Sessions) -> list[list[str]]:
    """Return the item ids of each session."""
    ids = [sessions.item_ids[item] for item in sessions.items]
    return [ids[start:end] for start, end in zip(sessions.starts[:-1], sessions.starts[1:], strict=True)]


def click(**fields: object) -> str:
    """Make a line of a click."""
    return json.dumps({"visitor_id": "v1", "event_type": "view", **fields}) + "\n"


def test_m1_all_months_of_a_rees46_folder_are_read(tmp_path: Path) -> None:
    """One session of October, and one of November."""
    header = "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session\n"
    for month, session, n in (("2019-10", "s1", 1), ("2019-11", "s2", 3)):
        name = {"2019-10": "2019-Oct.csv", "2019-11": "2019-Nov.csv"}[month]
        rows = f"{month}-01 00:00:01 UTC,view,{n},9,home,acme,5.0,7,{session}\n"
        rows += f"{month}-01 00:00:09 UTC,view,{n + 1},9,home,acme,5.0,7,{session}\n"
        write(tmp_path / name, header + rows)
    assert items(read_sessions(tmp_path, "rees46")) == [["1", "2"], ["3", "4"]]


def test_m2_seconds_are_no_milliseconds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Three days are three sessions, and the unit is told."""
    text = "".join(
        click(event_time=1_770_000_000 + day * DAY_SECONDS + place * 30, item_id=f"i{place}")
        for day in range(3)
        for place in range(3)
    )
    path = write(tmp_path / "clicks.jsonl", text)
    sessions = read_sessions(path, "jsonl")
    assert items(sessions) == [["i0", "i1", "i2"]] * 3
    assert sessions.times_ms is not None
    assert sessions.times_ms[:3].tolist() == [1_770_000_000_000, 1_770_000_030_000, 1_770_000_060_000]
    assert capsys.readouterr().out.count("times_in_another_unit") == 1
    assert next(read_events(path, "jsonl")).event_time == 1_770_000_000_000


def test_m3_session_ends_are_read_and_named(tmp_path: Path) -> None:
    """Three sessions by their format; by another format the message names it."""
    path = write(tmp_path / "ends.jsonl", SESSION_ENDS)
    assert items(read_sessions(path, "session-ends")) == [["chair", "lamp"]] * 3
    with pytest.raises(InsessionError, match=r"session-ends topic: use --format session-ends"):
        read_sessions(path, "jsonl")


def test_m4_diginetica_with_underscores_is_diginetica(tmp_path: Path) -> None:
    """Both spellings of the published header are read."""
    text = "session_id;user_id;item_id;timeframe;eventdate\n1;NA;10;1000;2016-05-09\n1;NA;11;5000;2016-05-09\n"
    assert items(read_sessions(write(tmp_path / "a.csv", text), "diginetica")) == [["10", "11"]]


def test_m5_a_shops_own_json_is_read_by_its_mapping(tmp_path: Path) -> None:
    """One session with the mapping; without it the message says that there is one to write."""
    lines = [
        {"type": "track", "messageId": f"m{n}", "anonymousId": "anon-1", "userId": None, "event": "Product Viewed"}
        | {"timestamp": f"2026-11-20T10:00:0{n}.000Z", "properties": {"product_id": item}}
        for n, item in ((1, "chair"), (2, "lamp"))
    ]
    path = write(tmp_path / "a.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    paths = {"visitor_id": "anonymousId", "event_type": "event", "event_time": "timestamp"}
    mapping = FieldMapping(
        paths=paths | {"item_id": "properties.product_id"}, values={"event_type": {"Product Viewed": "view"}}
    )
    assert items(read_sessions(path, "jsonl", options=ReadOptions(mapping=mapping))) == [["chair", "lamp"]]
    assert [event.item_id for event in read_events(path, "jsonl", options=ReadOptions(mapping=mapping))] == [
        "chair",
        "lamp",
    ]
    with pytest.raises(InsessionError, match=r"\[clickstream\.mapping\] of --config"):
        read_sessions(path, "jsonl")


def test_m6_pages_are_ignored_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A session of views with pages between is one session, and no page is malformed."""
    lines = [
        click(event_time=1_795_168_800_000 + n, event_id=f"e{n}", **({"item_id": "chair"} if n % 2 else {}))
        if n % 2
        else json.dumps({"visitor_id": "v1", "event_type": "page_view", "event_time": 1_795_168_800_000 + n}) + "\n"
        for n in range(40)
    ]
    sessions = read_sessions(write(tmp_path / "a.jsonl", "".join(lines)), "jsonl")
    assert items(sessions) == [["chair"] * 20]
    told = capsys.readouterr().out
    assert "malformed" not in told
    assert "ignored=20" in told


def test_m8_otto_in_seconds_is_a_minute(tmp_path: Path) -> None:
    """The copy of OTTO in seconds is read as what it is."""
    events = [{"aid": n, "ts": 1_660_000_000 + 30 * n, "type": "clicks"} for n in range(3)]
    path = write(tmp_path / "a.jsonl", json.dumps({"session": 1, "events": events}) + "\n")
    times_ms = read_sessions(path, "otto").times_ms
    assert times_ms is not None
    assert times_ms[-1] - times_ms[0] == 60_000


@pytest.mark.parametrize(
    "text", ["10,11,12\n11,12\n", "10, 11, 12\n11, 12\n", "10;11;12\n11;12\n", "10|11|12\n11|12\n"]
)
def test_m10_commas_part_items(tmp_path: Path, text: str) -> None:
    """No item is called `10,11,12`."""
    assert items(read_sessions(write(tmp_path / "a.txt", text), "sequences")) == [["10", "11", "12"], ["11", "12"]]


def test_m12_a_table_is_read_by_its_columns(tmp_path: Path) -> None:
    """One session of two items, nine seconds apart."""
    path = write(tmp_path / "a.csv", TABLE)
    sessions = read_sessions(
        path, "csv", options=ReadOptions(parse_layout(["session=session_id,item=item_id,time=timestamp"], []))
    )
    assert items(sessions) == [["10", "11"]]
    assert sessions.times_ms is not None
    assert sessions.times_ms.tolist() == [1_700_000_000_000, 1_700_000_009_000]


@pytest.mark.parametrize("data_format", DATA_FORMATS)
def test_m12_a_table_is_named_by_every_format_that_refuses_it(tmp_path: Path, data_format: DataFormat) -> None:
    """The message proposes the columns, whichever format was given."""
    with pytest.raises(InsessionError) as refusal:
        read_sessions(write(tmp_path / "a.csv", TABLE), data_format)
    expected = (
        "an interaction a line" if data_format == "recbole" else "--columns session=session_id,item=item_id,time="
    )
    assert expected in str(refusal.value) or (data_format == "parquet" and "insession[parquet]" in str(refusal.value))


@pytest.mark.parametrize("data_format", ["sequences", "session-rec", "rees46"])
def test_m12_what_looks_like_something_else_is_wrong_usage_or_no_data(tmp_path: Path, data_format: DataFormat) -> None:
    """Another file's table is never learned from."""
    path = write(tmp_path / "a", "t_dat,customer_id,article_id,price\n2018-09-20,c,1,0.1\n")
    with pytest.raises((UsageError, InsessionError), match="use --format hm"):
        read_sessions(path, data_format)
