"""Metrics of the worker as a process and of its state: also while it starts and recovers."""

import contextlib
import os
import platform
import shutil
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry, Gauge, Info
from prometheus_client.process_collector import ProcessCollector

from streams.app import InsessionApp
from streams.metrics import StateMetrics
from streams.state.table import StateTable

_CGROUP: Final = Path("/sys/fs/cgroup")
_MEMORY_LIMITS: Final = ("memory.max", "memory/memory.limit_in_bytes")
"""Of cgroup v2 and v1, as a container sees its own."""


def add_process_metrics(registry: CollectorRegistry, data_folder: Path, cgroup: Path = _CGROUP) -> None:
    """Add CPU, memory and file descriptors of the process, the disk of `data_folder`, and what was built.

    cgroup: where the control groups are mounted.
    """
    ProcessCollector(registry=registry)
    build = Info("insession_build", "The version that runs.", registry=registry)
    build.info({"version": version("insession"), "python": platform.python_version()})
    limit = Gauge(
        "insession_memory_limit_bytes", "Memory that the container, or the machine, has for us.", registry=registry
    )
    limit.set(memory_limit_bytes(cgroup))
    free = Gauge("insession_disk_free_bytes", "Bytes that the data folder's disk has left for us.", registry=registry)
    size = Gauge("insession_disk_size_bytes", "Bytes of the data folder's disk.", registry=registry)
    free.set_function(lambda: _disk_usage(data_folder).free)
    size.set_function(lambda: _disk_usage(data_folder).total)


def memory_limit_bytes(cgroup: Path = _CGROUP) -> int:
    """Read how much memory the container may use; without a limit, what the machine has."""
    machine_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for name in _MEMORY_LIMITS:
        # Without a limit version 2 says "max", and version 1 a number near 2^63.
        with contextlib.suppress(OSError, ValueError):
            return min(machine_bytes, int((cgroup / name).read_text()))
    return machine_bytes


def _disk_usage(folder: Path) -> Any:
    """Ask for the disk of the folder, or of the nearest one above it while the folder is still to be made."""
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(existing)


def observe_state(metrics: StateMetrics, app: InsessionApp, table: StateTable) -> Callable[[], None]:
    """Time each recovery from its assignment; returns what looks at the state, on the event loop that changes it."""
    assigned_seconds = time.monotonic()

    async def assigned(*_: Any, **__: Any) -> None:
        nonlocal assigned_seconds
        assigned_seconds = time.monotonic()
        app.delivery_metrics.rebalances.inc()

    async def recovered() -> None:
        metrics.last_recovery.set(time.monotonic() - assigned_seconds)

    app.on_partitions_assigned.connect(assigned)
    table.on_recover(recovered)

    def look() -> None:
        keys, size_bytes = table.local_size()
        metrics.table_keys.set(keys)
        metrics.table_bytes.set(size_bytes)
        metrics.recovering.set(app.in_recovery)

    return look
