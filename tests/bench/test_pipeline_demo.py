"""The demonstration of the daily loop, as `make pipeline-demo` runs it; it says itself what did not go as it should."""

import json
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest

pytestmark = [pytest.mark.pipeline, pytest.mark.timeout(1800)]


def test_the_daily_loop_is_as_it_is_shown(kafka_brokers: str, tmp_path: Path) -> None:
    """Two champions, kills between them, a refused day; the status says up to when the champion has learned."""
    del kafka_brokers  # it has a Kafka of its own; without one there is none to be had
    command = [sys.executable, "-m", "bench.pipeline_demo", "--folder", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    status = json.loads((tmp_path / "status.json").read_text())
    assert (status["state"], status["problems"]) == ("failed", [])
    learned = datetime.fromisoformat(status["champion"]["data_until"]).date()
    assert learned == datetime.fromisoformat(status["day"]).date() - timedelta(days=2)
    states = [step["state"] for step in status["steps"]]
    assert states[6:] == ["failed", "waiting", "waiting", "waiting"]
    assert (tmp_path / "checks-3.html").exists()
