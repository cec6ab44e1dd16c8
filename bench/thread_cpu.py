"""Processor time of a running process by thread. Linux only: /proc/PID/task, proc(5)."""

import os
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Final

MAIN: Final = "main"
_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
_USER, _SYSTEM = 11, 12
"""Fields behind the name, from 0: utime and stime."""


def cpu_seconds(pid: int) -> dict[str, float]:
    """Return the processor time so far by the threads' names; the first is `MAIN`, those of one name are summed.

    Python names no threads for the system before 3.14: all that it starts have the name of the program. What threads
    took that have ended is not in it.
    """
    found = defaultdict[str, float](float)
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):
            text = (task / "stat").read_text()
            name = MAIN if int(task.name) == pid else _kind(text[text.index("(") + 1 : text.rindex(")")])
            fields = text[text.rindex(")") + 1 :].split()
            found[name] += (int(fields[_USER]) + int(fields[_SYSTEM])) / _TICKS_PER_SECOND
    return dict(found)


def _kind(name: str) -> str:
    """Join librdkafka's threads, one a broker, and the pools that number theirs."""
    return "librdkafka" if name.startswith("rdk:") else name.rstrip("0123456789").rstrip("-_:") or name
