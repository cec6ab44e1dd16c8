"""The disk of the data folder is full or read-only, or holds what was not written, under a worker with traffic."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos.books import balance, kept_alive, let_pass, recovery
from tests.chaos.table import ChaosRow
from tests.kafka.deployment import NO_TICKS, Deploy, Deployment
from tests.kafka.shop import Shop
from tests.kafka.worker_process import WorkerProcess

EVENTS_PER_SECOND = 100
EVENTS_BEFORE = 300
SMALL = {"INSESSION_KAFKA__ROCKSDB_CACHE_BYTES": "131072"}
"""So that tables are written soon."""
DISK = "size=48m"

pytestmark = [pytest.mark.kafka, pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Yield the worker `a` a small disk, which is all its data folder."""
    folder = tmp_path / "a"
    folder.mkdir()
    made = mount("-t", "tmpfs", "-o", DISK, "tmpfs", str(folder))
    if made.returncode != 0:
        pytest.skip(f"a disk of its own takes the right to mount one: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def mount(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run mount."""
    return subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)


def full(_deployment: Deployment, worker: WorkerProcess, disk: Path) -> Callable[[], None]:
    """Fill the disk under the worker."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        while True:
            try:
                file.write(bytes(1 << 16))
            except OSError:
                break
    assert worker.wait() == 1
    assert "free some space" in worker.log_text()
    return filler.unlink


def read_only(deployment: Deployment, worker: WorkerProcess, disk: Path) -> Callable[[], None]:
    """Kill the worker; its disk is read-only when it comes back."""
    worker.end(signal.SIGKILL)
    assert mount("-o", "remount,ro", str(disk)).returncode == 0
    back = deployment.worker(**SMALL)
    assert back.wait() == 1
    assert "Read-only file system" in back.log_text()
    return lambda: mount("-o", f"remount,rw,{DISK}", str(disk)).check_returncode()


def corrupt(_deployment: Deployment, worker: WorkerProcess, disk: Path) -> Callable[[], None]:
    """Kill the worker, and turn bytes over in the middle of every table."""
    worker.wait_until(lambda: any(disk.rglob("*.sst")), "it wrote a table")
    worker.end(signal.SIGKILL)
    for table in disk.rglob("*.sst"):
        content = bytearray(table.read_bytes())
        middle = len(content) // 2
        content[middle : middle + 2000] = os.urandom(len(content[middle : middle + 2000]))
        table.write_bytes(content)
    return lambda: None


FAULTS = {"full": full, "read-only after a kill -9": read_only, "corrupt after a kill -9": corrupt}


@pytest.mark.fault("the worker's disk is {fault}", "ends with a message, heals, states of an undisturbed run")
@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_is_lost_by_a_bad_disk(deploy: Deploy, row: ChaosRow, disk: Path, fault: str) -> None:
    """A worker that cannot write its copy of the state ends; it goes on as soon as it can."""
    deployment = deploy(partitions=2, **NO_TICKS)
    traffic = deployment.traffic(Shop(seed=40, visitors=2000).clicks())
    worker = deployment.worker(**SMALL)
    worker.wait_until_ready()
    with traffic.at_rate(EVENTS_PER_SECOND):
        let_pass(traffic, worker, EVENTS_BEFORE)
        mend = FAULTS[fault](deployment, worker, disk)
        mend()
        with recovery(row):
            worker = kept_alive(deployment, deployment.worker(**SMALL), **SMALL)
    balance(deployment, row, kept_alive(deployment, worker, **SMALL))
