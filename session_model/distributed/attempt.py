"""One start of all workers as processes of this machine, until they are done or one is lost."""

import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn, Self

import msgspec

from schemas.child_process import ChildProcess, last_words
from schemas.errors import InsessionError
from schemas.free_ports import free_port
from session_model.distributed.messages import Came, Failed, Finished, Lines, Message, Started
from session_model.distributed.worker import Assignment

_POLL_SECONDS: Final = 0.2
_CHUNK_BYTES: Final = 1 << 16
_LOOPBACK: Final = "127.0.0.1"


class WorkerLostError(Exception):
    """A worker was lost, and a new start of all may help; the message says which, where and how."""


@dataclass(slots=True)
class _Worker:
    """A worker as its messages show it."""

    index: int
    process: ChildProcess
    log: Path
    lines: Lines = field(default_factory=Lines)
    last_message_at: float = field(default_factory=time.monotonic)
    came: Came | None = None
    has_joined: bool = False
    failed: Failed | None = None
    finished: Finished | None = None
    has_ended: bool = False

    def __str__(self) -> str:
        host = socket.gethostname() if self.came is None else self.came.host
        return f"worker {self.index} on {host} (process {self.process.pid})"

    def take(self, message: Message) -> None:
        """Note how far it is."""
        match message:
            case Came():
                self.came = message
            case Started():
                self.has_joined = True
            case Failed():
                self.failed = message
            case Finished():
                self.finished = message
            case _:
                pass


def worker_command(assignment: Assignment) -> list[str]:
    """Return the command line of a worker."""
    return [sys.executable, "-m", "session_model.distributed.worker", *assignment.arguments()]


@dataclass(frozen=True, slots=True)
class AttemptSettings:
    """Where the workers' logs go, how long they may take to meet, and what each is started by.

    max_silence_seconds: of a worker, which says each second that it is alive, and until it is clear who was lost.
    """

    logs: Path
    start_timeout_seconds: float
    max_silence_seconds: float = 10.0
    command: Callable[[Assignment], Sequence[str]] = worker_command


class Attempt:
    """The workers of one start; all are gone at the end of the `with` block, and with this process."""

    def __init__(self, job: Path, n_workers: int, seconds_left: float, settings: AttemptSettings) -> None:
        self._settings = settings
        self._begun = time.monotonic()
        self._stack = ExitStack()
        self._suspected: tuple[float, _Worker] | None = None
        addresses = [f"{_LOOPBACK}:{free_port(_LOOPBACK)}" for _ in range(n_workers)]
        threads = max(1, (os.cpu_count() or 1) // n_workers)
        self._selector = self._stack.enter_context(selectors.DefaultSelector())
        self._workers = list[_Worker]()
        with ExitStack() as on_error:
            on_error.enter_context(self._stack)
            for index in range(n_workers):
                self._start(Assignment(job, index, addresses, seconds_left, threads))
            on_error.pop_all()

    def _start(self, assignment: Assignment) -> None:
        log = self._settings.logs / f"worker-{assignment.index}.log"
        log.unlink(missing_ok=True)
        command = self._settings.command(assignment)
        process = ChildProcess(f"worker {assignment.index}", command, log_path=log, has_pipes=True)
        self._stack.callback(process.kill)
        worker = _Worker(assignment.index, process, log)
        self._workers.append(worker)
        self._selector.register(process.output, selectors.EVENT_READ, worker)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, hear: Callable[[Message], None]) -> list[Finished]:
        """Hand the chief's messages to `hear` until all workers are done; return what each says at the end.

        Raises WorkerLostError, and InsessionError where another start would end the same way.
        """
        while True:
            for key, _ in self._selector.select(_POLL_SECONDS):
                self._read(key.data, hear)
            self._check()
            finished = [worker.finished for worker in self._workers if worker.finished is not None]
            if len(finished) == len(self._workers):
                return finished

    def _read(self, worker: _Worker, hear: Callable[[Message], None]) -> None:
        chunk = os.read(worker.process.output, _CHUNK_BYTES)
        worker.last_message_at = time.monotonic()
        if not chunk:
            self._selector.unregister(worker.process.output)
            worker.has_ended = True
            return
        try:
            messages = worker.lines.feed(chunk)
        except msgspec.DecodeError as error:
            raise InsessionError(f"{worker} does not speak as a worker ({error}); its log is {worker.log}") from error
        for message in messages:
            worker.take(message)
            if worker.index == 0:
                hear(message)

    def _check(self) -> None:
        """Raise where a worker is lost. Who lost another one is asked last: the other one tells more."""
        now = time.monotonic()
        for worker in self._workers:
            if worker.failed is not None and not worker.failed.has_lost_others:
                raise InsessionError(f"{worker}: {worker.failed.reason}; its log is {worker.log}")
            if worker.has_ended and worker.failed is None:
                code = worker.process.wait()
                if code != -signal.SIGABRT:
                    raise WorkerLostError(f"{worker} {_ended(code)}")
                self._suspect(worker)  # TensorFlow aborts where its cluster is lost
            elif worker.failed is not None:
                self._suspect(worker)
            elif worker.has_joined and now - worker.last_message_at > self._settings.max_silence_seconds:
                raise WorkerLostError(
                    f"{worker} hangs: nothing was heard of it for {now - worker.last_message_at:.0f} s"
                )
        if self._suspected is not None and now - self._suspected[0] > self._settings.max_silence_seconds:
            worker = self._suspected[1]
            reason = last_words(worker.log) if worker.failed is None else worker.failed.reason
            raise WorkerLostError(f"{worker} {reason}")
        if now - self._begun > self._settings.start_timeout_seconds:
            self._name_missing()

    def _suspect(self, worker: _Worker) -> None:
        self._suspected = self._suspected or (time.monotonic(), worker)

    def _name_missing(self) -> None:
        """Raise where not all workers have met."""
        missing = [worker for worker in self._workers if worker.came is None]
        seconds = self._settings.start_timeout_seconds
        if missing:
            self._fail(missing, f"not there {seconds:.0f} s after the start")
        if not all(worker.has_joined for worker in self._workers):
            apart = [worker for worker in self._workers if not worker.has_joined]
            self._fail(apart, f"there, but did not meet the others within {seconds:.0f} s")

    def _fail(self, workers: Sequence[_Worker], what: str) -> NoReturn:
        names = ", ".join(map(str, workers))
        raise WorkerLostError(
            f"{names}: {what}; --start-timeout gives more time, the logs are in {self._settings.logs}"
        )


def _ended(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
