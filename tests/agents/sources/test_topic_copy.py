import gzip
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agents.settings import Settings
from agents.sources.topic_copy import TopicFormat, copy_topic
from agents.upkeep.job_progress import JobProgress
from schemas import wire
from schemas.errors import InsessionError
from schemas.events import from_unix_ms
from schemas.ids import EventId, VisitorId
from schemas.records import RecommendationSet
from schemas.release import ReadPartition, TrainingSource
from schemas.topic_url import parse_topic_url
from session_model.data.record_lines import read_records
from streams.cluster.topics import TopicsError
from streams.local.embedded_broker import EmbeddedBroker
from streams.records import OutputRecord
from streams.tools.sender import Sender
from tests.session_ends import START_MS, session_end

QUIET = JobProgress(lambda _step, _total: None, lambda _count: None)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Share a broker: `session-ends` of 30 sessions, `odd` with one that is none, `wrong` of others only, `clicks`."""
    with EmbeddedBroker() as broker:
        sender = Sender({"bootstrap.servers": broker.address}, client_id="test")
        for number in range(30):
            value = wire.encode(session_end(number, is_bot=number == 3))
            sender.send(OutputRecord("session-ends", b"k", value, partition=number % 3), time_ms=START_MS)
            sender.send(OutputRecord("odd", b"k", value, partition=0), time_ms=START_MS)
            sender.send(OutputRecord("wrong", b"k", b'{"id": 1}', partition=0), time_ms=START_MS)
        sender.send(OutputRecord("odd", b"k", b"[no JSON", partition=0), time_ms=START_MS)
        sender.send(OutputRecord("odd", b"k", None, partition=0), time_ms=START_MS)
        for value in (b'{"visitor_id": "v",\n "event_type": "view"}', b'{"visitor_id":"w"}'):
            sender.send(OutputRecord("clicks", b"k", value, partition=0), time_ms=START_MS + 500)
        sender.flush()
        yield broker.address


def copy(address: str, part: str, folder: Path, data_format: TopicFormat = "session-ends") -> TrainingSource:
    """Copy part of a topic into an empty folder."""
    folder.mkdir(exist_ok=True)
    settings = Settings()
    settings = replace(settings, kafka=replace(settings.kafka, brokers=address))
    return copy_topic(parse_topic_url(f"kafka://{address}/{part}"), data_format, settings, folder, QUIET)


def lines_of(folder: Path) -> list[bytes]:
    """Return the lines of all files in the order of their names."""
    return [line for file in sorted(folder.iterdir()) for line in gzip.decompress(file.read_bytes()).splitlines()]


def test_a_copy_holds_the_records_and_says_what_was_read(address: str, tmp_path: Path) -> None:
    """Offsets and the latest session end of each partition; the watermark is the earliest of those."""
    source = copy(address, "session-ends?from=0:0,1:4,2:0&to=0:10,1:10,2:5", tmp_path)
    assert source.partitions == {
        0: ReadPartition(first=0, stop=10, records=10, newest_ms=START_MS + 30_000),
        1: ReadPartition(first=4, stop=10, records=6, newest_ms=START_MS + 31_000),
        2: ReadPartition(first=0, stop=5, records=5, newest_ms=START_MS + 17_000),
    }
    assert source.watermark == session_end(14).ended_at
    assert source.malformed == 0
    kept = [*range(0, 30, 3), *range(13, 30, 3), *range(2, 17, 3)]
    assert lines_of(tmp_path) == [wire.encode(session_end(number, is_bot=number == 3)) for number in kept]


def test_the_same_offsets_are_the_same_bytes(address: str, tmp_path: Path) -> None:
    """However the brokers mix the partitions: the training then goes on where it was, and its data have one hash."""
    for name in ("a", "b"):
        copy(address, "session-ends", tmp_path / name)
    first, second = ({file.name: file.read_bytes() for file in (tmp_path / name).iterdir()} for name in ("a", "b"))
    assert first == second
    assert sorted(first) == [f"session-ends-0000{partition}.jsonl.gz" for partition in range(3)]


def test_what_is_no_session_end_is_left_out_and_counted(address: str, tmp_path: Path) -> None:
    """A tombstone is none of the data and does not count."""
    source = copy(address, "odd", tmp_path)
    assert source.malformed == 1
    assert source.partitions[0].records == len(lines_of(tmp_path)) == 30


def test_what_workers_sent_is_copied_and_read_back(address: str, tmp_path: Path) -> None:
    """Answers and outcomes, of which others are malformed, as session ends are."""
    answer = RecommendationSet(
        id="clickstream-0-1",
        status="ended",
        visitor_id=VisitorId("v"),
        event_id=EventId("e"),
        event_time=from_unix_ms(START_MS),
        items=[],
    )
    sender = Sender({"bootstrap.servers": address}, client_id="test")
    for value in (wire.encode(answer), b'{"id": 1}'):
        sender.send(OutputRecord("recommendations", b"k", value, partition=0), time_ms=START_MS)
    sender.flush()
    source = copy(address, "recommendations", tmp_path, "recommendations")
    assert source.malformed == 1
    assert list(read_records(tmp_path, RecommendationSet)) == [answer]


def test_clicks_are_lines_whatever_their_spaces(address: str, tmp_path: Path) -> None:
    """A record over several lines is one line of the file; the watermark goes by the timestamps of the records."""
    source = copy(address, "clicks", tmp_path, "jsonl")
    assert lines_of(tmp_path) == [b'{"visitor_id":"v","event_type":"view"}', b'{"visitor_id":"w"}']
    assert source.partitions[0].newest_ms == START_MS + 500


def test_a_topic_of_other_records_is_refused_with_the_first(address: str, tmp_path: Path) -> None:
    """And what to check."""
    with pytest.raises(InsessionError, match=r"wrong: 30 of 30 records cannot be read, first wrong-0-0: .*--format"):
        copy(address, "wrong", tmp_path)


def test_an_empty_part_is_refused(address: str, tmp_path: Path) -> None:
    """There is nothing to learn from."""
    with pytest.raises(InsessionError, match="session-ends holds no record there; check from and to"):
        copy(address, "session-ends?from=end", tmp_path)


def test_brokers_that_are_away_are_told(tmp_path: Path) -> None:
    """With the topic and the address."""
    with pytest.raises(TopicsError, match="session-ends"):
        copy("127.0.0.1:1", "session-ends", tmp_path)
