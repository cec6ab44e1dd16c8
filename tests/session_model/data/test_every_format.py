"""What every format of DATA keeps, whatever its files look like: see session_model.data.formats.EventFormat."""

import gzip
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from schemas import wire
from schemas.errors import InsessionError, UsageError
from schemas.events import ClickEvent
from session_model.data.formats import AS_IT_IS, DATA_FORMATS, DataFormat, ReadOptions, read_events, read_sessions
from session_model.data.sessions import EVENT_TYPE_CODES, Sessions
from session_model.data.table_layout import parse_layout
from tests.session_model.published_files import FIRST_FILES
from tests.session_model.tfrecord_data import write_data_set

ROWS = [("s1", "a", 1_700_000_000), ("s2", "c", 1_700_000_002), ("s1", "b", 1_700_000_001), ("s2", "a", 1_700_000_002)]
TABLE = "session,item,time\n" + "".join(f"{session},{item},{time}\n" for session, item, time in ROWS)
BY_NAME = ReadOptions(parse_layout(["session=session,item=item,time=time"], []))
OPTIONS: dict[DataFormat, ReadOptions] = {"csv": BY_NAME, "parquet": BY_NAME}
WITHOUT_TIMES = {"sequences", "instacart"}


def clicks() -> str:
    """Write the rows as click events."""
    return "".join(
        json.dumps({"visitor_id": session, "event_type": "view", "event_time": 1000 * time, "item_id": item}) + "\n"
        for session, item, time in ROWS
    )


def ends() -> str:
    """Write two sessions as they end."""
    record = {"end_reason": "inactivity", "event_count": 2, "ended_at": "2023-11-14T22:13:22Z"}
    record |= {"started_at": "2023-11-14T22:13:20Z", "visitor_key": "k"}
    return "".join(
        json.dumps(
            {
                **record,
                "id": name,
                "session_id": name,
                "events": [["view", 1000 * time, item, 2.5] for session, item, time in ROWS if session == name],
            }
        )
        + "\n"
        for name in ("s1", "s2")
    )


OWN_FILES: dict[DataFormat, tuple[str, str]] = {
    "session-rec": ("a.tsv", "SessionId\tItemId\tTime\n" + TABLE.partition("\n")[2].replace(",", "\t")),
    "sequences": ("a.txt", "a b\nc a\n"),
    "jsonl": ("a.jsonl", clicks()),
    "session-ends": ("a.jsonl", ends()),
    "csv": ("a.csv", TABLE),
    "recbole": (
        "a.inter",
        "session_id:token\titem_id:token\ttimestamp:float\n" + TABLE.partition("\n")[2].replace(",", "\t"),
    ),
}
FILES = OWN_FILES | FIRST_FILES


@pytest.fixture(params=DATA_FORMATS)
def data_format(request: pytest.FixtureRequest) -> DataFormat:
    """Return each format in turn: one without an example is an error here."""
    return request.param


@pytest.fixture
def path(data_format: DataFormat, tmp_path: Path) -> Path:
    """Write its example."""
    if data_format == "parquet":
        arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        columns = zip(*ROWS, strict=True)
        parquet.write_table(arrow.table([*columns], names=["session", "item", "time"]), tmp_path / "a.parquet")
        return tmp_path / "a.parquet"
    if data_format == "tfrecord":
        sessions = [wire.decode_session_summary(line) for line in ends().splitlines()]
        return write_data_set(tmp_path, {"train": sessions}) / "train" / "part-00000.tfrecord"
    name, text = FILES[data_format]
    (tmp_path / name).write_text(text)
    return tmp_path / name


def sessions_of(path: Path, data_format: DataFormat) -> Sessions:
    """Read it with the options that it needs."""
    return read_sessions(path, data_format, options=OPTIONS.get(data_format, AS_IT_IS))


def events_of(path: Path, data_format: DataFormat) -> list[ClickEvent]:
    """Read it as events."""
    return list(read_events(path, data_format, options=OPTIONS.get(data_format, AS_IT_IS)))


def test_sessions_are_whole_and_in_the_order_of_their_ends(path: Path, data_format: DataFormat) -> None:
    """Columns of the stated types; every event in one session, oldest first; no item twice in the vocabulary."""
    sessions = sessions_of(path, data_format)
    n_events = len(sessions.items)
    columns = (sessions.starts, sessions.items, sessions.event_types, sessions.prices)
    assert [column.dtype for column in columns] == [np.int64, np.int32, np.uint8, np.float32]
    assert (sessions.starts[0], sessions.starts[-1], len(sessions.starts)) == (0, n_events, len(sessions) + 1)
    assert (np.diff(sessions.starts) > 0).all()
    assert len(sessions.event_types) == len(sessions.prices) == n_events
    assert len(set(sessions.item_ids)) == len(sessions.item_ids)
    assert set(sessions.items[sessions.items >= 0]) == set(range(len(sessions.item_ids)))
    assert (sessions.event_types < len(EVENT_TYPE_CODES)).all()
    assert (sessions.times_ms is None) == (data_format in WITHOUT_TIMES)
    if sessions.times_ms is not None:
        assert sessions.times_ms.dtype == np.int64
        assert all((np.diff(part) >= 0).all() for part in np.split(sessions.times_ms, sessions.starts[1:-1]))
        assert (np.diff(sessions.times_ms[sessions.starts[1:] - 1]) >= 0).all()


def test_events_are_those_of_the_sessions_in_the_order_of_time(path: Path, data_format: DataFormat) -> None:
    """What is replayed is what is learned from: the same items, types and prices, and each event once."""
    sessions, events = sessions_of(path, data_format), events_of(path, data_format)
    assert [event.event_time_ms for event in events] == sorted(event.event_time_ms for event in events)
    ids = [(event.visitor_id, event.event_id) for event in events if event.event_id is not None]
    assert len(set(ids)) == len(ids) == (0 if data_format == "jsonl" else len(events))
    learned = zip(sessions.items, sessions.event_types, sessions.prices, strict=True)
    assert Counter((event.item_id, event.event_type, event.price) for event in events) == Counter(
        (
            sessions.item_ids[item] if item >= 0 else None,
            EVENT_TYPE_CODES[kind],
            None if np.isnan(price) else float(price),
        )
        for item, kind, price in learned
    )


@pytest.mark.parametrize("data_format", [one for one in DATA_FORMATS if one != "parquet"])
def test_a_compressed_file_is_read_as_the_plain_one(path: Path, data_format: DataFormat) -> None:
    """Its first bytes tell; Parquet compresses its columns itself."""
    plain = events_of(path, data_format)
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert events_of(path, data_format) == plain


def test_an_empty_file_is_refused(path: Path, data_format: DataFormat) -> None:
    """Nothing to learn from is an error that names the file, not an empty model."""
    path.write_bytes(b"")
    said = "Parquet" if data_format == "parquet" else "empty|no usable"
    with pytest.raises(InsessionError, match=rf"{path.name}.*({said})"):
        sessions_of(path, data_format)


def test_a_file_that_is_not_there_is_wrong_usage(path: Path, data_format: DataFormat) -> None:
    """The message names it."""
    path.unlink()
    with pytest.raises(UsageError, match=path.name):
        sessions_of(path, data_format)
