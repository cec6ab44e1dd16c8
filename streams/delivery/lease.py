"""How long a worker may still believe that its partitions are its own.

The group gives them away when it has not heard of the worker for `session_timeout`; a process that was paused (SIGSTOP,
a migrated machine, a closed lid) does not notice. So each heartbeat that the group has answered is a lease, counted
from when it was sent; when it is over, nothing is written any more (Gray and Cheriton, "Leases", 1989).
"""

import time
from typing import Final

from schemas.errors import InsessionError

MARGIN: Final = 0.1
"""Share of the session timeout by which the lease is shorter: a write takes a moment to arrive."""


class LeaseOverError(InsessionError):
    """The group may have given the partitions to another worker. The process ends without a write; start it again."""


class Lease:
    """A lease of `session_timeout_seconds` less a margin; all times by one clock, which goes on while a machine sleeps.

    None is held before the first answer of the group: nothing is this worker's then.
    """

    def __init__(self, session_timeout_seconds: float) -> None:
        self._session_timeout_seconds = session_timeout_seconds
        self._seconds = session_timeout_seconds * (1 - MARGIN)
        self._renewed_seconds: float | None = None

    def renewed(self, at_seconds: float) -> None:
        """Begin anew from when the request was sent that the group has answered; an older one changes nothing."""
        self._renewed_seconds = max(at_seconds, self._renewed_seconds or at_seconds)

    def is_over(self, now_seconds: float) -> bool:
        """Return whether nothing may be written any more."""
        return self._renewed_seconds is not None and now_seconds - self._renewed_seconds > self._seconds

    def over(self, now_seconds: float) -> LeaseOverError:
        """Return the error that says it is over."""
        silent_seconds = now_seconds - (self._renewed_seconds or now_seconds)
        return LeaseOverError(
            f"the group has not answered for {silent_seconds:.1f} s (kafka.session_timeout is "
            f"{self._session_timeout_seconds:g} s): this worker was paused or cut off, and its partitions may be "
            "another one's. Nothing was written since; start it again"
        )


def boot_seconds() -> float:
    """Return the time since boot, sleep included where the system tells it (Linux)."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)
