"""A worker with a model under a steady load for a long time: nothing that it uses creeps.

`make soak` runs it for INSESSION_SOAK_MINUTES (30). The rule is that of `tests/chaos/flatness.py`: of what was sampled
every five seconds the first third is warm-up; over the rest each figure may grow by its bound, by a robust slope.
"""

import os
import threading
import time
from collections import defaultdict
from pathlib import Path

import pytest

from schemas.free_ports import free_port
from schemas.ids import ItemId
from serving.embedded.options import ServerOptions
from serving.embedded_process import EmbeddedServer
from tests.chaos.books import balance_with_ticks
from tests.chaos.flatness import Bound, creep, quantile
from tests.chaos.table import ChaosRow
from tests.compose.release import write_untrained
from tests.kafka.deployment import Deploy, Say
from tests.kafka.shop import live_clicks
from tests.kafka.worker_process import WorkerProcess

MINUTES = float(os.environ.get("INSESSION_SOAK_MINUTES", "30"))
EVENTS_PER_SECOND = 60
VISITORS = 500
SAMPLE_SECONDS = 5.0
ITEMS = 300
SETTINGS = {
    "INSESSION_CLICKSTREAM__FRESHNESS_BUDGET": "2s",
    "INSESSION_SESSIONS__INACTIVITY_GAP": "20",  # so that sessions end and begin as often as they would in days
    "INSESSION_SESSIONS__GRACE_PERIOD": "10",
    "INSESSION_KAFKA__TICK_INTERVAL": "1",
    "INSESSION_KAFKA__ROCKSDB_CACHE_BYTES": "4194304",
}
BOUNDS = {
    "memory, bytes": Bound(ratio=0.10, floor=8 << 20),
    "open files": Bound(ratio=0.10, floor=8),
    "lag, records": Bound(ratio=0.50, floor=2 * EVENTS_PER_SECOND),
    "click to answer p99, seconds": Bound(ratio=0.50, floor=0.1),
}

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.chaos,
    pytest.mark.soak,
    pytest.mark.slow,
    pytest.mark.timeout(600 + 60 * MINUTES),
]


class Gauges:
    """Samples what a worker says of itself."""

    def __init__(self, worker: WorkerProcess) -> None:
        self._worker = worker
        self._latencies = self._histogram()
        self.samples: dict[str, list[float]] = defaultdict(list)

    def sample(self) -> None:
        """Ask once."""
        self.samples["memory, bytes"].append(self._worker.metric("process_resident_memory_bytes"))
        self.samples["open files"].append(self._worker.metric("process_open_fds"))
        self.samples["lag, records"].append(self._worker.metric("insession_consumer_lag_records"))
        before, self._latencies = self._latencies, self._histogram()
        counts = [list(latencies.values()) for latencies in (before, self._latencies)]
        p99 = quantile(counts[0], counts[1], list(self._latencies), 0.99)
        self.samples["click to answer p99, seconds"].append(p99)

    def _histogram(self) -> dict[float, float]:
        lines = self._worker.page("/metrics").text.splitlines()
        buckets = [line for line in lines if line.startswith("insession_end_to_end_seconds_bucket{")]
        return {float(line.split('le="')[1].split('"')[0]): float(line.rsplit(" ", 1)[1]) for line in buckets}


@pytest.mark.fault(
    f"none: {EVENTS_PER_SECOND} events/s with a model for {MINUTES:g} min (`make soak`)",
    "none lost; memory, files, lag and p99 do not creep",
)
def test_nothing_creeps(deploy: Deploy, row: ChaosRow, say: Say, tmp_path: Path) -> None:
    """Beside that every click is answered, and every session is the one that the clicks make."""
    write_untrained(tmp_path / "models", [ItemId(f"i{number}") for number in range(ITEMS)])
    options = ServerOptions(models=tmp_path / "models", port=free_port())
    with EmbeddedServer(options, log_path=tmp_path / "server.log") as server:
        served = {
            "INSESSION_SERVING__ADDRESS": server.address,
            "INSESSION_SERVING__MODELS_DIRECTORY": str(tmp_path / "models"),
        }
        deployment = deploy(**SETTINGS, **served)
        worker = deployment.worker()
        worker.wait_until_ready()
        gauges, until = Gauges(worker), time.monotonic() + 60 * MINUTES
        with deployment.traffic(live_clicks(seed=50, visitors=VISITORS)).at_rate(EVENTS_PER_SECOND):
            while time.monotonic() < until:
                threading.Event().wait(SAMPLE_SECONDS)  # the time that passes is what is tested
                gauges.sample()
        balance_with_ticks(deployment, row, worker)
    for name, samples in gauges.samples.items():
        say(f"{name}: {samples[0]:.4g} first, {samples[len(samples) // 3]:.4g} warm, {samples[-1]:.4g} last")
    crept = {name: told for name, bound in BOUNDS.items() if (told := creep(gauges.samples[name], bound))}
    assert crept == {}
