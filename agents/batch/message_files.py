"""Messages that the workers of a barrier stage write into files, one a worker and attempt of the stage."""

import time
from dataclasses import dataclass, field
from pathlib import Path

from schemas.errors import InsessionError
from session_model.distributed.messages import Came, Failed, Finished, Lines, Started
from session_model.distributed.relay import Relay
from session_model.distributed.supervisor import Limits


@dataclass(slots=True)
class _MessageFile:
    """A file, as far as it was read."""

    path: Path
    index: int
    offset: int = 0
    lines: Lines = field(default_factory=Lines)
    last_message_at: float = field(default_factory=time.monotonic)
    came: Came | None = None
    has_joined: bool = False
    finished: Finished | None = None

    def __str__(self) -> str:
        return f"worker {self.index}" + ("" if self.came is None else f" on {self.came.host} (process {self.came.pid})")


class MessageFiles:
    """Reads the files `<start>-<worker>.jsonl` of a folder as they grow, and hands the chief's messages on.

    Later starts of the stage have higher numbers.
    """

    def __init__(self, folder: Path, relay: Relay, limits: Limits) -> None:
        self._folder, self._relay, self._limits = folder, relay, limits
        self._begun = time.monotonic()
        self._attempts: dict[int, dict[int, _MessageFile]] = {}

    def poll(self) -> None:
        """Take in what is new.

        Raises InsessionError where a worker has a reason that another start would have, or some do not meet.
        """
        for path in sorted(self._folder.glob("*-*.jsonl"), key=_numbers):
            attempt, index = _numbers(path)
            if attempt not in self._attempts:
                if self._attempts:
                    self._relay.lost(self.last_loss(), limit=self._limits.max_restarts)
                self._attempts[attempt] = {}
                self._begun = time.monotonic()
            self._read(self._attempts[attempt].setdefault(index, _MessageFile(path, index)))
        self._check_start()

    def last_loss(self) -> str:
        """Describe the worker of the latest attempt that was silent for the longest: the others lived to miss it."""
        lost = min(self._latest().values(), key=lambda one: one.last_message_at, default=None)
        return "no worker has come" if lost is None else f"{lost} was lost"

    def finished(self) -> list[Finished]:
        """Return what the workers of the latest attempt said at their end, the chief first."""
        return [one.finished for _, one in sorted(self._latest().items()) if one.finished is not None]

    def _check_start(self) -> None:
        apart = [one for one in self._latest().values() if not one.has_joined]
        seconds = self._limits.start_timeout_seconds
        if apart and time.monotonic() - self._begun > seconds:
            raise InsessionError(
                f"{', '.join(map(str, apart))}: there, but did not meet the others within {seconds:.0f} s; can the "
                "hosts reach each other on any port? --start-timeout gives more time"
            )

    def _latest(self) -> dict[int, _MessageFile]:
        return self._attempts[max(self._attempts)] if self._attempts else {}

    def _read(self, worker: _MessageFile) -> None:
        with worker.path.open("rb") as file:
            file.seek(worker.offset)
            chunk = file.read()
        if not chunk:
            return
        worker.offset += len(chunk)
        worker.last_message_at = time.monotonic()
        for message in worker.lines.feed(chunk):
            match message:
                case Came():
                    worker.came = message
                case Started():
                    worker.has_joined = True
                case Finished():
                    worker.finished = message
                case Failed(has_lost_others=False):
                    raise InsessionError(f"{worker}: {message.reason}")
                case _:
                    pass
            if worker.index == 0:
                self._relay(message)


def _numbers(path: Path) -> tuple[int, int]:
    start, index = path.stem.split("-")
    return int(start), int(index)
