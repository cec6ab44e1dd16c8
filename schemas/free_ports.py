"""Ports for servers that must be told theirs before they listen."""

import contextlib
import os
import socket
from collections.abc import Iterator
from functools import cache
from itertools import cycle, islice
from typing import Final

from schemas.errors import InsessionError

PORTS: Final = range(20_000, 32_000)
"""Below those that systems give to outgoing connections (Linux: 32,768 on): none takes one before its server does."""
_STEP: Final = 97
"""Between the first ports of two processes whose ids follow each other."""


def free_port(host: str = "127.0.0.1") -> int:
    """Find a TCP port that nothing listens on at `host`, "" = at none of this machine's addresses.

    The same port comes twice only after all others, and processes that look at the same time begin elsewhere each.
    Raises InsessionError where there is none.
    """
    for port in islice(_ports(os.getpid()), len(PORTS)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((host, port))
            return port
    raise InsessionError(f"no port from {PORTS.start} to {PORTS.stop - 1} is free: end programs that listen there")


@cache
def _ports(pid: int) -> Iterator[int]:
    """Go round from a process's first port on; a forked process has its own."""
    first = pid * _STEP % len(PORTS)
    return cycle((*PORTS[first:], *PORTS[:first]))
