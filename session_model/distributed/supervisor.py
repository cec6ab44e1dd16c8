"""Trains by workers of this machine; when one is lost, all start again from the last checkpoint.

All and not the one: every update of a synchronous training needs everyone, and TensorFlow's cluster takes nobody back
(tensorflow/community#249, tensorflow/tensorflow#42498). docs/adr/0015 has what else was tried.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from schemas.errors import InsessionError
from session_model.distributed.attempt import Attempt, AttemptSettings, WorkerLostError, worker_command
from session_model.distributed.job import Job
from session_model.distributed.messages import Finished
from session_model.distributed.relay import Relay, add_effort
from session_model.distributed.worker import Assignment
from session_model.networks.network_training import trained_before
from session_model.networks.settings import NetworkSettings, TrainingSettings
from session_model.networks.trainer import Effort
from session_model.networks.training_task import TrainedNetwork, TrainingTask
from session_model.runs.progress import NoProgress, TrainingProgress

LOGS: Final = "workers"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a training by workers bears.

    max_restarts: of all workers, in one training. start_timeout_seconds: until all of them have met.
    """

    max_restarts: int = 5
    start_timeout_seconds: float = 300.0


class Supervisor:
    """Starts `n_workers` processes a training; implements session_model.networks.trainer.Trainer.

    command: of a worker.
    """

    def __init__(
        self,
        n_workers: int,
        limits: Limits,
        command: Callable[[Assignment], Sequence[str]] = worker_command,
    ) -> None:
        self._limits, self._command = limits, command
        self.effort = Effort(workers=n_workers)

    def train(
        self, task: TrainingTask, shape: NetworkSettings, settings: TrainingSettings, progress: TrainingProgress
    ) -> TrainedNetwork:
        """Train as `train_network` does. Raises InsessionError where too many starts have lost a worker."""
        before = trained_before(task, shape, settings, progress)
        if before is not None:
            return before
        relay = Relay(progress)
        finished = self._run(Job(task, shape, settings), relay)
        relay.ended()
        self.effort = add_effort(self.effort, relay, finished)
        trained = trained_before(task, shape, settings, NoProgress())
        assert trained is not None, "the chief writes its last checkpoint before it is done"
        return trained

    def _run(self, job: Job, relay: Relay) -> list[Finished]:
        path = job.write()
        logs = path.parent.with_name(LOGS)
        logs.mkdir(exist_ok=True)
        settings = AttemptSettings(logs, self._limits.start_timeout_seconds, command=self._command)
        relay.progress.noted(f"starting {self.effort.workers} workers; each loads TensorFlow")
        while True:
            seconds_left = job.task.deadline - time.monotonic()
            try:
                with Attempt(path, self.effort.workers, seconds_left, settings) as attempt:
                    return attempt.run(relay)
            except WorkerLostError as error:
                if relay.restarts == self._limits.max_restarts:
                    raise InsessionError(
                        f"{error}, after step {relay.step} and {relay.restarts} restarts, which is --max-restarts; "
                        f"the logs are in {logs}; the same command goes on from the last checkpoint"
                    ) from error
                relay.lost(str(error), limit=self._limits.max_restarts)
