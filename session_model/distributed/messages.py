"""What a worker tells whoever started it, one JSON object a line."""

import os
import threading
from typing import Protocol

import msgspec

from session_model.runs.progress import EpochReport


class Came(msgspec.Struct, tag=True, frozen=True):
    """The worker runs, has loaded what it needs and now joins the others."""

    host: str
    pid: int


class Started(msgspec.Struct, tag=True, frozen=True):
    """All workers have met; see `TrainingProgress.started`."""

    phase: str
    n_steps: int


class Resumed(msgspec.Struct, tag=True, frozen=True):
    """See `TrainingProgress.resumed`."""

    reports: list[EpochReport]
    n_steps: int


class Stepped(msgspec.Struct, tag=True, frozen=True):
    """A step is done; `step` counts all of the training."""

    step: int
    clicks: int


class EpochEnded(msgspec.Struct, tag=True, frozen=True):
    """See `TrainingProgress.epoch_ended`."""

    report: EpochReport


class Noted(msgspec.Struct, tag=True, frozen=True):
    """See `TrainingProgress.noted`."""

    text: str


class Alive(msgspec.Struct, tag=True, frozen=True):
    """The process is scheduled, whatever it waits for."""


class Failed(msgspec.Struct, tag=True, frozen=True):
    """The worker ends.

    has_lost_others: another worker is the cause, and a new start may help; else the reason would be there again.
    """

    reason: str
    has_lost_others: bool


class Finished(msgspec.Struct, tag=True, frozen=True):
    """The training is over.

    steps: those that were measured, without the first of each epoch, which may trace. cpu_seconds, seconds: in them.
    sent_bytes: what the worker's all-reduces sent in all `all_steps` of this process.
    """

    steps: int
    seconds: float
    cpu_seconds: float
    all_steps: int
    sent_bytes: float


Message = Came | Started | Resumed | Stepped | EpochEnded | Noted | Alive | Failed | Finished
decoder = msgspec.json.Decoder(Message)


class Send(Protocol):
    """Takes the messages of a worker; called from several threads."""

    def __call__(self, message: Message) -> None:
        """Hand the message on."""


class Teller:
    """Writes messages to a file descriptor; implements Send. Where nobody reads any more, the process ends."""

    def __init__(self, file_descriptor: int) -> None:
        self._file_descriptor = file_descriptor
        self._lock = threading.Lock()

    def __call__(self, message: Message) -> None:
        """Write a line."""
        line = msgspec.json.encode(message) + b"\n"
        with self._lock:
            try:
                while line:
                    line = line[os.write(self._file_descriptor, line) :]
            except BrokenPipeError:
                os._exit(1)


class Lines:
    """Cuts what is read from a worker into messages; the end may come later."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[Message]:
        """Take more of it in. Raises msgspec.DecodeError where a line is no message."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [decoder.decode(line) for line in lines]
