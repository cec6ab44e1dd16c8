"""One worker of a training, in a process of its own: `python -m session_model.distributed.worker`.

Messages go to standard output, everything else to standard error. It ends when its standard input does.
"""

import argparse
import json
import os
import resource
import socket
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from schemas.errors import InsessionError
from session_model.distributed.failures import OthersLostError, translated
from session_model.distributed.messages import (
    Alive,
    Came,
    EpochEnded,
    Failed,
    Finished,
    Noted,
    Resumed,
    Send,
    Started,
    Stepped,
    Teller,
)
from session_model.networks.tensorflow_import import import_tensorflow
from session_model.runs.progress import EpochReport

ALIVE_EVERY_SECONDS: Final = 1.0
_QUIET: Final = {"TF_CPP_MIN_LOG_LEVEL": "2", "GRPC_VERBOSITY": "ERROR", "CUDA_VISIBLE_DEVICES": "-1"}
"""The ring is one of CPUs: several workers would fight for one accelerator."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """What one worker is to do.

    job: the file that `Job.write` wrote. addresses: host:port of all workers; `index` is this one's place.
    seconds_left: until the deadline of the task. threads: of this worker's computing; 0: TensorFlow decides.
    """

    job: Path
    index: int
    addresses: Sequence[str]
    seconds_left: float
    threads: int = 0

    def arguments(self) -> list[str]:
        """Write it as the arguments of `main`."""
        values = {
            "job": self.job,
            "index": self.index,
            "addresses": ",".join(self.addresses),
            "seconds-left": self.seconds_left,
            "threads": self.threads,
        }
        return [f"--{name}={value}" for name, value in values.items()]


def work(assignment: Assignment, send: Send) -> bool:
    """Train as one of the workers and tell how it goes; returns whether it came to its end.

    TensorFlow must not be loaded in this process yet, and cannot join another cluster afterwards.
    """
    threading.Thread(target=_keep_alive, args=(send,), daemon=True).start()
    try:
        send(_trained(assignment, send))
    except InsessionError as error:
        send(Failed(str(error), has_lost_others=False))
    except Exception as error:  # noqa: BLE001 - whatever it is, whoever started this must hear of it
        traceback.print_exc()
        is_lost = isinstance(error, OthersLostError)
        send(Failed(str(error) if is_lost else f"failed with {type(error).__name__}: {error}", is_lost))
    else:
        return True
    return False


def _trained(assignment: Assignment, send: Send) -> Finished:
    deadline = time.monotonic() + assignment.seconds_left
    task = {"type": "worker", "index": assignment.index}
    os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": list(assignment.addresses)}, "task": task})
    os.environ.update(_QUIET)
    import_tensorflow()
    import tensorflow as tf  # noqa: PLC0415 - after its environment is set

    from session_model.distributed.job import read_job  # noqa: PLC0415 - as above
    from session_model.distributed.ring import Ring  # noqa: PLC0415 - as above
    from session_model.networks.network_training import train_network  # noqa: PLC0415 - as above

    tf.config.threading.set_intra_op_parallelism_threads(assignment.threads)
    job = read_job(assignment.job, deadline)
    send(Came(socket.gethostname(), os.getpid()))
    progress = SentProgress(send)
    with translated():
        ring = Ring(assignment.index, len(assignment.addresses))
        train_network(job.task, job.shape, job.settings, progress, ring)
    return progress.finished(ring.sent_bytes)


def _keep_alive(send: Send) -> None:
    while True:
        send(Alive())
        time.sleep(ALIVE_EVERY_SECONDS)


class SentProgress:
    """Sends what it gets, and measures the steps; implements TrainingProgress."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._step = self._begun_at = 0
        self._last: tuple[float, float] | None = None
        self._steps, self._seconds, self._cpu_seconds = 0, 0.0, 0.0

    def started(self, phase: str, n_steps: int) -> None:
        """Send it."""
        self._send(Started(phase, n_steps))

    def stepped(self, clicks: int = 0) -> None:
        """Send it; a step reaches from the end of one to the end of the next."""
        now = time.monotonic(), _cpu_seconds()
        if self._last is not None:
            self._steps += 1
            self._seconds += now[0] - self._last[0]
            self._cpu_seconds += now[1] - self._last[1]
        self._last = now
        self._step += 1
        self._send(Stepped(self._step, clicks))

    def epoch_ended(self, report: EpochReport) -> None:
        """Send it; the validation is no step."""
        self._last = None
        self._send(EpochEnded(report))

    def resumed(self, reports: Sequence[EpochReport], n_steps: int) -> None:
        """Send it."""
        self._step = self._begun_at = n_steps
        self._send(Resumed(list(reports), n_steps))

    def noted(self, text: str) -> None:
        """Send it."""
        self._send(Noted(text))

    def finished(self, sent_bytes: float) -> Finished:
        """Return what the steps cost."""
        all_steps = self._step - self._begun_at
        return Finished(self._steps, self._seconds, self._cpu_seconds, all_steps, sent_bytes)


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Work as the arguments say; afterwards stay until the others are done, too: a cluster misses who leaves."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--job", type=Path)
    parser.add_argument("--index", type=int)
    parser.add_argument("--addresses", type=lambda text: text.split(","))
    parser.add_argument("--seconds-left", type=float)
    parser.add_argument("--threads", type=int)
    messages = os.dup(1)
    os.dup2(2, 1)  # what libraries print is no message
    is_done = work(Assignment(**vars(parser.parse_args())), Teller(messages))
    if is_done:
        sys.stdin.buffer.read()
    os._exit(0 if is_done else 1)  # at once: TensorFlow's own end waits for the cluster


if __name__ == "__main__":
    main()
