import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from schemas.errors import UsageError
from session_model.data.item_sequences import ItemSequences
from session_model.distributed.messages import Came, decoder
from session_model.distributed.supervisor import Limits
from session_model.networks.cosine_network import CosineNetwork
from session_model.networks.settings import GruSettings, TrainingSettings
from session_model.networks.training_task import TrainedNetwork, TrainingTask
from session_model.runs.progress import EpochReport, NoProgress

pytest.importorskip("pyspark", reason="the extra spark is not installed")
from agents.batch.barrier_runner import TOLD, BarrierRunner

pytestmark = [
    pytest.mark.usefixtures("spark_machine"),
    pytest.mark.pipeline,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(shutil.which("java") is None, reason="Spark needs Java"),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning"),
]

N_ITEMS = 12
SHAPE = GruSettings(units=8, dimension=8, item_dropout=0.1, state_dropout=0.1, max_length=5)
SETTINGS = TrainingSettings(epochs=1, learning_rate=0.02, batch_targets=32, negatives=6, seed=5)


class Killing(NoProgress):
    """Kills the chief with -9 when a step is reported, once."""

    def __init__(self, folder: Path, at_step: int) -> None:
        self._folder, self._left = folder, at_step
        self.notes: list[str] = []

    def stepped(self, clicks: int = 0) -> None:  # noqa: ARG002 - the protocol's
        """Count down."""
        self._left -= 1
        if self._left == 0:
            lines = (self._folder / TOLD / "0-0.jsonl").read_bytes().splitlines()
            (came,) = [message for message in map(decoder.decode, lines) if isinstance(message, Came)]
            os.kill(came.pid, signal.SIGKILL)

    def resumed(self, reports: Sequence[EpochReport], n_steps: int) -> None:
        """Pass it over."""

    def noted(self, text: str) -> None:
        """Remember it."""
        self.notes.append(text)


def train(folder: Path, progress: NoProgress) -> tuple[TrainedNetwork, BarrierRunner]:
    """Train one epoch by two tasks, with a checkpoint after each step that may have one."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    rows = [(start + np.arange(4)) % N_ITEMS + 1 for start in rng.integers(0, N_ITEMS, 6_000)]
    sequences = ItemSequences(np.arange(0, 24_001, 4), np.concatenate(rows).astype(np.int32))
    runner = BarrierRunner(2, Limits(max_restarts=3), None)
    task = TrainingTask(sequences, N_ITEMS, checkpoints=folder, checkpoint_every_seconds=0.0)
    return runner.train(task, SHAPE, SETTINGS, progress), runner


def test_spark_runs_the_stage_again_when_a_task_is_killed(tmp_path: Path) -> None:
    """It goes on from the checkpoint; the weights are equal to the bit to those of a stage that ran once."""
    undisturbed, runner = train(tmp_path / "undisturbed", NoProgress())
    assert runner.effort.restarts == 0
    killing = Killing(tmp_path / "killed", 30)
    killed, runner = train(tmp_path / "killed", killing)
    assert runner.effort.restarts == 1
    assert isinstance(undisturbed.model, CosineNetwork)
    assert isinstance(killed.model, CosineNetwork)
    pairs = zip(undisturbed.model.weights(), killed.model.weights(), strict=True)
    assert all(np.array_equal(one, other) for one, other in pairs)
    assert any("worker 0 on" in note and "start again (1 of 3)" in note for note in killing.notes)
    assert any(note.startswith("goes on from step ") for note in killing.notes)


def test_too_few_slots_are_told_at_once() -> None:
    """Spark alone would wait."""
    task = TrainingTask(ItemSequences(np.arange(0, 41, 4), np.tile([1, 2, 3, 4], 10).astype(np.int32)), 4)
    runner = BarrierRunner(2, Limits(), "local[1,4]")
    with pytest.raises(UsageError, match="has 1 slots, and --workers 2 need as many"):
        runner.train(task, SHAPE, SETTINGS, NoProgress())
