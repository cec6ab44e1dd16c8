"""What a command takes, with every process that it starts: seconds, processor time, memory. Linux only."""

import contextlib
import ctypes
import itertools
import os
import resource
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Final, Self

import psutil

from bench.commands import ROOT
from schemas.errors import InsessionError

_LOOK_SECONDS: Final = 0.05
_LOOKS_A_SEARCH: Final = 5
"""At each of these the processes are searched for anew and their pages counted, which takes longer than a look."""
_PR_SET_CHILD_SUBREAPER: Final = 36  # prctl(2)
_SHOWN_LINES: Final = 15


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one command.

    peak_bytes: most that all of its processes held at one look, shared pages once (PSS), or one of them at any time.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int


def measured(command: Sequence[str], *, log: Path) -> tuple[Cost, bytes]:
    """Run the command and wait for all that it has started; return its cost, and what it printed.

    log: gets its standard error. Raises InsessionError with the log's last lines where it fails. Nothing else may run
    below this process: its processes are counted, too.
    """
    # What outlives its parent, as Spark's JVM does, becomes ours.
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    cpu_before, began = _waited_cpu_seconds(), time.monotonic()
    with _Watch() as seen, log.open("wb") as errors:
        run = subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.PIPE, stderr=errors)
        seconds = time.monotonic() - began
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-1, 0)
    if run.returncode:
        told = b"\n".join(log.read_bytes().splitlines()[-_SHOWN_LINES:]).decode(errors="replace")
        raise InsessionError(f"{' '.join(command)} ended with exit code {run.returncode}:\n{told}")
    # Waiting misses whom a parent does not wait for, as Spark's Python workers; looking misses each one's end.
    cpu_seconds = max(_waited_cpu_seconds() - cpu_before, seen.cpu_seconds)
    return Cost(round(seconds, 2), round(cpu_seconds, 2), seen.peak_bytes), run.stdout


def held_bytes(pid: int) -> int:
    """Return what a process and those below it hold; pages that they share count once."""
    root = psutil.Process(pid)
    return sum(_pss_bytes(process) for process in (root, *root.children(recursive=True)))


def _pss_bytes(process: psutil.Process) -> int:
    with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        return int(process.memory_full_info().pss)
    return 0


def _high_water_bytes(process: psutil.Process) -> int:
    """Return the most that a process has held since it began, whenever that was; proc(5), VmHWM."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    return 0


def _waited_cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


class _Watch:
    """Looks again and again at what lies below this process."""

    def __init__(self) -> None:
        self.peak_bytes = 0
        self._cpu_seconds = dict[psutil.Process, float]()
        self._over = Event()
        self._thread = Thread(target=self._look, name="process-cost", daemon=True)

    @property
    def cpu_seconds(self) -> float:
        """Sum up what each process had taken when it was last seen."""
        return sum(self._cpu_seconds.values())

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        below = list[psutil.Process]()
        for look in itertools.count():
            if look % _LOOKS_A_SEARCH == 0:
                below = psutil.Process().children(recursive=True)
                self.peak_bytes = max(self.peak_bytes, sum(_pss_bytes(process) for process in below))
            for process in below:
                with contextlib.suppress(psutil.NoSuchProcess):
                    times = process.cpu_times()
                    self._cpu_seconds[process] = times.user + times.system
            self.peak_bytes = max(self.peak_bytes, *map(_high_water_bytes, below), 0)
            if self._over.wait(_LOOK_SECONDS):
                return
