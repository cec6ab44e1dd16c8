"""The folder of a training run, `runs/<n>/` beside the models: what was asked, how it went, what came of it.

config.json: data and their hash, every value of the preset, versions, machine. curve.jsonl, curve.svg: a line an epoch,
and their picture. result.json: metrics, seconds, the published version; a run without it is unfinished. unfinished/:
what the same command goes on from; gone with the end of the run.
"""

import fcntl
import os
import platform
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any, Self

import msgspec

from schemas.errors import InsessionError
from session_model.files import write_whole
from session_model.runs.curve import CurvePoint, draw_curve
from session_model.runs.journal import Journal

RUNS = "runs"
"""Folder of the runs in the models directory; no model server looks into it."""
CONFIG_FILE = "config.json"
CURVE_FILE = "curve.jsonl"
PICTURE_FILE = "curve.svg"
RESULT_FILE = "result.json"
_UNFINISHED = "unfinished"
_LOCK = ".lock"
_SECONDS = "seconds.json"


@dataclass(frozen=True, slots=True)
class RunConfig:
    """What a run depends on (`essence`: a run with the same goes on), and what else is good to know of it."""

    essence: Mapping[str, Any]
    notes: Mapping[str, Any]

    @property
    def identity(self) -> str:
        """Hash of the essence, hex."""
        return sha256(msgspec.json.encode(self.essence, order="deterministic")).hexdigest()

    def encoded(self) -> bytes:
        """Write it as the folder's JSON."""
        machine = {"system": platform.platform(), "processor": platform.machine(), "cores": os.cpu_count()}
        started_at = datetime.now(UTC).isoformat(timespec="seconds")
        return _json(
            {"identity": self.identity, "started_at": started_at, **self.essence, **self.notes, "machine": machine}
        )


class RunFolder:
    """A run that this process works on; no other process does meanwhile."""

    def __init__(self, directory: Path, *, is_resumed: bool) -> None:
        self.directory = directory
        self.is_resumed = is_resumed
        self.checkpoints = directory / _UNFINISHED
        self.checkpoints.mkdir(exist_ok=True)
        self.journal = Journal(self.checkpoints / "journal.jsonl")
        self.phase_seconds: dict[str, float] = self._seconds_before()
        self._open: tuple[str, float] | None = None
        self._curve = {(point.training, point.epoch): point for point in self._curve_before()}

    @property
    def number(self) -> int:
        """Its place among the runs."""
        return int(self.directory.name)

    @property
    def seconds(self) -> float:
        """Time that went into the run, in earlier processes, too."""
        return sum(self.phase_seconds.values()) + (time.monotonic() - self._open[1] if self._open else 0.0)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the time of the block, also where it is interrupted."""
        self._open = (name, time.monotonic())
        try:
            yield
        finally:
            self._note_time()
            self._open = None

    def spent(self, name: str, seconds: float) -> None:
        """Add to the time of a phase."""
        self.phase_seconds[name] = self.phase_seconds.get(name, 0.0) + seconds
        self.write_json(f"{_UNFINISHED}/{_SECONDS}", self.phase_seconds)

    def drew(self, points: list[CurvePoint]) -> None:
        """Add epochs to the curve; one that an earlier process drew is not drawn twice."""
        self._curve |= {(point.training, point.epoch): point for point in points}
        self._write(CURVE_FILE, b"".join(msgspec.json.encode(point) + b"\n" for point in self._curve.values()))
        self._note_time()

    def _note_time(self) -> None:
        """Write down what the open phase took so far: a process that is killed cannot."""
        if self._open is not None:
            name, since = self._open
            now = time.monotonic()
            self._open = (name, now)
            self.spent(name, now - since)

    def finish(self, result: Mapping[str, Any]) -> None:
        """Write the result; from now on nothing goes on from this run."""
        self.write_json(RESULT_FILE, result)
        shutil.rmtree(self.checkpoints)

    def write_json(self, name: str, content: object) -> None:
        """Write a file of the folder."""
        self._write(name, _json(content))

    def draw(self) -> None:
        """Draw the curve, as far as it goes."""
        if self._curve:
            self._write(PICTURE_FILE, draw_curve(list(self._curve.values())))

    def _curve_before(self) -> list[CurvePoint]:
        try:
            lines = (self.directory / CURVE_FILE).read_bytes().splitlines()
            return [msgspec.json.decode(line, type=CurvePoint) for line in lines]
        except (FileNotFoundError, msgspec.DecodeError):
            return []

    def _seconds_before(self) -> dict[str, float]:
        try:
            return msgspec.json.decode((self.checkpoints / _SECONDS).read_bytes(), type=dict[str, float])
        except (FileNotFoundError, msgspec.DecodeError):
            return {}

    def _write(self, name: str, content: bytes) -> None:
        write_whole(self.directory / name, lambda file: file.write(content))


@contextmanager
def open_run(runs: Path, config: RunConfig, *, is_fresh: bool) -> Iterator[RunFolder]:
    """Go on with the newest run of the same essence if it is unfinished, or begin one; `is_fresh`: in any case.

    A run that another process works on is left to it. Raises InsessionError where the disk refuses.
    """
    try:
        runs.mkdir(parents=True, exist_ok=True)
        with _locked_run(runs, config, is_fresh=is_fresh) as run:
            yield run
    except OSError as error:
        raise InsessionError(f"cannot keep the training run below {runs}: {error}; check space and rights") from error


@contextmanager
def _locked_run(runs: Path, config: RunConfig, *, is_fresh: bool) -> Iterator[RunFolder]:
    numbers = sorted((int(path.name) for path in runs.iterdir() if path.name.isdecimal()), reverse=True)
    same = [runs / str(number) for number in numbers if _has_identity(runs / str(number), config.identity)]
    if same and not is_fresh and not _is_finished(same[0]) and (lock := _Lock.taken(same[0])):
        with lock:
            if not _is_finished(same[0]):  # not by the process that held the lock until now either
                yield RunFolder(same[0], is_resumed=True)
                return
    for number in count(max(numbers, default=0) + 1):
        directory = runs / str(number)
        try:
            directory.mkdir()
        except FileExistsError:
            continue
        lock = _Lock.taken(directory)
        assert lock is not None
        with lock:
            write_whole(directory / CONFIG_FILE, lambda file: file.write(config.encoded()))
            yield RunFolder(directory, is_resumed=False)
        return


class _Identity(msgspec.Struct):
    identity: str


def _is_finished(directory: Path) -> bool:
    return (directory / RESULT_FILE).exists()


def _has_identity(directory: Path, identity: str) -> bool:
    try:
        found = msgspec.json.decode((directory / CONFIG_FILE).read_bytes(), type=_Identity).identity
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        return False
    return found == identity


class _Lock:
    """Held as long as the process lives and the `with` block runs."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def taken(cls, directory: Path) -> Self | None:
        """Take the directory's lock; None where another process has it."""
        descriptor = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return cls(descriptor)

    def __enter__(self) -> None:
        """Hold on to it."""

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


def _json(content: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"
