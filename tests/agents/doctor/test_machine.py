import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from aiokafka import codec

from agents.doctor.findings import Finding, Level
from agents.doctor.machine import machine_findings
from agents.settings import load_settings
from schemas.free_ports import free_port


def examined(datadir: Path, port: int) -> dict[str, Finding]:
    """Return the findings by their check."""
    given = {"kafka": {"datadir": str(datadir), "web_port": port}}
    settings = load_settings(given, environment={})
    return {one.check: one for one in machine_findings(settings)}


@pytest.fixture
def taken_port() -> Iterator[int]:
    """Listen on a port."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


def test_a_machine_that_is_ready_is_all_well(tmp_path: Path) -> None:
    """A data folder that is not there yet is no fault, and none is made."""
    found = examined(tmp_path / "data" / "a", free_port())
    assert {one.level for one in found.values()} == {Level.OK}
    assert list(tmp_path.iterdir()) == []


def test_a_client_that_cannot_decompress_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each codec is named, and the package that is missing."""
    monkeypatch.setattr(codec, "cramjam", None)
    found = examined(tmp_path, free_port())["codecs"]
    assert (found.level, "snappy, lz4, zstd" in found.message) == (Level.ERROR, True)
    assert "cramjam" in found.remedy


def test_a_data_folder_below_a_file_cannot_be_written(tmp_path: Path) -> None:
    """The folder is named, with the setting."""
    (tmp_path / "file").touch()
    found = examined(tmp_path / "file" / "data", free_port())["data folder"]
    assert found.level is Level.ERROR
    assert "kafka.datadir" in found.remedy


def test_a_data_folder_in_use_is_told(tmp_path: Path) -> None:
    """A store that another process has open is seen by RocksDB's lock; once it is closed the folder is free."""
    hold = f"import sys; from rocksdict import Rdict; d = Rdict({str(tmp_path / 'v1' / 'visitors-0.db')!r}); print(); "
    with subprocess.Popen(
        [sys.executable, "-c", hold + "sys.stdin.read(); d.close()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        found = examined(tmp_path, free_port())["data folder"]
        holder.communicate()
    assert (found.level, "in use by a running worker" in found.message) == (Level.WARNING, True)
    assert examined(tmp_path, free_port())["data folder"].level is Level.OK


@pytest.mark.parametrize(("free", "level"), [(1 << 20, Level.ERROR), (1 << 30, Level.WARNING), (4 << 30, Level.OK)])
def test_little_disk_is_told(tmp_path: Path, free: int, level: Level, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it is full."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    assert examined(tmp_path, free_port())["disk"].level is level


def test_a_taken_port_is_told(tmp_path: Path, taken_port: int) -> None:
    """It may be the worker itself, so it is a warning."""
    found = examined(tmp_path, taken_port)["web port"]
    assert found.level is Level.WARNING
    assert str(taken_port) in found.message


@pytest.mark.parametrize("host", [".shop", "a" * 70])
def test_a_host_that_is_no_name_is_told(host: str) -> None:
    """Such a name fails before anybody is asked for it."""
    settings = load_settings({"kafka": {"web_host": host}}, environment={})
    found = {one.check: one for one in machine_findings(settings)}["web port"]
    assert found.level is Level.WARNING
    assert "cannot be had: " in found.message


def test_a_low_limit_of_open_files_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the worker runs into it in the middle of the night: the hard limit counts, the worker raises the soft."""
    monkeypatch.setattr("resource.getrlimit", lambda _: (256, 600))
    found = examined(tmp_path, free_port())["open files"]
    assert found.level is Level.WARNING
    assert "at most 600" in found.message
    assert "LimitNOFILE" in found.remedy
    monkeypatch.setattr("resource.getrlimit", lambda _: (256, 4096))
    assert examined(tmp_path, free_port())["open files"].level is Level.OK
