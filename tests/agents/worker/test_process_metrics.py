from collections.abc import Awaitable, Callable
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from prometheus_client import CollectorRegistry

from agents.worker.process_metrics import add_process_metrics, observe_state
from streams.metrics import DeliveryMetrics, StateMetrics


class Worker:
    """What the gauges look at, as the test decides; `assigned` and `recovered` are what was connected."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.size = (0, 0)
        self.assigned: Callable[..., Awaitable[None]]
        self.recovered: Callable[[], Awaitable[None]]
        self.app: Any = SimpleNamespace(
            in_recovery=True,
            delivery_metrics=DeliveryMetrics(self.registry),
            on_partitions_assigned=SimpleNamespace(connect=lambda handler: setattr(self, "assigned", handler)),
        )
        table: Any = SimpleNamespace(
            local_size=lambda: self.size, on_recover=lambda handler: setattr(self, "recovered", handler)
        )
        self.look = observe_state(StateMetrics(self.registry), self.app, table)

    def metric(self, name: str) -> float | None:
        """Read a metric without labels."""
        return self.registry.get_sample_value(f"insession_{name}")


@pytest.fixture
def worker() -> Worker:
    """Make a worker that recovers."""
    return Worker()


def test_gauges_say_what_was_true_at_the_last_look(worker: Worker) -> None:
    """The event loop looks from the start on: a recovery is told, too."""
    worker.look()
    assert (worker.metric("recovering"), worker.metric("table_keys")) == (1, 0)
    worker.app.in_recovery, worker.size = False, (12, 3400)
    worker.look()
    assert worker.metric("recovering") == 0
    assert (worker.metric("table_keys"), worker.metric("table_bytes")) == (12, 3400)


async def test_every_assignment_and_recovery_counts(worker: Worker) -> None:
    """A rebalance is an assignment; what the recovery after it took is kept until the next one."""
    for _ in range(2):
        await worker.assigned(worker.app, set())
    await worker.recovered()
    assert worker.metric("rebalances_total") == 2
    assert 0 < (worker.metric("last_recovery_seconds") or 0.0) < 60


def test_the_version_that_runs_is_told(tmp_path: Path) -> None:
    """The build is a series of its own, beside CPU and memory of the process."""
    registry = CollectorRegistry()
    add_process_metrics(registry, tmp_path)
    (build,) = [family for family in registry.collect() if family.name == "insession_build"]
    assert [sample.labels["version"] for sample in build.samples] == [version("insession")]
    assert (registry.get_sample_value("process_resident_memory_bytes") or 0) > 0


@pytest.mark.parametrize(
    ("file", "content", "bytes_told"),
    [
        ("memory.max", "33554432\n", 32 << 20),
        ("memory.max", "max\n", psutil.virtual_memory().total),
        ("memory/memory.limit_in_bytes", "33554432\n", 32 << 20),
        ("memory/memory.limit_in_bytes", "9223372036854771712\n", psutil.virtual_memory().total),
        ("other", "", psutil.virtual_memory().total),
    ],
)
def test_the_memory_limit_is_the_containers_or_the_machines(
    tmp_path: Path, file: str, content: str, bytes_told: int
) -> None:
    """Both versions of cgroups are read; without a limit it is what the machine has."""
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(content)
    registry = CollectorRegistry()
    add_process_metrics(registry, tmp_path, cgroup=tmp_path)
    assert registry.get_sample_value("insession_memory_limit_bytes") == bytes_told


def test_the_disk_of_the_data_folder_is_told_before_there_is_a_folder(tmp_path: Path) -> None:
    """A worker makes its folder while it starts; a full disk is seen before that."""
    registry = CollectorRegistry()
    add_process_metrics(registry, tmp_path / "not" / "yet")
    free_bytes = registry.get_sample_value("insession_disk_free_bytes") or 0
    assert 0 < free_bytes <= (registry.get_sample_value("insession_disk_size_bytes") or 0)
