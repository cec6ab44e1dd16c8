"""The loop with real jobs on the generated shop: Spark, TensorFlow, checks, and a runner that is killed."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from agents.shop.settings import ShopSettings
from agents.shop.traffic import generate_events
from schemas import wire
from schemas.events import from_unix_ms
from streams.local.java import JavaUnavailableError, find_java

pytestmark = [pytest.mark.pipeline, pytest.mark.timeout(1800)]

FIRST = date(2026, 1, 5)
SETTINGS = """
[pipeline]
source = "clicks/{day}.jsonl.gz"
source_format = "jsonl"
work = "work"
models = "models"
history_days = 2
min_sessions = 100
preset = "small"
epochs = 2
master = "local[2]"
spark_conf = ["spark.sql.shuffle.partitions=2", "spark.driver.memory=1g"]

[checks]
min_targets = 100
min_slice_targets = 1000000
max_p99_ratio = 100.0
max_item_drift = 1.0
max_score_drift = 100.0
"""
"""Limits that hang on a day's load and luck are wide: what is tried here is the loop."""
PATIENCE_SECONDS = 600.0


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Have three days of clicks, and settings."""
    try:
        find_java("Spark")
    except JavaUnavailableError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("shop")
    (folder / "clicks").mkdir()
    (folder / "worker.toml").write_text(SETTINGS)
    start = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC)
    with ExitStack() as files:
        logs: dict[date, Any] = {}
        for event in generate_events(ShopSettings(seed=7, sessions_per_hour=60, start=start)):
            day = from_unix_ms(event.click.event_time_ms).date()
            if day >= FIRST + timedelta(days=3):
                break
            if day not in logs:
                logs[day] = files.enter_context(gzip.open(folder / "clicks" / f"{day}.jsonl.gz", "wb"))
            logs[day].write(wire.encode(event.click) + b"\n")
    return folder


def command(shop: Path, *arguments: str) -> list[str]:
    """Spell a command."""
    return [sys.executable, "-m", "agents", "pipeline", *arguments, "--config", str(shop / "worker.toml")]


def run(shop: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    return subprocess.run(command(shop, *arguments), cwd=shop, capture_output=True, text=True, check=False)


def status(shop: Path) -> dict[str, Any]:
    """Ask for it, as a machine does."""
    found: dict[str, Any] = json.loads(run(shop, "status", "--json").stdout)
    return found


def state_of(shop: Path, step: str) -> str:
    """Return how a step stands."""
    states = {one["name"]: one["state"] for one in status(shop)["steps"]}
    return str(states.get(step, "unknown"))


def until(what: str, shop: Path, step: str) -> Iterator[None]:
    """Yield until a step is in a state."""
    end = time.monotonic() + PATIENCE_SECONDS
    while state_of(shop, step) != what:
        assert time.monotonic() < end, f"{step} is not {what}"
        yield


@pytest.fixture(scope="module")
def served(shop: Path) -> Path:
    """Have run the second day."""
    ended = run(shop, "run", "--day", str(FIRST + timedelta(days=1)))
    assert ended.returncode == 0, ended.stderr
    return shop


def test_a_generated_day_becomes_the_champion(served: Path) -> None:
    """By the real jobs, from the log of the shop; the status says up to when it has learned."""
    found = status(served)
    assert (found["state"], found["champion"]["version"], found["candidate"]) == ("done", 1, None)
    assert found["champion"]["data_until"].startswith("2026-01-05T23:")
    assert [one["state"] for one in found["steps"]] == ["done"] * 8 + ["skipped", "done"]
    assert found["steps"][4]["outputs"]["version"] == 1
    assert found["problems"] == []


def test_a_second_run_takes_no_step(served: Path) -> None:
    """It takes the time of looking."""
    before = sorted((path, path.stat().st_mtime_ns) for path in (served / "work").rglob("*") if path.is_file())
    ended = run(served, "run", "--day", str(FIRST + timedelta(days=1)))
    assert ended.returncode == 0
    assert "version 1 is the champion" in ended.stdout
    after = sorted((path, path.stat().st_mtime_ns) for path in (served / "work").rglob("*") if path.is_file())
    changed = {path.name for path, _ in {*before} ^ {*after}}
    assert changed <= {".lock"}


def test_a_runner_that_is_killed_in_the_training_goes_on(served: Path) -> None:
    """The training ends with it; the same command takes it up, and holds the release against the champion."""
    day = str(FIRST + timedelta(days=2))
    with (
        (served / "killed.log").open("w") as log,
        subprocess.Popen(command(served, "run", "--day", day), cwd=served, stdout=log, stderr=log) as runner,
    ):
        for _ in until("running", served, "train"):
            assert runner.poll() is None, (served / "killed.log").read_text()
        (training,) = [one for one in psutil.Process(runner.pid).children() if "train" in one.cmdline()]
        os.kill(runner.pid, signal.SIGKILL)
        psutil.wait_procs([training], timeout=30)
        assert not training.is_running()
    found = status(served)
    assert (found["state"], found["is_running"], found["champion"]["version"]) == ("interrupted", False, 1)
    ended = run(served, "run", "--day", day)
    assert ended.returncode == 0, ended.stderr
    assert "tfrecords: begins" not in ended.stderr
    found = status(served)
    assert (found["champion"]["version"], found["state"]) == (2, "done")
    assert found["steps"][6]["inputs"]["against"] == 1
