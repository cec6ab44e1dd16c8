"""Training a network: epochs, their checkpoints, early stopping by the validation slice."""

import math
import time
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from session_model.networks.cosine_network import CosineNetwork
from session_model.networks.settings import NetworkSettings, TrainingSettings
from session_model.networks.training_run import TrainingRun
from session_model.networks.training_task import TrainedNetwork, TrainingTask
from session_model.runs.checkpoints import Checkpoint, CheckpointFile
from session_model.runs.progress import EpochReport, TrainingProgress


@dataclass(slots=True)
class _Course:
    """How far a training has come; `best` counts from 0."""

    reports: list[EpochReport] = field(default_factory=list)
    best: int = 0
    best_weights: list[NDArray[np.float32]] = field(default_factory=list)
    is_finished: bool = False

    def add(self, report: EpochReport, model: CosineNetwork) -> None:
        """Take an epoch in; the later one of equals is the best."""
        self.reports.append(report)
        if report.gain >= self.reports[self.best].gain:
            self.best, self.best_weights = len(self.reports) - 1, model.weights()


def train_network(
    task: TrainingTask, shape: NetworkSettings, settings: TrainingSettings, progress: TrainingProgress
) -> TrainedNetwork:
    """Train a new model, or on from its checkpoint; with a validation slice, give its best epoch's weights.

    A training that was interrupted gives the same weights as one that was not.
    """
    run = TrainingRun(task, shape, settings)
    file = task.checkpoint_file(shape, settings)
    course = _Course() if file is None else _resumed(file, run, progress)
    n_epochs = min(math.ceil(run.planned_epochs), task.stop_after or settings.epochs)
    progress.started(task.phase, min(n_epochs * run.plan.n_batches, run.total_steps))
    if course.reports:
        progress.resumed(course.reports, len(course.reports) * run.plan.n_batches)
    while not course.is_finished:
        epoch = len(course.reports)
        course.add(run.epoch(epoch, progress), run.model)
        is_last = epoch + 1 >= n_epochs or run.is_over or epoch - course.best >= settings.patience
        course.is_finished = is_last or time.monotonic() >= task.deadline
        if file is not None:
            file.save(_checkpoint(run, course))
        progress.epoch_ended(course.reports[-1])
    run.model.set_weights(course.best_weights)
    return TrainedNetwork(run.model, course.best + 1, run.planned_epochs, course.reports)


def _resumed(file: CheckpointFile, run: TrainingRun, progress: TrainingProgress) -> _Course:
    """Put `run` where its checkpoint left it; a new course where there is none."""
    checkpoint, trouble = file.load()
    if trouble is not None:
        progress.noted(f"{trouble}; this training starts anew")
    if checkpoint is None:
        return _Course()
    state, arrays = checkpoint.state, checkpoint.arrays
    reports = msgspec.convert(state["reports"], list[EpochReport])
    run.restore(state["run"])
    if not state["is_finished"]:
        run.model.set_weights(list(arrays["weights"]))
        run.optimizer.set_state(list(arrays["optimizer"]))
    return _Course(reports, state["best"], list(arrays["best"]), state["is_finished"])


def _checkpoint(run: TrainingRun, course: _Course) -> Checkpoint:
    """Take everything that the next epoch depends on; of a finished training, what it gives."""
    arrays = {"best": course.best_weights}
    if not course.is_finished:
        arrays |= {"weights": run.model.weights(), "optimizer": run.optimizer.state()}
    reports = msgspec.to_builtins(course.reports)
    state = {"run": run.state(), "reports": reports, "best": course.best, "is_finished": course.is_finished}
    return Checkpoint(state, arrays)
