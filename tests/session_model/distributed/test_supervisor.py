"""Real workers on a tiny training: each start loads TensorFlow in two processes, so there are few."""

import os
import re
import signal
import socket
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from schemas.errors import InsessionError
from session_model.data.item_sequences import ItemSequences
from session_model.distributed.attempt import worker_command
from session_model.distributed.supervisor import Limits, Supervisor
from session_model.distributed.worker import Assignment
from session_model.networks.cosine_network import CosineNetwork
from session_model.networks.network_training import train_network
from session_model.networks.settings import AttentionSettings, GruSettings, TrainingSettings
from session_model.networks.training_task import TrainedNetwork, TrainingTask
from session_model.runs.progress import EpochReport, NoProgress

pytestmark = [pytest.mark.pipeline, pytest.mark.timeout(1800)]

N_ITEMS = 12
SHAPE = GruSettings(units=8, dimension=8, item_dropout=0.1, state_dropout=0.1, max_length=5)
SETTINGS = TrainingSettings(epochs=2, learning_rate=0.02, batch_targets=32, negatives=6, patience=4, seed=5)
MAX_DETECTION_SECONDS = 15.0


class Disturbing(NoProgress):
    """Sends a signal to a worker when its training is reported to have done a step, each once."""

    def __init__(self, faults: dict[int, tuple[int, signal.Signals]]) -> None:
        self._faults = faults
        self._step = 0
        self._sent_at = 0.0
        self.notes: list[str] = []
        self.detection_seconds: list[float] = []

    def stepped(self, clicks: int = 0) -> None:  # noqa: ARG002 - the protocol's
        """Disturb after this step."""
        self._step += 1
        index, number = self._faults.pop(self._step, (None, None))
        if number is not None:
            os.kill(worker(index).pid, number)
            self._sent_at = time.monotonic()

    def resumed(self, reports: Sequence[EpochReport], n_steps: int) -> None:  # noqa: ARG002 - the protocol's
        """Go on counting from there."""
        self._step = n_steps

    def noted(self, text: str) -> None:
        """Remember it, and how long it took to find a loss."""
        self.notes.append(text)
        if "start again" in text:
            self.detection_seconds.append(time.monotonic() - self._sent_at)


def worker(index: int | None) -> psutil.Process:
    """Find the running worker of this process."""
    (found,) = [child for child in psutil.Process().children() if f"--index={index}" in child.cmdline()]
    return found


def sessions(n_sessions: int, seed: int) -> ItemSequences:
    """Make sessions that walk the items in a circle."""
    rng = np.random.default_rng(seed)
    first, lengths = rng.integers(0, N_ITEMS, n_sessions), rng.integers(2, 7, n_sessions)
    rows = [(start + np.arange(length)) % N_ITEMS + 1 for start, length in zip(first, lengths, strict=True)]
    return ItemSequences(np.cumsum([0, *lengths]).astype(np.int64), np.concatenate(rows).astype(np.int32))


def task_in(folder: Path) -> TrainingTask:
    """Give two epochs of 40 steps and more, with a checkpoint after each step that may have one."""
    folder.mkdir()
    return TrainingTask(
        sessions(400, 0), N_ITEMS, validation=sessions(50, 1), checkpoints=folder, checkpoint_every_seconds=0.0
    )


def weights(trained: TrainedNetwork) -> bytes:
    """Return all weights, to the bit."""
    assert isinstance(trained.model, CosineNetwork)
    return b"".join(weight.tobytes() for weight in trained.model.weights())


def without_time(reports: list[EpochReport]) -> list[EpochReport]:
    """Leave out what hangs on the machine."""
    return [replace(report, seconds=0.0) for report in reports]


def test_lost_workers_change_nothing_but_the_time(tmp_path: Path) -> None:
    """A worker and the chief killed with -9, and one that hangs, each in mid-epoch: weights are equal to the bit."""
    before = set(psutil.Process().children())
    supervisor = Supervisor(2, Limits())
    undisturbed = supervisor.train(task_in(tmp_path / "undisturbed"), SHAPE, SETTINGS, NoProgress())
    assert (supervisor.effort.restarts, supervisor.effort.seconds_lost) == (0, 0.0)
    table_rows, dense = N_ITEMS + 1, sum(weight.size for weight in undisturbed.model.weights()[1:])  # type: ignore[attr-defined]
    assert supervisor.effort.bytes_per_step == pytest.approx(4 * (table_rows * SHAPE.dimension + dense + 2), rel=0.2)
    assert supervisor.effort.cpu_seconds_per_step > 0

    faults = {30: (1, signal.SIGKILL), 35: (0, signal.SIGKILL), 60: (1, signal.SIGSTOP)}
    progress = Disturbing(dict(faults))
    disturbed = supervisor.train(task_in(tmp_path / "disturbed"), SHAPE, SETTINGS, progress)
    assert weights(disturbed) == weights(undisturbed)
    assert without_time(disturbed.reports) == without_time(undisturbed.reports)
    assert supervisor.effort.restarts == 3
    assert supervisor.effort.seconds_lost > 0
    told = [note for note in progress.notes if "start again" in note]
    lost = [
        r"worker 1 on \S+ .* was killed by SIGKILL",
        r"worker 0 on \S+ .* was killed by SIGKILL",
        r"worker 1 .* hangs",
    ]
    assert all(re.match(words, note) for words, note in zip(lost, told, strict=True)), told
    assert sum(note.startswith("goes on from step ") for note in progress.notes) == 3
    assert max(progress.detection_seconds) < MAX_DETECTION_SECONDS
    assert set(psutil.Process().children()) <= before


def test_two_workers_learn_what_one_process_learns(tmp_path: Path) -> None:
    """Without dropout their update is that of a single process but for rounding; of the other network, too."""
    shape = AttentionSettings(dimension=8, dropout=0.0, max_length=5)
    settings = replace(SETTINGS, epochs=1)
    supervisor = Supervisor(2, Limits())
    task = task_in(tmp_path / "two")
    two = supervisor.train(task, shape, settings, NoProgress())
    one = train_network(replace(task, checkpoints=None), shape, settings, NoProgress())
    assert isinstance(one.model, CosineNetwork)
    assert isinstance(two.model, CosineNetwork)
    for mine, other in zip(one.model.weights(), two.model.weights(), strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-3)
    assert one.reports[0].loss == pytest.approx(two.reports[0].loss, rel=1e-4)
    assert one.reports[0].mrr_at_20 == pytest.approx(two.reports[0].mrr_at_20, rel=1e-6)
    # A training that is finished starts no workers.
    Supervisor(2, Limits(), lambda _: ["false"]).train(task, shape, settings, NoProgress())


def test_a_port_that_is_taken_costs_a_start(tmp_path: Path) -> None:
    """It was free when it was chosen; the next start has others."""
    taken = list[socket.socket]()

    def command(assignment: Assignment) -> Sequence[str]:
        if assignment.index == 1 and not taken:
            host, _, port = assignment.addresses[1].partition(":")
            taken.append(socket.create_server((host, int(port))))
        return worker_command(assignment)

    progress, supervisor = Disturbing({}), Supervisor(2, Limits(), command)
    supervisor.train(task_in(tmp_path / "taken"), SHAPE, replace(SETTINGS, epochs=1), progress)
    taken[0].close()
    assert supervisor.effort.restarts == 1
    (told,) = [note for note in progress.notes if "start again" in note]
    assert re.match(r"worker 1 on \S+ .* cannot listen at its port, which another program has taken", told)


def test_the_restarts_have_a_limit(tmp_path: Path) -> None:
    """The last words name who was lost and what to do."""
    progress = Disturbing({})
    supervisor = Supervisor(2, Limits(max_restarts=2), lambda _: ["/bin/sh", "-c", "exit 3"])
    with pytest.raises(InsessionError, match=r"worker [01] .* exit code 3, .* 2 restarts, .* the same command goes on"):
        supervisor.train(task_in(tmp_path / "lost"), SHAPE, SETTINGS, progress)
    assert sum("start again" in note for note in progress.notes) == 2
