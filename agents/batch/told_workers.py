"""What the workers of a barrier stage have told into files, one a worker and attempt of the stage."""

import time
from dataclasses import dataclass, field
from pathlib import Path

from schemas.errors import InsessionError
from session_model.distributed.messages import Came, Failed, Finished, Lines
from session_model.distributed.relay import Relay


@dataclass(slots=True)
class _Told:
    """A file, as far as it was read."""

    path: Path
    index: int
    offset: int = 0
    lines: Lines = field(default_factory=Lines)
    heard_at: float = field(default_factory=time.monotonic)
    came: Came | None = None
    finished: Finished | None = None

    def __str__(self) -> str:
        return f"worker {self.index}" + ("" if self.came is None else f" on {self.came.host} (process {self.came.pid})")


class ToldWorkers:
    """Reads the files `<start>-<worker>.jsonl` of a folder as they grow, and hands the chief's messages on.

    Later starts of the stage have higher numbers.
    """

    def __init__(self, folder: Path, relay: Relay, max_restarts: int) -> None:
        self._folder, self._relay, self._max_restarts = folder, relay, max_restarts
        self._attempts: dict[int, dict[int, _Told]] = {}

    def hear(self) -> None:
        """Take in what is new. Raises InsessionError where a worker has a reason that another attempt would have."""
        for path in sorted(self._folder.glob("*-*.jsonl")):
            attempt, index = map(int, path.stem.split("-"))
            if attempt not in self._attempts:
                if self._attempts:
                    self._relay.lost(self.last_loss(), limit=self._max_restarts)
                self._attempts[attempt] = {}
            self._hear(self._attempts[attempt].setdefault(index, _Told(path, index)))

    def last_loss(self) -> str:
        """Name the worker of the latest attempt that was silent for the longest: the others lived to miss it."""
        workers = self._attempts[max(self._attempts)].values() if self._attempts else []
        lost = min(workers, key=lambda one: one.heard_at, default=None)
        return "no worker has come" if lost is None else f"{lost} was lost"

    def finished(self) -> list[Finished]:
        """Return what the workers of the latest attempt said at their end, the chief first."""
        latest = self._attempts[max(self._attempts)]
        return [one.finished for _, one in sorted(latest.items()) if one.finished is not None]

    def _hear(self, worker: _Told) -> None:
        with worker.path.open("rb") as file:
            file.seek(worker.offset)
            chunk = file.read()
        if not chunk:
            return
        worker.offset += len(chunk)
        worker.heard_at = time.monotonic()
        for message in worker.lines.feed(chunk):
            match message:
                case Came():
                    worker.came = message
                case Finished():
                    worker.finished = message
                case Failed(has_lost_others=False):
                    raise InsessionError(f"{worker}: {message.reason}")
                case _:
                    pass
            if worker.index == 0:
                self._relay(message)
