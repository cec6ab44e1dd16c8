import gzip
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest

from schemas.errors import InsessionError, UsageError
from session_model.data.formats import DataFormat, read_events, read_sessions
from session_model.data.sessions import Sessions
from tests.session_model.published_files import (
    COVEO_EVENTS,
    CRITEO_CLICKS,
    DIGINETICA_PURCHASES,
    DIGINETICA_VIEWS,
    FIRST_FILES,
    HM_TRANSACTIONS,
    INSTACART_PRODUCTS,
    OTTO_SESSIONS,
    REES46_EVENTS,
    RETAILROCKET_EVENTS,
    RSC15_BUYS,
    RSC15_CLICKS,
    TAOBAO_EVENTS,
    TMALL_EVENTS,
)


def shape(sessions: Sessions) -> dict[str, list[str]]:
    """Return the item ids of each session."""
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


def test_coveo_reads_product_actions_and_no_pages(tmp_path: Path) -> None:
    """Details, carts and purchases; a page, and a click of which nothing is known, are none."""
    path = tmp_path / "browsing_train.csv"
    path.write_text(COVEO_EVENTS)
    assert shape(read_sessions(tmp_path, "coveo")) == {"s1": ["p1"] * 3}
    assert [e.event_type for e in read_events(path, "coveo")] == ["view", "cart", "purchase"]


def test_taobao_has_no_header_and_sessions_by_the_gap(tmp_path: Path) -> None:
    """Four behaviours, in seconds."""
    path = tmp_path / "UserBehavior.csv"
    path.write_text(TAOBAO_EVENTS)
    assert list(shape(read_sessions(path, "taobao")).values()) == [["2268318"] * 2, ["2333346"], ["2576651"]]
    assert [e.event_type for e in read_events(path, "taobao")] == ["view", "cart", "favorite", "purchase"]


def test_tmall_days_are_of_2014_and_are_sessions(tmp_path: Path) -> None:
    """Month and day are all that is told."""
    path = tmp_path / "user_log_format1.csv"
    path.write_text(TMALL_EVENTS)
    assert list(shape(read_sessions(path, "tmall")).values()) == [["323294", "844400"], ["575153"]]
    assert [(e.event_type, e.event_time) for e in read_events(path, "tmall")] == [
        ("view", 1409270400000),
        ("purchase", 1409270400000),
        ("favorite", 1415664000000),
    ]


def test_hm_purchases_of_a_day_are_a_session(tmp_path: Path) -> None:
    """Ids keep their leading zeros, and an absent price costs nothing."""
    (tmp_path / "transactions_train.csv").write_text(HM_TRANSACTIONS)
    assert list(shape(read_sessions(tmp_path, "hm")).values()) == [["0663713001", "0541518023"], ["0505221004"]]
    assert {e.event_type for e in read_events(tmp_path, "hm")} == {"purchase"}


def test_instacart_orders_have_no_times_and_stand_as_they_were_filled(tmp_path: Path) -> None:
    """By the place in the cart, orders in file order, both parts."""
    (tmp_path / "order_products__prior.csv").write_text(INSTACART_PRODUCTS)
    (tmp_path / "order_products__train.csv").write_text("order_id,product_id,add_to_cart_order,reordered\n1,7,1,0\n")
    sessions = read_sessions(tmp_path, "instacart")
    assert shape(sessions) == {"2": ["33120", "28985"], "3": ["33754"], "1": ["7"]}
    assert sessions.session_ids == ["2", "3", "1"]
    assert sessions.times_ms is None


def test_criteo_sales_follow_their_click(tmp_path: Path) -> None:
    """The delay is in seconds; the amount is the price of the purchase."""
    (tmp_path / "CriteoSearchData").write_text(CRITEO_CLICKS)
    events = list(read_events(tmp_path, "criteo"))
    assert [(e.item_id, e.event_type, e.price) for e in events] == [
        ("i1", "view", 9.5),
        ("i2", "view", None),
        ("i2", "purchase", 21.5),
    ]
    assert events[2].event_time_ms - events[1].event_time_ms == 600_000


def test_all_parts_are_read_in_the_order_of_time_and_none_twice(tmp_path: Path) -> None:
    """Months that follow each other over a year's end, plain before compressed; what is no month is left alone."""
    header = REES46_EVENTS.splitlines()[0] + "\n"
    for number, name in enumerate(("2020-Jan.csv", "2019-Dec.csv", "2019-Oct.csv", "2020-Apr.csv")):
        (tmp_path / name).write_text(header + f"2020-01-0{number + 1} 00:00:00 UTC,view,{name[:8]},1,,,1,1,s\n")
    (tmp_path / "2019-Dec.csv.gz").write_bytes(gzip.compress((tmp_path / "2019-Dec.csv").read_bytes()))
    (tmp_path / "2019-Nov.csv.gz").write_bytes(
        gzip.compress((header + "2020-01-01 00:00:00 UTC,view,2019-Nov,1,,,1,1,s\n").encode())
    )
    (tmp_path / "2020-notes.txt").write_text("nothing\n")
    sessions = read_sessions(tmp_path, "rees46")
    assert sessions.item_ids == ["2019-Oct", "2019-Nov", "2019-Dec", "2020-Jan", "2020-Apr"]
    assert len(sessions.items) == 5


def test_a_month_without_events_is_no_fault(tmp_path: Path) -> None:
    """An empty part is read as nothing; a file that is all there is may not be empty."""
    (tmp_path / "2019-Oct.csv").write_text(REES46_EVENTS)
    (tmp_path / "2019-Nov.csv").write_text("")
    assert len(read_sessions(tmp_path, "rees46").items) == 4


def test_parts_of_otto_and_a_glob_are_read(tmp_path: Path) -> None:
    """The test part is not among those of a folder."""
    for name, session in (("train-0.jsonl", 1), ("train-1.jsonl", 2), ("test.jsonl", 3)):
        line = f'{{"session":{session},"events":[{{"aid":1,"ts":1659304800025,"type":"clicks"}}]}}\n'
        (tmp_path / name).write_text(line)
    assert read_sessions(tmp_path, "otto").session_ids == ["1", "2"]
    assert read_sessions(tmp_path / "t*.jsonl", "otto").session_ids == ["3", "1", "2"]


def test_cells_may_be_quoted(tmp_path: Path) -> None:
    """As after a way through pandas or a database."""
    path = tmp_path / "a.csv"
    path.write_text('"timestamp","visitorid","event","itemid"\n"1433221332117","v,1","view","3"\n')
    assert shape(read_sessions(path, "retailrocket")) == {"v,1-1433221332117": ["3"]}


def test_a_file_of_purchases_alone_is_read_as_such(tmp_path: Path) -> None:
    """What a published file is, its name says."""
    path = tmp_path / "yoochoose-buys.dat"
    path.write_text(RSC15_BUYS)
    assert {e.event_type for e in read_events(path, "rsc15")} == {"purchase"}


@pytest.mark.parametrize(
    ("data_format", "line", "reason"),
    [
        ("rsc15", "3,2014-04-07", "not enough values"),
        ("rsc15", "3,yesterday,7,0", "no time in ISO 8601"),
        ("rsc15", "3,1914-04-07T10:51:09Z,7,0", "no time"),
        ("diginetica", "3;NA;81766;x;2016-05-09", "invalid literal"),
        ("diginetica", "3;NA;81766", "too few columns"),
        ("retailrocket", "1433221332117,1,like,2,", "like"),
        ("rees46", "2019-10-01 00:00:00 UTC,view,,1,,,35.79,1,s", "an id has 0 bytes"),
        ("rees46", "2019-10-01 00:00:00 UTC,view,1,1,,,-1,1,s", "no price"),
        ("otto", '{"session":0,"events":[{"aid":1,"ts":1,"type":"likes"}]}', "Invalid enum"),
        ("otto", '{"session":0,"events":[{"aid":1,"ts":1,"type":"clicks"}]}', "no time"),
        ("coveo", "s1,event_product,detail,p1,0,u1", "no time"),
        ("taobao", "1,2,3,pv,-1511544070", "no time"),
        ("taobao", "1,2,3,like,1511544070", "like"),
        ("tmall", "1,2,3,4,5,1332,0", "no time"),
        ("hm", "20.09.2018,c,1,0.1,2", "no time"),
        ("instacart", "2,28985,first,1", "invalid literal"),
        ("criteo", "0\t-1\t-1\t1598891820", "too few columns"),
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


@pytest.mark.parametrize("data_format", ["diginetica", "retailrocket", "rees46", "coveo", "tmall", "hm", "instacart"])
def test_another_files_header_is_wrong_usage(tmp_path: Path, data_format: DataFormat) -> None:
    """Columns are found by their names; a file that lacks one is refused."""
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(UsageError, match="lacks"):
        read_sessions(path, data_format)


@pytest.mark.parametrize("data_format", ["rsc15", "otto", "taobao", "criteo"])
def test_a_file_without_a_usable_line_is_refused(tmp_path: Path, data_format: DataFormat) -> None:
    """Nothing to learn from is an error."""
    path = tmp_path / "a"
    path.write_text("nothing\n")
    with pytest.raises(InsessionError, match="no usable"):
        read_sessions(path, data_format)
