"""Training a network: epochs, their checkpoints, early stopping by the validation slice."""

import math
import time
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.errors import InsessionError
from session_model.networks.collective import Alone, Collective, of_chief
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
    task: TrainingTask,
    shape: NetworkSettings,
    settings: TrainingSettings,
    progress: TrainingProgress,
    collective: Collective | None = None,
) -> TrainedNetwork:
    """Train a new model, or on from its checkpoint; with a validation slice, give its best epoch's weights.

    A training that was interrupted gives the same weights as one that was not. collective: the workers of which this
    process is one; all of them give the same weights.
    """
    collective = Alone() if collective is None else collective
    run = TrainingRun(task, shape, settings, collective)
    file = task.checkpoint_file(shape, settings)
    course = _Course() if file is None else _resumed(file, run, progress)
    _begin_together(run, collective, task)
    saver = _Saver(None if collective.index else file, task.checkpoint_every_seconds)
    n_epochs = min(math.ceil(run.planned_epochs), task.stop_after or settings.epochs)
    progress.started(task.phase, min(n_epochs * run.plan.n_batches, run.total_steps))
    if run.steps_done:
        progress.resumed(course.reports, run.steps_done)
    while not course.is_finished:
        epoch = len(course.reports)
        course.add(run.epoch(epoch, progress, lambda: saver.keep_pace(run, course)), run.model)
        is_last = epoch + 1 >= n_epochs or run.is_over or epoch - course.best >= settings.patience
        course.is_finished = is_last or of_chief(collective, time.monotonic() - task.deadline) >= 0
        saver.save(run, course)
        progress.epoch_ended(course.reports[-1])
    return _trained(run, course)


def trained_before(
    task: TrainingTask, shape: NetworkSettings, settings: TrainingSettings, progress: TrainingProgress
) -> TrainedNetwork | None:
    """Return what a training that has come to its end left in its last checkpoint; None where it has not."""
    run = TrainingRun(task, shape, settings)
    file = task.checkpoint_file(shape, settings)
    course = _Course() if file is None else _resumed(file, run, progress)
    if not course.is_finished:
        return None
    progress.started(task.phase, run.steps_done)
    progress.resumed(course.reports, run.steps_done)
    return _trained(run, course)


def _trained(run: TrainingRun, course: _Course) -> TrainedNetwork:
    run.model.set_weights(course.best_weights)
    return TrainedNetwork(run.model, course.best + 1, run.planned_epochs, course.reports)


def _begin_together(run: TrainingRun, collective: Collective, task: TrainingTask) -> None:
    """Raise InsessionError where another worker goes on from another checkpoint."""
    if collective.total(np.array([float(run.steps_done)]))[0] != collective.n_workers * run.steps_done:
        raise InsessionError(
            f"worker {collective.index} goes on from step {run.steps_done}, another one from another step: all workers "
            f"must see the same folder {task.checkpoints}; put --out on a file system that all hosts share"
        )


class _Saver:
    """Writes checkpoints, none without a file: when asked, and not too often within an epoch."""

    def __init__(self, file: CheckpointFile | None, every_seconds: float) -> None:
        self._file, self._every_seconds = file, every_seconds
        self._last = time.monotonic()

    def keep_pace(self, run: TrainingRun, course: _Course) -> None:
        """Write one if it is time, and the schedule is settled: a resumed run does not settle it again."""
        if run.is_fitted and time.monotonic() - self._last >= self._every_seconds:
            self.save(run, course)

    def save(self, run: TrainingRun, course: _Course) -> None:
        """Write one."""
        if self._file is not None:
            self._file.save(_checkpoint(run, course))
            self._last = time.monotonic()


def _resumed(file: CheckpointFile, run: TrainingRun, progress: TrainingProgress) -> _Course:
    """Put `run` where its checkpoint left it; a new course where there is none."""
    checkpoint, trouble = file.load()
    if trouble is not None:
        progress.noted(f"{trouble}; this training starts anew")
    if checkpoint is None:
        return _Course()
    state, arrays = checkpoint.state, checkpoint.arrays
    reports = msgspec.convert(state["reports"], list[EpochReport])
    run.restore(state["run"], list(arrays.get("losses", [])))
    if not state["is_finished"]:
        run.model.set_weights(list(arrays["weights"]))
        run.optimizer.set_state(list(arrays["optimizer"]))
    return _Course(reports, state["best"], list(arrays.get("best", [])), state["is_finished"])


def _checkpoint(run: TrainingRun, course: _Course) -> Checkpoint:
    """Take everything that the next step depends on; of a finished training, what it gives."""
    arrays: dict[str, list[NDArray[Any]]] = {"best": course.best_weights}
    if not course.is_finished:
        arrays |= {"weights": run.model.weights(), "optimizer": run.optimizer.state(), "losses": run.losses()}
    reports = msgspec.to_builtins(course.reports)
    state = {"run": run.state(), "reports": reports, "best": course.best, "is_finished": course.is_finished}
    return Checkpoint(state, arrays)
