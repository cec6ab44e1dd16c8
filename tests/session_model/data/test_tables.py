import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import InsessionError, UsageError
from session_model.data.formats import DataFormat, ReadOptions, read_events, read_sessions
from session_model.data.sessions import Sessions
from session_model.data.table_layout import TableLayout, parse_layout

EVENTS = '''\
session,item,ts,action,price
s1,a,2026-01-01T10:00:00Z,pv,1.5
s1,b,2026-01-01T10:00:05Z,add,"12,95"
s2,"c, and ""d""",2026-01-01T09:00:00Z,pv,none
s1,b,2026-01-01T10:00:09Z,buy,12.95
s2,,2026-01-01T09:00:09Z,scroll,
'''
COLUMNS = "session=session,item=item,time=ts,type=action,price=price"
TYPES = "pv=view,add=cart,buy=purchase"


def read(path: Path, columns: str, types: str = "", data_format: DataFormat = "csv") -> Sessions:
    """Read a table."""
    return read_sessions(path, data_format, options=ReadOptions(parse_layout([columns], [types] if types else [])))


def shape(sessions: Sessions) -> dict[str, list[str]]:
    """Return the item ids of each session."""
    ids = [sessions.item_ids[item] if item >= 0 else "" for item in sessions.items]
    bounds = zip(sessions.starts[:-1], sessions.starts[1:], strict=True)
    return {session_id: ids[start:end] for session_id, (start, end) in zip(sessions.session_ids, bounds, strict=True)}


def write(path: Path, text: str) -> Path:
    """Make a file."""
    path.write_text(text)
    return path


def test_a_table_with_types_prices_and_quotes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Values are called as was said, others are ignored and counted, and a price that is none costs nothing."""
    path = write(tmp_path / "a.csv", EVENTS)
    assert shape(read(path, COLUMNS, TYPES)) == {"s2": ['c, and "d"'], "s1": ["a", "b", "b"]}
    assert "kinds={'scroll': 1}" in capsys.readouterr().out
    events = list(read_events(path, "csv", options=ReadOptions(parse_layout([COLUMNS], [TYPES]))))
    assert [(e.event_type, e.price) for e in events] == [
        ("view", None),
        ("view", 1.5),
        ("cart", pytest.approx(12.95)),
        ("purchase", pytest.approx(12.95)),
    ]


@pytest.mark.parametrize("delimiter", [";", "\t", "|", ","])
def test_the_delimiter_is_that_of_the_named_columns(tmp_path: Path, delimiter: str) -> None:
    """Commas inside cells do not mislead, nor does a byte-order mark."""
    text = f"\ufeffs{delimiter}i{delimiter}t\n1{delimiter}a{delimiter}1700000000\n1{delimiter}b{delimiter}1700000001\n"
    assert shape(read(write(tmp_path / "a.csv", text), "session=s,item=i,time=t")) == {"1": ["a", "b"]}


def test_a_cell_may_hold_lines(tmp_path: Path) -> None:
    """A line break inside quotes is none of the table."""
    text = 's,title,i,t\n1,"two\nlines",a,1700000000\n1,"""q""",b,1700000001\n'
    assert shape(read(write(tmp_path / "a.csv", text), "session=s,item=i,time=t")) == {"1": ["a", "b"]}


def test_a_quote_that_nobody_closes_costs_its_record(tmp_path: Path) -> None:
    """The csv module's bound ends it; what follows is read."""
    text = "s,i,t\n1,a,1700000000\n" + '1,"' + "x" * 140_000 + "\n1,b,1700000001\n"
    assert shape(read(write(tmp_path / "a.csv", text), "session=s,item=i,time=t")) == {"1": ["a", "b"]}


def test_columns_without_a_header_are_named_by_number(tmp_path: Path) -> None:
    """From 1; a header that is there costs itself only."""
    rows = "a,1700000000,s\nb,1700000001,s\n"
    for text in (rows, "item,time,session\n" + rows):
        assert shape(read(write(tmp_path / "a.csv", text), "session=3,item=1,time=2")) == {"s": ["a", "b"]}


def test_parts_have_a_header_each_or_the_first_alone(tmp_path: Path) -> None:
    """As Spark writes them, and as `split` leaves them; an empty part is no fault."""
    write(tmp_path / "a0", "s,i,t\n1,a,1700000000\n")
    write(tmp_path / "a1", "1,b,1700000001\n")
    write(tmp_path / "a2", "t,i,s\n1700000002,c,1\n")
    write(tmp_path / "a3", "")
    assert shape(read(tmp_path, "session=s,item=i,time=t")) == {"1": ["a", "b", "c"]}


def test_visitors_part_into_sessions_at_the_gap(tmp_path: Path) -> None:
    """Thirty minutes, as everywhere; with a session beside it, that is unique a visitor only."""
    rows = "v,s,i,t\n1,7,a,1700000000\n1,7,b,1700003600\n2,7,c,1700000000\n"
    path = write(tmp_path / "a.csv", rows)
    assert list(shape(read(path, "visitor=v,item=i,time=t")).values()) == [["a"], ["c"], ["b"]]
    assert shape(read(path, "visitor=v,session=s,item=i,time=t")) == {"2 7": ["c"], "1 7": ["a", "b"]}


def test_without_times_rows_stand_in_file_order_or_by_position(tmp_path: Path) -> None:
    """And so do the sessions."""
    path = write(tmp_path / "a.csv", "s,i,p\n2,a,3\n2,b,1\n1,c,2\n")
    assert list(shape(read(path, "session=s,item=i")).items()) == [("2", ["a", "b"]), ("1", ["c"])]
    assert list(shape(read(path, "session=s,item=i,position=p")).items()) == [("2", ["b", "a"]), ("1", ["c"])]
    assert read(path, "visitor=s,item=i").times_ms is None


def test_rows_that_are_no_events_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A row without an item is a page; one with too few cells, no time or no session is malformed."""
    text = "s,i,t\n1,a,1700000000\n1,,1700000001\n1,b\n1,b,\n,b,1700000001\n"
    assert shape(read(write(tmp_path / "a.csv", text), "session=s,item=i,time=t")) == {"1": ["a"]}
    told = capsys.readouterr().out
    assert "no item" in told
    assert "malformed=3" in told


def test_values_that_nothing_maps_are_named_where_nothing_is_left(tmp_path: Path) -> None:
    """So that `--event-types` can be written."""
    path = write(tmp_path / "a.csv", EVENTS)
    with pytest.raises(InsessionError, match=r"no interactions of a shop: pv 2, add 1"):
        read(path, COLUMNS)


@pytest.mark.parametrize(
    ("columns", "types", "message"),
    [
        ("session=s", "", "needs item"),
        ("item=i", "", "needs item=NAME, and session=NAME or visitor=NAME"),
        ("session=s,item=i,colour=c", "", "no such role"),
        ("session=s,item", "", "write NAME=VALUE"),
        ("session=s,item=i,item=j", "", "twice"),
        ("session=s,item=i", "pv=view", "name it, as --columns type=NAME"),
        ("session=s,item=i,type=t", "pv=look", "types are cart"),
    ],
)
def test_what_cannot_be_meant_is_wrong_usage(columns: str, types: str, message: str) -> None:
    """Each message says what to write."""
    with pytest.raises(UsageError, match=message):
        parse_layout([columns], [types] if types else [])


def test_a_column_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    """And with what could be meant."""
    path = write(tmp_path / "a.csv", "session_id,product_id,event_time\n1,a,1700000000\n")
    with pytest.raises(UsageError, match=r"no column sku .*--columns session=session_id,item=product_id,time=event_ti"):
        read(path, "session=session_id,item=sku")
    with pytest.raises(UsageError, match="leave out --columns"):
        read(path, "session=session_id,item=sku", data_format="jsonl")


@pytest.mark.parametrize("owner", ["session", "user"])
def test_recbole_says_its_columns_itself(tmp_path: Path, owner: str) -> None:
    """Sessions where there are some, else users by the gap."""
    text = f"{owner}_id:token\titem_id:token\ttimestamp:float\tc:token_seq\n1\ta\t1.7e9\tx y\n1\tb\t1700000001.5\tx\n"
    sessions = read_sessions(write(tmp_path / "a.inter", text), "recbole")
    assert list(shape(sessions).values()) == [["a", "b"]]
    assert sessions.times_ms is not None
    assert sessions.times_ms.tolist() == [1_700_000_000_000, 1_700_000_001_500]


def test_recbole_lists_of_items_are_refused(tmp_path: Path) -> None:
    """Such a file holds the prefixes of a session, so each click many times."""
    text = "session_id:token\titem_id_list:token_seq\titem_id:token\n1\ta b\tc\n"
    with pytest.raises(UsageError, match="each click many times"):
        read_sessions(write(tmp_path / "a.inter", text), "recbole")


def parquet(path: Path, **columns: Any) -> Path:
    """Make a Parquet file; skips where the extra is not installed."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table(columns), path)
    return path


MOMENTS = [datetime(2026, 1, 1, 10, 0, second, tzinfo=UTC) for second in (5, 0, 9)]


@pytest.mark.parametrize(
    "times",
    [
        MOMENTS,
        [moment.replace(tzinfo=None) for moment in MOMENTS],
        [int(moment.timestamp()) for moment in MOMENTS],
        [int(moment.timestamp() * 1e9) for moment in MOMENTS],
        [moment.timestamp() for moment in MOMENTS],
        [moment.isoformat() for moment in MOMENTS],
    ],
)
def test_parquet_times_of_every_kind(tmp_path: Path, times: list[Any]) -> None:
    """Timestamps with and without a zone, numbers and texts are the same moments."""
    path = parquet(tmp_path / "a.parquet", s=[1, 1, 1], i=["b", "a", "c"], t=times)
    sessions = read(path, "session=s,item=i,time=t", data_format="parquet")
    assert shape(sessions) == {"1": ["a", "b", "c"]}
    assert sessions.times_ms is not None
    assert sessions.times_ms[0] == 1_767_261_600_000


def test_parquet_ids_and_prices_of_every_kind(tmp_path: Path) -> None:
    """Whole numbers that a table holds as fractions are those numbers; decimals are prices; dictionaries are texts."""
    pa = pytest.importorskip("pyarrow")
    path = parquet(
        tmp_path / "a.parquet",
        s=[7.0, 7.0, None],
        i=pa.array(["x", "y", "z"]).dictionary_encode(),
        p=[Decimal("1.50"), None, Decimal("2.00")],
        t=pa.array([1_700_000_000_123_456_789] * 3, pa.timestamp("ns")),
    )
    sessions = read(path, "session=s,item=i,price=p,time=t", data_format="parquet")
    assert shape(sessions) == {"7": ["x", "y"]}
    assert sessions.prices[0] == 1.5
    assert sessions.times_ms is not None
    assert sessions.times_ms[0] == 1_700_000_000_123


def test_parquet_parts_of_a_folder_are_one_table(tmp_path: Path) -> None:
    """As warehouses export them."""
    (tmp_path / "day=1").mkdir()
    parquet(tmp_path / "day=1" / "0.parquet", s=["1"], i=["a"])
    parquet(tmp_path / "1.parquet", s=["1"], i=["b"])
    assert shape(read(tmp_path, "session=s,item=i", data_format="parquet")) == {"1": ["b", "a"]}


def test_parquet_that_cannot_be_meant_is_wrong_usage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No Parquet, no such column, a column of lists, no extra, a Parquet file as CSV."""
    path = parquet(tmp_path / "a.parquet", s=["1"], i=[["a"]])
    with pytest.raises(UsageError, match="no column item"):
        read(path, "session=s,item=item", data_format="parquet")
    with pytest.raises(UsageError, match=r"column i .*holds no ids"):
        read(path, "session=s,item=i", data_format="parquet")
    with pytest.raises(UsageError, match="found: s, i"):
        read_sessions(path, "parquet")
    for layout in (None, TableLayout({"session": "s", "item": "i"})):
        with pytest.raises(UsageError, match="it looks like Parquet"):
            read_sessions(path, "csv", options=ReadOptions(layout))
    with pytest.raises(UsageError, match="it looks like CSV"):
        read(write(tmp_path / "a.csv", EVENTS), "session=session,item=item", data_format="parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r"install insession\[parquet\]"):
        read(path, "session=s,item=i", data_format="parquet")
