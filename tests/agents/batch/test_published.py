"""A result goes to a folder or to the Bus, all of it or none."""

import uuid
from pathlib import Path

import pytest

from agents.artifact_bus import open_bus
from agents.batch.parts import MANIFEST, new_result, write_manifest
from agents.batch.published import result_folder
from schemas.errors import UsageError

URL = f"memory:{uuid.uuid4().hex}"


def write_result(folder: Path, content: bytes = b"sessions") -> None:
    """Write a part and a manifest, as a job does."""
    new_result(folder)
    (folder / "part-00000.jsonl.gz").write_bytes(content)
    write_manifest(folder, {"of": content.decode()})


def test_a_folder_is_written_in_place(tmp_path: Path) -> None:
    """All tasks share it."""
    with result_folder(str(tmp_path / "out"), "local[*]") as folder:
        assert folder == tmp_path / "out"
        write_result(folder)
    with pytest.raises(UsageError, match="--overwrite"), result_folder(str(tmp_path / "out"), "local[*]"):
        pass


def test_on_the_bus_a_result_is_there_when_its_job_has_ended_well() -> None:
    """A job that fails leaves no manifest; the next one publishes; a second result is refused before its job starts."""
    bus = open_bus(URL)
    with pytest.raises(ZeroDivisionError), result_folder(URL, "local[*]") as folder:
        write_result(folder, b"x" * (1 // 0))
    assert list(bus.find()) == []
    with result_folder(URL, "local[*]") as folder:
        write_result(folder)
    assert {one.name for one in bus.find()} == {MANIFEST, "part-00000.jsonl.gz"}
    assert bus.read("part-00000.jsonl.gz", 100) == b"sessions"
    with pytest.raises(UsageError, match="holds a result already"), result_folder(URL, "local[*]"):
        pass


def test_of_two_jobs_at_once_the_first_manifest_stays() -> None:
    """The other one is told."""
    url = f"{URL}-two"
    publishing = result_folder(url, "local[*]")
    write_result(publishing.__enter__(), b"later")
    open_bus(url).claim(MANIFEST, b"{}")
    with pytest.raises(UsageError, match="another result meanwhile"):
        publishing.__exit__(None, None, None)
    assert open_bus(url).read(MANIFEST, 100) == b"{}"


def test_tasks_elsewhere_cannot_write_what_this_machine_publishes() -> None:
    """It is said before Spark starts."""
    with pytest.raises(UsageError, match="name a folder that all share"), result_folder(URL, "yarn"):
        pass
