import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agents.artifact_bus import open_bus
from agents.settings import Settings
from agents.sources import bus_copy
from agents.sources.kept_copies import KEPT_FOR
from agents.sources.local_data import DATA, DataUrl, LocalData, copied_for_job, copied_for_now, vectors_here
from bench.s3_server import s3_server
from schemas import wire
from schemas.bus import BusError, MemoryUrl, S3Url
from schemas.errors import InsessionError, UsageError
from schemas.topic_url import parse_topic_url
from session_model.data.formats import read_sessions
from session_model.data.vector_files import read_vectors
from streams.local.embedded_broker import EmbeddedBroker
from streams.records import OutputRecord
from streams.tools.sender import Sender
from tests.session_ends import START_MS, session_end


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Share a broker."""
    with EmbeddedBroker() as broker:
        yield broker.address


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[DataUrl]:
    """Name an S3 folder with two files of session ends, one of them in a folder, and two of others."""
    with s3_server() as _server:
        url = S3Url("bus", tmp_path.name)
        bus = open_bus(str(url))
        for place, name in enumerate(("part-0.jsonl", "day=2/part-1.jsonl")):
            bus.write(name, b"\n".join(wire.encode(session_end(2 * place + number)) for number in range(2)))
        bus.write("_SUCCESS", b"")
        bus.write(".tmp/part-2.jsonl", b"half")
        yield url


def send(address: str, topic: str, numbers: range) -> None:
    """Write session ends."""
    sender = Sender({"bootstrap.servers": address}, client_id="test")
    for number in numbers:
        value = wire.encode(session_end(number))
        sender.send(OutputRecord(topic, b"k", value, partition=0), time_ms=START_MS)
    sender.flush()


def job(url: DataUrl, directory: Path, *, is_fresh: bool = False) -> AbstractContextManager[LocalData]:
    """Copy for a job."""
    return copied_for_job(url, "session-ends", Settings(), directory, is_fresh=is_fresh)


def n_sessions(here: LocalData) -> int:
    """Count what is read of a copy."""
    return len(read_sessions(here.path, "session-ends"))


def test_a_path_is_read_where_it_is(tmp_path: Path) -> None:
    """Nothing is copied, and nothing told of it."""
    with copied_for_now(tmp_path, "csv", Settings()) as here:
        assert here == LocalData(tmp_path)
    with copied_for_job(tmp_path, "csv", Settings(), tmp_path, is_fresh=False) as here:
        assert here == LocalData(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_files_of_s3_are_read_as_a_folder(s3: DataUrl) -> None:
    """What starts with a dot or an underscore is none of the data; the copy is gone behind."""
    with copied_for_now(s3, "session-ends", Settings()) as here:
        assert n_sessions(here) == 4
        assert here.source is not None
        assert here.source.url == str(s3)
    assert not here.path.exists()


def test_item_vectors_come_with_the_file_of_their_ids(tmp_path: Path) -> None:
    """Both lie below one URL; without vectors there is no path."""
    with s3_server():
        url = S3Url("bus", "looks")
        np.save(tmp_path / "a.npy", np.ones((1, 2)))
        open_bus(str(url)).write("looks.npy", (tmp_path / "a.npy").read_bytes())
        open_bus(str(url)).write("looks.ids.txt", b"a\n")
        with vectors_here(url, Settings(), tmp_path / "models", is_fresh=False) as path:
            assert path is not None
            assert read_vectors(path).item_ids == ["a"]
        assert not path.exists()
    with vectors_here(None, Settings(), tmp_path, is_fresh=False) as path:
        assert path is None


def test_what_does_not_fit_on_the_disk_is_not_begun(
    s3: DataUrl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told what is needed."""
    monkeypatch.setattr(bus_copy, "SPARE_BYTES", 1 << 60)
    with (
        pytest.raises(InsessionError, match=r"cannot be written: .* bytes with a reserve, .* check space"),
        job(s3, tmp_path),
    ):
        pass


def test_an_s3_that_is_away_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """And so is a folder in which nothing is."""
    empty = MemoryUrl("empty")
    with pytest.raises(InsessionError, match="memory:empty holds no file"), copied_for_now(empty, "csv", Settings()):
        pass
    monkeypatch.setattr("agents.artifact_bus.MAX_RETRIES", 0)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    away = S3Url("bus", "x")
    with pytest.raises(BusError, match="s3://bus/x"), copied_for_now(away, "csv", Settings()):
        pass


def test_after_an_interruption_a_job_goes_on_with_its_copy(address: str, tmp_path: Path) -> None:
    """What was written since is not in it, so the training that was interrupted is the same; --fresh reads it."""
    send(address, "grows", range(3))
    url = parse_topic_url(f"kafka://{address}/grows")
    with pytest.raises(KeyboardInterrupt), job(url, tmp_path) as here:
        raise KeyboardInterrupt
    send(address, "grows", range(3, 5))
    with pytest.raises(KeyboardInterrupt), job(url, tmp_path) as again:
        raise KeyboardInterrupt
    assert (again, n_sessions(again)) == (here, 3)
    with job(url, tmp_path, is_fresh=True) as anew:
        assert n_sessions(anew) == 5
    assert not anew.path.exists()


def test_after_a_failure_the_data_are_read_anew(address: str, tmp_path: Path) -> None:
    """A day with too little in it is no reason to fail with the same data again."""
    send(address, "tiny", range(1))
    url = parse_topic_url(f"kafka://{address}/tiny")
    with pytest.raises(InsessionError, match="too little"), job(url, tmp_path):
        raise InsessionError("too little")
    send(address, "tiny", range(1, 3))
    with job(url, tmp_path) as here:
        assert n_sessions(here) == 3


def test_a_copy_that_was_not_finished_is_none(address: str, tmp_path: Path) -> None:
    """A kill leaves files without the account of what was read; they are replaced."""
    send(address, "killed", range(2))
    url = parse_topic_url(f"kafka://{address}/killed")
    with pytest.raises(KeyboardInterrupt), job(url, tmp_path) as here:
        raise KeyboardInterrupt
    (here.path / "_source.json").unlink()
    send(address, "killed", range(2, 4))
    with job(url, tmp_path) as again:
        assert n_sessions(again) == 4


def test_a_copy_that_nobody_came_back_for_is_removed(address: str, tmp_path: Path) -> None:
    """Also by another job; what runs daily does not learn from the data of an earlier day."""
    send(address, "daily", range(2))
    send(address, "other", range(1))
    url = parse_topic_url(f"kafka://{address}/daily")
    for old in (False, True):
        with pytest.raises(KeyboardInterrupt), job(url, tmp_path) as here:
            raise KeyboardInterrupt
        assert here.path.exists()
        if old:
            long_ago = time.time() - KEPT_FOR.total_seconds() - 60
            os.utime(here.path, (long_ago, long_ago))
        with job(parse_topic_url(f"kafka://{address}/other"), tmp_path):
            assert here.path.exists() is not old
    assert list((tmp_path / DATA).iterdir()) == []


def test_two_jobs_do_not_share_a_copy(address: str, tmp_path: Path) -> None:
    """The second one is told, and the first goes on."""
    send(address, "busy", range(1))
    url = parse_topic_url(f"kafka://{address}/busy")
    with job(url, tmp_path) as here:
        with (
            pytest.raises(InsessionError, match=f"another command works with the same data in {tmp_path / DATA}"),
            job(url, tmp_path),
        ):
            pass
        assert n_sessions(here) == 1


def test_a_topic_holds_no_tables(address: str) -> None:
    """The formats that it may have are named."""
    url = parse_topic_url(f"kafka://{address}/t")
    with pytest.raises(UsageError, match="a topic holds session-ends or jsonl"), copied_for_now(url, "csv", Settings()):
        pass


def test_the_brokers_are_those_of_the_url_with_the_security_of_the_settings(address: str) -> None:
    """Those of the settings are the worker's, which may be others."""
    send(address, "mine", range(2))
    settings = Settings()
    settings = replace(settings, kafka=replace(settings.kafka, brokers="127.0.0.1:1"))
    with copied_for_now(parse_topic_url(f"kafka://{address}/mine"), "session-ends", settings) as here:
        assert n_sessions(here) == 2


def test_a_copy_that_fails_leaves_nothing_behind(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk may be full of it; the message says so, and the next run copies anew."""
    send(address, "full", range(2))
    url = parse_topic_url(f"kafka://{address}/full")

    def refuse(_path: Path, _write: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr("agents.sources.local_data.write_whole", refuse)
        with pytest.raises(InsessionError, match=r"cannot be written: No space left.*check space"), job(url, tmp_path):
            pass
    assert [path for path in (tmp_path / DATA).iterdir() if path.is_dir()] == []
    with job(url, tmp_path) as here:
        assert n_sessions(here) == 2
