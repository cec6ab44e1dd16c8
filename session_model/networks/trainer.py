"""Who trains a network, and what it cost: this process alone, or workers."""

from dataclasses import dataclass
from typing import Protocol

from session_model.networks.network_training import train_network
from session_model.networks.settings import NetworkSettings, TrainingSettings
from session_model.networks.training_task import TrainedNetwork, TrainingTask
from session_model.runs.progress import TrainingProgress


@dataclass(frozen=True, slots=True)
class Effort:
    """What a training took of its workers; the last three are those of a step, and 0 where nobody measures.

    restarts: of all workers, after one was lost. seconds_lost: from the last step before a loss until as far again.
    bytes_per_step: what a worker sends. cpu_seconds_per_step: of all workers together.
    """

    workers: int = 1
    restarts: int = 0
    seconds_lost: float = 0.0
    bytes_per_step: float = 0.0
    seconds_per_step: float = 0.0
    cpu_seconds_per_step: float = 0.0


class Trainer(Protocol):
    """Trains networks one after another."""

    @property
    def effort(self) -> Effort:
        """What it took so far."""

    def train(
        self, task: TrainingTask, shape: NetworkSettings, settings: TrainingSettings, progress: TrainingProgress
    ) -> TrainedNetwork:
        """Train as `train_network` does."""


class OneProcess:
    """This process alone; implements Trainer."""

    effort = Effort()

    def train(
        self, task: TrainingTask, shape: NetworkSettings, settings: TrainingSettings, progress: TrainingProgress
    ) -> TrainedNetwork:
        """Train here."""
        return train_network(task, shape, settings, progress)
