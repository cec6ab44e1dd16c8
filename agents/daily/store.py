"""What the steps have made, on disk: a folder a step and inputs, a record a day, and one process at a time."""

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec

from agents.daily.plan import Found
from agents.daily.records import STEPS, DayRecord, Result, StepName
from schemas.errors import InsessionError
from session_model.files import write_whole

_RESULT: Final = "result.json"
_DAYS: Final = "days"
_CLICKS: Final = "clicks"
_LOCK: Final = ".lock"
_SCHEDULE: Final = "schedule.json"

Write = Callable[[Path, bytes], None]
Damage = Callable[[Result], str | None]


def write_json(path: Path, content: bytes) -> None:
    """Write a file whole; raises OSError."""
    write_whole(path, lambda file: file.write(content))


class Holder(msgspec.Struct, frozen=True):
    """Who is at work."""

    pid: int
    day: date | None
    since: datetime

    def __str__(self) -> str:
        return f"process {self.pid} is at work there since {self.since:%Y-%m-%d %H:%M} UTC"


class Store:
    """The work folder.

    write: puts a file there whole. damage: tells why what a result says does not hold, beyond files that are gone or
    cut. All methods raise OSError of the disk.
    """

    def __init__(self, work: Path, *, write: Write = write_json, damage: Damage = lambda _: None) -> None:
        self.work = work
        self._write = write
        self._damage = damage

    def folder(self, step: StepName, key: str) -> Path:
        """Return where a step with these inputs writes."""
        return self.work / step / key

    def clicks(self, source: str, source_format: str) -> Path:
        """Return where the frozen days of a source lie."""
        return self.work / _CLICKS / sha256(f"{source_format} {source}".encode()).hexdigest()[:16]

    def clicks_folders(self) -> list[Path]:
        """Return the folders of all sources."""
        return sorted(path for path in (self.work / _CLICKS).glob("*") if path.is_dir())

    def find(self, step: StepName, key: str) -> Found | None:
        """Return a step's result; None where there is none, or none that can be read."""
        result = self._read_result(self.folder(step, key) / _RESULT)
        if result is None:
            return None
        for name, size in result.files.items():
            path = self.work / name
            if not path.is_file() or path.stat().st_size != size:
                return Found(result, f"{path} is gone or not what was written")
        return Found(result, self._damage(result))

    def begin(self, step: StepName, key: str) -> Path:
        """Make the folder, without a result; what an earlier attempt has left in it stays for the step to go on."""
        folder = self.folder(step, key)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _RESULT).unlink(missing_ok=True)
        return folder

    def sizes(self, paths: Iterable[Path]) -> dict[str, int]:
        """Return the sizes of files, of a folder all below, by path in the work folder."""
        files = (file for path in paths for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())
        return {file.relative_to(self.work).as_posix(): file.stat().st_size for file in sorted(files)}

    def finish(self, key: str, result: Result) -> None:
        """Write a step's result: with this it is done."""
        self._write(self.folder(result.step, key) / _RESULT, _json(result))

    def record(self, day: date) -> DayRecord | None:
        """Return how the last run of a day went."""
        return self._read_record(self.work / _DAYS / f"{day.isoformat()}.json")

    def records(self) -> list[DayRecord]:
        """Return the days that were run, oldest first."""
        found = (self._read_record(path) for path in sorted((self.work / _DAYS).glob("[0-9]*.json")))
        return [record for record in found if record is not None]

    def write_record(self, record: DayRecord) -> None:
        """Note how a day goes."""
        (self.work / _DAYS).mkdir(parents=True, exist_ok=True)
        self._write(self.work / _DAYS / f"{record.day.isoformat()}.json", _json(record))

    def former(self, record: DayRecord | None) -> dict[StepName, Result]:
        """Return the results that a day's last run had, as far as they are there."""
        keys = {} if record is None else record.keys
        found = {step: self._read_result(self.folder(step, key) / _RESULT) for step, key in keys.items()}
        return {step: result for step, result in found.items() if result is not None}

    @contextmanager
    def locked(self, day: date | None) -> Iterator[None]:
        """Be the only process at work here. Raises InsessionError that says who is, and OSError."""
        self.work.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.work / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if not _taken(descriptor):
                raise InsessionError(
                    f"{self.work}: {self.holder() or 'another process is at work there'}; let it end, or stop it and "
                    "run this again: it goes on where that one stopped"
                )
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, msgspec.json.encode(Holder(os.getpid(), day, datetime.now(UTC))), 0)
            yield
        finally:
            os.close(descriptor)

    def is_locked(self) -> bool:
        """Return whether a process is at work here."""
        try:
            with (self.work / _LOCK).open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def holder(self) -> Holder | None:
        """Return who was last at work here."""
        try:
            return msgspec.json.decode((self.work / _LOCK).read_bytes(), type=Holder)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def write_schedule(self, due: datetime | None) -> None:
        """Note when the next run is due; None = by nobody here."""
        self.work.mkdir(parents=True, exist_ok=True)
        self._write(self.work / _SCHEDULE, msgspec.json.encode(due))

    def next_run_at(self) -> datetime | None:
        """Return when the next run is due."""
        try:
            return msgspec.json.decode((self.work / _SCHEDULE).read_bytes(), type=datetime | None)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def keep_only(self, days: Collection[date], keys: Collection[tuple[StepName, str]]) -> None:
        """Remove the results that are none of `keys`, then the records of other days."""
        for step in STEPS:
            for path in (self.work / step).glob("*"):
                if (step, path.name) not in keys:
                    self.remove(path)
        for path in (self.work / _DAYS).glob("*.json"):
            if path.stem not in {day.isoformat() for day in days}:
                path.unlink()

    def remove(self, path: Path) -> None:
        """Remove a folder: its result first, so that what is left of it is none."""
        (path / _RESULT).unlink(missing_ok=True)
        shutil.rmtree(path)

    def _read_result(self, path: Path) -> Result | None:
        try:
            return msgspec.json.decode(path.read_bytes(), type=Result)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def _read_record(self, path: Path) -> DayRecord | None:
        try:
            return msgspec.json.decode(path.read_bytes(), type=DayRecord)
        except (FileNotFoundError, msgspec.DecodeError):
            return None


def _taken(descriptor: int) -> bool:
    """Take the lock; a `status` that looks at this moment holds it for an instant."""
    for wait_seconds in (0.05, 0.2, None):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if wait_seconds is not None:
                time.sleep(wait_seconds)
        else:
            return True
    return False


def _json(content: msgspec.Struct) -> bytes:
    return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"
