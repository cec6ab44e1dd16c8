"""The time of a simulated world: nothing passes but what the loop lets pass."""

import time
from dataclasses import dataclass
from typing import Final

EPOCH_SECONDS: Final = 1_700_000_000.0
"""Unix time at which every run begins."""


@dataclass(slots=True)
class Clock:
    """Seconds since the run began."""

    now: float = 0.0


CLOCK: Final = Clock()
"""The one clock of the process: `time` itself is replaced, so there cannot be two."""


def install() -> None:
    """Let `time` tell the simulated time in this process, for good.

    Before anything else is imported: many modules take `monotonic` by its name. `perf_counter`, too: mode's timers
    take what it tells for drift, and would sleep for longer or shorter by how busy the machine is.
    """
    time.monotonic = time.perf_counter = lambda: CLOCK.now
    time.clock_gettime = lambda _clock: CLOCK.now
    time.time = lambda: EPOCH_SECONDS + CLOCK.now
    time.time_ns = lambda: round((EPOCH_SECONDS + CLOCK.now) * 1e9)
