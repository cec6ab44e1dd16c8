"""Metrics of the worker as a process, read when they are asked for: also while it starts and recovers."""

import platform
import time
from importlib.metadata import version
from typing import Any

from prometheus_client import CollectorRegistry, Info
from prometheus_client.process_collector import ProcessCollector

from agents.health import Health
from streams.app import InsessionApp
from streams.metrics import StateMetrics
from streams.strict import StateTable


def add_process_metrics(registry: CollectorRegistry) -> None:
    """Add CPU, memory and file descriptors of the process, and what was built."""
    ProcessCollector(registry=registry)
    build = Info("insession_build", "The version that runs.", registry=registry)
    build.info({"version": version("insession"), "python": platform.python_version()})


def observe_state(metrics: StateMetrics, app: InsessionApp, table: StateTable, health: Health) -> None:
    """Let the gauges of the state look at the worker at every scrape, and time each recovery from its assignment."""
    metrics.table_keys.set_function(lambda: table.local_size()[0])
    metrics.table_bytes.set_function(lambda: table.local_size()[1])
    metrics.ready.set_function(lambda: health.ready()[0])
    metrics.recovering.set_function(lambda: app.in_recovery)
    assigned_seconds = time.monotonic()

    async def assigned(*_: Any, **__: Any) -> None:
        nonlocal assigned_seconds
        assigned_seconds = time.monotonic()
        app.delivery_metrics.rebalances.inc()

    async def recovered() -> None:
        metrics.last_recovery.set(time.monotonic() - assigned_seconds)

    app.on_partitions_assigned.connect(assigned)
    table.on_recover(recovered)
