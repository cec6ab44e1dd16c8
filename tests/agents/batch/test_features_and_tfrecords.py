"""What is made of session ends: tables by SQL, and TFRecords that are learned from as the session ends are."""

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from agents.batch.features_job import packaged_queries, run_features
from agents.batch.tfrecords_job import TfrecordsJob, run_tfrecords
from schemas import wire
from schemas.errors import InsessionError, UsageError
from schemas.events import EventType
from schemas.ids import ItemId, SessionId
from schemas.records import SessionEvent, SessionSummary
from session_model.data.formats import read_sessions
from session_model.files import file_sha256

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.pipeline

DAY_MS = 86_400_000
START_MS = 1_772_323_200_000  # 2026-03-01
N_SESSIONS = 60


def session(number: int, *, is_bot: bool = False) -> SessionSummary:
    """Make a session of three events, of which each third one buys; ten a day."""
    begin_ms = START_MS + number * DAY_MS // 10
    kinds: list[EventType] = ["view", "view", "purchase" if number % 3 == 0 else "search"]
    events = [
        SessionEvent(kind, begin_ms + 1000 * n, None if kind == "search" else ItemId(f"i{(number + n) % 7}"), 2.5)
        for n, kind in enumerate(kinds)
    ]
    times = [datetime.fromtimestamp(ms / 1000, UTC) for ms in (begin_ms, begin_ms + 2000)]
    return SessionSummary(
        id=f"clickstream-0-{number}-v",
        visitor_key=f"v{number % 20}",
        session_id=SessionId(f"s{number}"),
        end_reason="inactivity",
        started_at=times[0],
        ended_at=times[1],
        event_count=3,
        events=events,
        is_bot=is_bot,
    )


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write two files: sixty sessions in mixed order, two of them twice, and a bot."""
    folder = tmp_path_factory.mktemp("session-ends")
    people = [wire.encode(session(number)) for number in np.random.default_rng(3).permutation(N_SESSIONS).tolist()]
    (folder / "part-00000.jsonl.gz").write_bytes(gzip.compress(b"\n".join(people[:40]) + b"\n"))
    bot = wire.encode(session(N_SESSIONS, is_bot=True))
    (folder / "part-00001.jsonl").write_bytes(b"\n".join([*people[38:], bot]) + b"\n")
    return folder


def rows_of(table: Path) -> list[dict[str, Any]]:
    """Read a table."""
    rows: list[dict[str, Any]] = pq.read_table(table).to_pylist()
    return rows


def test_the_packaged_queries_tell_days_items_sessions_and_transitions(
    spark: "SparkSession", ends: Path, tmp_path: Path
) -> None:
    """Each session counts once, and bots only where they are named."""
    manifest = run_features(spark, ends, tmp_path / "out", packaged_queries())
    assert set(manifest["tables"]) == {"daily", "items", "sessions", "transitions"}
    days = sorted(rows_of(tmp_path / "out" / "daily"), key=lambda row: row["day"])
    assert [(row["sessions"], row["bot_sessions"]) for row in days] == [(10, 0)] * 6 + [(0, 1)]
    assert (days[0]["events"], days[0]["sessions_with_purchase"], days[0]["revenue"]) == (30, 4, 10.0)
    items = {row["item_id"]: row for row in rows_of(tmp_path / "out" / "items")}
    assert sum(row["views"] for row in items.values()) == 2 * N_SESSIONS
    features = rows_of(tmp_path / "out" / "sessions")
    assert len(features) == N_SESSIONS
    assert {(row["views"], row["seconds"]) for row in features} == {(2, 2.0)}
    assert sum(row["purchased"] for row in features) == N_SESSIONS / 3
    pairs = {
        (row["item_id"], row["next_item_id"]): row["sessions"] for row in rows_of(tmp_path / "out" / "transitions")
    }
    assert pairs["i0", "i1"] == 9


def test_a_query_of_somebody_s_own_is_run_and_a_wrong_one_is_named(
    spark: "SparkSession", ends: Path, tmp_path: Path
) -> None:
    """Nothing is written where one of them is wrong."""
    run_features(spark, ends, tmp_path / "mine", {"bots": "SELECT count(*) AS n FROM sessions WHERE is_bot"})
    assert rows_of(tmp_path / "mine" / "bots") == [{"n": 1}]
    with pytest.raises(UsageError, match=r"wrong\.sql: .*no_such"):
        run_features(spark, ends, tmp_path / "wrong", {"wrong": "SELECT no_such FROM sessions"})
    assert not (tmp_path / "wrong").exists()


def test_tfrecords_are_the_session_ends_split_by_time(spark: "SparkSession", ends: Path, tmp_path: Path) -> None:
    """Both splits together hold each session of a person once; no session of the test ended before one of training."""
    out = tmp_path / "out"
    result = run_tfrecords(spark, TfrecordsJob(ends, out, test_share=0.2))
    assert json.loads((out / "schema.json").read_text())["splits"] == result["splits"]
    train, test = (read_sessions(out / name, "tfrecord") for name in ("train", "test"))
    assert (len(train), len(test)) == (47, 13)
    assert train.times_ms is not None
    assert test.times_ms is not None
    assert train.times_ms.max() < test.times_ms.min()
    whole = read_sessions(ends, "session-ends")
    assert sorted([*train.session_ids, *test.session_ids]) == sorted(whole.session_ids)
    assert np.bincount(np.concatenate([train.event_types, test.event_types])).tolist() == (
        np.bincount(whole.event_types).tolist()
    )
    assert result["left_out"] == {"sessions of bots": 1, "without events": 0, "repeated records": 2}
    for split in result["splits"].values():
        assert all(file_sha256(out / file["name"]) == file["sha256"] for file in split["files"])
    vocabulary = json.loads((out / "vocabulary.json").read_text())
    counts = np.bincount(train.items[train.items >= 0])
    by_count = {train.item_ids[place]: int(count) for place, count in enumerate(counts)}
    assert vocabulary == sorted(by_count, key=lambda item: (-by_count[item], item))


def test_a_second_run_gives_the_same_bytes(spark: "SparkSession", ends: Path, tmp_path: Path) -> None:
    """As when Spark runs a task again: a part is the same whoever wrote it last."""
    runs = [run_tfrecords(spark, TfrecordsJob(ends, tmp_path / name))["splits"] for name in ("first", "second")]
    assert runs[0] == runs[1]


def test_a_split_without_sessions_is_refused_before_there_is_a_schema(
    spark: "SparkSession", ends: Path, tmp_path: Path
) -> None:
    """As with a moment before the first one."""
    with pytest.raises(InsessionError, match="no session is left for train"):
        run_tfrecords(spark, TfrecordsJob(ends, tmp_path / "out", split_ms=START_MS))
    assert not (tmp_path / "out" / "schema.json").exists()


def test_what_a_task_refuses_is_told_in_one_line(spark: "SparkSession", tmp_path: Path) -> None:
    """The message is that of our own error, without the stacks of Java and Python."""
    (tmp_path / "other.jsonl").write_text('{"user": "a"}\n' * 20)
    with pytest.raises(InsessionError, match=r"20 of 20 lines are malformed") as raised:
        run_tfrecords(spark, TfrecordsJob(tmp_path / "other.jsonl", tmp_path / "out"))
    assert "\n" not in str(raised.value)
