import gzip
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest

from schemas.errors import InsessionError, UsageError
from session_model.datasets import DataFormat, read_events, read_sessions
from session_model.sessions import Sessions

# Lines made by hand in the form of each published file.
RSC15_CLICKS = """\
1,2014-04-07T10:51:09.277Z,214536502,0
1,2014-04-07T10:54:09.868Z,214536500,S
2,2014-04-07T10:52:00.000Z,214536500,0
"""
RSC15_BUYS = "2,2014-04-07T11:00:00.000Z,214536500,12462,1\n1,2014-04-07T10:55:00.000Z,214536500,0,1\n"
DIGINETICA_VIEWS = """\
sessionId;userId;itemId;timeframe;eventdate
1;NA;81766;526309;2016-05-09
1;NA;31331;1031018;2016-05-09
2;17;32118;243569;2016-05-10
"""
DIGINETICA_PURCHASES = "sessionId;userId;timeframe;eventdate;ordernumber;itemId\n2;17;300000;2016-05-10;16421;32118\n"
RETAILROCKET_EVENTS = """\
timestamp,visitorid,event,itemid,transactionid
1433221332117,257597,view,355908,
1433224214164,257597,addtocart,248676,
1433224214165,992329,view,248676,
1433223132117,257597,transaction,248676,4000
"""
REES46_EVENTS = """\
event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session
2019-10-01 00:00:00 UTC,view,44600062,2103807459595387724,,shiseido,35.79,541312140,72d76fde
2019-10-01 00:00:05 UTC,cart,44600062,2103807459595387724,,shiseido,35.79,541312140,72d76fde
2019-10-01 00:00:09 UTC,remove_from_cart,44600062,2103807459595387724,,,35.79,541312140,72d76fde
2019-10-01 00:00:01 UTC,purchase,3900821,2053013552326770905,,aqua,,554748717,9333dfbd
"""
OTTO_SESSIONS = """\
{"session":0,"events":[{"aid":1517085,"ts":1659304800025,"type":"clicks"},{"aid":1563459,"ts":1659304904511,"type":"carts"}]}
{"session":1,"events":[{"aid":424964,"ts":1659304800000,"type":"orders"}]}
"""
FIRST_FILES: dict[DataFormat, tuple[str, str]] = {
    "rsc15": ("yoochoose-clicks.dat", RSC15_CLICKS),
    "diginetica": ("train-item-views.csv", DIGINETICA_VIEWS),
    "retailrocket": ("events.csv", RETAILROCKET_EVENTS),
    "rees46": ("2019-Oct.csv", REES46_EVENTS),
    "otto": ("otto-recsys-train.jsonl", OTTO_SESSIONS),
}


def shape(sessions: Sessions) -> dict[str, list[str]]:
    """Give the item ids of each session."""
    ids = [sessions.item_ids[item] for item in sessions.items]
    bounds = zip(sessions.starts[:-1], sessions.starts[1:], strict=True)
    return {session_id: ids[start:end] for session_id, (start, end) in zip(sessions.session_ids, bounds, strict=True)}


def test_rsc15_reads_the_buys_that_lie_beside_the_clicks(tmp_path: Path) -> None:
    """From the folder come clicks and buys, a price of 0 being unknown; from the file the clicks alone."""
    (tmp_path / "yoochoose-clicks.dat.gz").write_bytes(gzip.compress(RSC15_CLICKS.encode()))
    clicks = read_sessions(tmp_path / "yoochoose-clicks.dat.gz", "rsc15")
    assert shape(clicks) == {"2": ["214536500"], "1": ["214536502", "214536500"]}
    assert clicks.times_ms is not None
    assert clicks.times_ms.tolist() == [1396867920000, 1396867869277, 1396868049868]

    (tmp_path / "yoochoose-buys.dat").write_text(RSC15_BUYS)
    events = list(read_events(tmp_path, "rsc15"))
    assert [(e.session_id, e.event_type, e.price) for e in events] == [
        ("1", "view", None),
        ("2", "view", None),
        ("1", "view", None),
        ("1", "purchase", None),
        ("2", "purchase", 12462.0),
    ]


def test_diginetica_times_are_the_date_a_moment_of_it_and_the_time_inside_the_session(tmp_path: Path) -> None:
    """The moment is made from the session's name, so purchases join by the session, and long sessions are not last."""
    (tmp_path / "train-item-views.csv").write_text(DIGINETICA_VIEWS)
    (tmp_path / "train-purchases.csv").write_text(DIGINETICA_PURCHASES)
    events = list(read_events(tmp_path, "diginetica"))
    first, second = 1462752000000 + crc32(b"1") % 86_400_000, 1462838400000 + crc32(b"2") % 86_400_000
    assert [(e.session_id, e.item_id, e.event_type, e.event_time) for e in events] == [
        ("1", "81766", "view", first + 526309),
        ("1", "31331", "view", first + 1031018),
        ("2", "32118", "view", second + 243569),
        ("2", "32118", "purchase", second + 300000),
    ]


def test_retailrocket_visitors_part_into_sessions_at_the_gap(tmp_path: Path) -> None:
    """A visitor's events are one session up to thirty minutes between two, inclusive; types are translated."""
    path = tmp_path / "events.csv"
    path.write_text(RETAILROCKET_EVENTS)
    sessions = read_sessions(path, "retailrocket")
    assert shape(sessions) == {
        "257597-1433221332117": ["355908", "248676", "248676"],
        "992329-1433224214165": ["248676"],
    }
    assert [e.event_type for e in read_events(path, "retailrocket")] == ["view", "purchase", "cart", "view"]


def test_rees46_keeps_event_types_and_prices(tmp_path: Path) -> None:
    """Views, carts, removals and purchases with their price, in the published session."""
    path = tmp_path / "any-name.csv"
    path.write_text(REES46_EVENTS)
    sessions = read_sessions(path, "rees46")
    assert shape(sessions) == {"9333dfbd": ["3900821"], "72d76fde": ["44600062"] * 3}
    assert [e.event_type for e in read_events(path, "rees46")] == ["view", "purchase", "cart", "remove"]
    np.testing.assert_allclose(sessions.prices, [np.nan, 35.79, 35.79, 35.79])


def test_otto_reads_every_event_of_a_line(tmp_path: Path) -> None:
    """A line is a session; clicks, carts and orders become views, carts and purchases."""
    path = tmp_path / "test.jsonl"
    path.write_text(OTTO_SESSIONS)
    events = list(read_events(path, "otto"))
    assert [(e.session_id, e.item_id, e.event_type) for e in events] == [
        ("1", "424964", "purchase"),
        ("0", "1517085", "view"),
        ("0", "1563459", "cart"),
    ]


@pytest.mark.parametrize(
    ("data_format", "line", "reason"),
    [
        ("rsc15", "3,2014-04-07", "not enough values"),
        ("rsc15", "3,yesterday,7,0", "Invalid isoformat"),
        ("rsc15", "3,1914-04-07T10:51:09Z,7,0", "no time"),
        ("diginetica", "3;NA;81766;x;2016-05-09", "invalid literal"),
        ("diginetica", "3;NA;81766", "too few columns"),
        ("retailrocket", "1433221332117,1,like,2,", "like"),
        ("rees46", "2019-10-01 00:00:00 UTC,view,,1,,,35.79,1,s", "an id has 0 characters"),
        ("rees46", "2019-10-01 00:00:00 UTC,view,1,1,,,-1,1,s", "no price"),
        ("otto", '{"session":0,"events":[{"aid":1,"ts":1,"type":"likes"}]}', "Invalid enum"),
    ],
)
def test_a_malformed_line_is_left_out_and_named(
    tmp_path: Path, data_format: DataFormat, line: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line that cannot be read costs itself only, and the log says which and why."""
    name, text = FIRST_FILES[data_format]
    path = tmp_path / name
    path.write_text(text)
    good = len(read_sessions(path, data_format).items)
    path.write_text(text + line + "\n")
    assert len(read_sessions(tmp_path, data_format).items) == good
    told = capsys.readouterr().out
    assert f"line={text.count(chr(10)) + 1}" in told
    assert reason in told


@pytest.mark.parametrize("data_format", FIRST_FILES)
def test_a_folder_without_the_published_file_is_wrong_usage(tmp_path: Path, data_format: DataFormat) -> None:
    """The message names the file that is looked for."""
    with pytest.raises(UsageError, match=FIRST_FILES[data_format][0]):
        read_sessions(tmp_path, data_format)


@pytest.mark.parametrize("data_format", ["diginetica", "retailrocket", "rees46"])
def test_another_files_header_is_wrong_usage(tmp_path: Path, data_format: DataFormat) -> None:
    """Columns are found by their names; a file that lacks one is refused."""
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(UsageError, match="lacks"):
        read_sessions(path, data_format)


@pytest.mark.parametrize("data_format", ["rsc15", "otto"])
def test_a_file_without_a_usable_line_is_refused(tmp_path: Path, data_format: DataFormat) -> None:
    """Nothing to learn from is an error."""
    path = tmp_path / "a"
    path.write_text("nothing\n")
    with pytest.raises(InsessionError, match="no usable"):
        read_sessions(path, data_format)
