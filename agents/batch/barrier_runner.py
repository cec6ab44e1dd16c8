"""Trains by the tasks of a barrier stage, which Spark itself runs again when one is lost.

A barrier stage starts all of its tasks at once or none (Project Hydrogen, SPARK-24374). One that ends in a result is
not run again: "Could not recover from a failed barrier ResultStage". So a shuffle follows, which makes it a map stage.
The worker is that of `--runner processes`; what it tells goes to files beside the checkpoints, which all hosts see.
"""

import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from agents.batch.barrier_task import work_as_task
from agents.batch.message_files import MessageFiles
from agents.batch.spark_session import spark_session
from schemas.errors import InsessionError, UsageError
from session_model.distributed.job import Job
from session_model.distributed.messages import Finished
from session_model.distributed.relay import Relay, add_effort
from session_model.distributed.supervisor import Limits
from session_model.networks.network_training import trained_before
from session_model.networks.settings import NetworkSettings, TrainingSettings
from session_model.networks.trainer import Effort
from session_model.networks.training_task import TrainedNetwork, TrainingTask
from session_model.runs.progress import NoProgress, TrainingProgress

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

TOLD: Final = "told"
_POLL_SECONDS: Final = 0.5


class BarrierRunner:
    """Trains on the cluster of `master`; implements session_model.networks.trainer.Trainer.

    master: None: as many slots of this machine as there are workers.
    """

    def __init__(self, n_workers: int, limits: Limits, master: str | None) -> None:
        self._limits = limits
        self._master = master or f"local[{n_workers},{limits.max_restarts + 1}]"
        self.effort = Effort(workers=n_workers)

    def train(
        self, task: TrainingTask, shape: NetworkSettings, settings: TrainingSettings, progress: TrainingProgress
    ) -> TrainedNetwork:
        """Train as `train_network` does. Raises UsageError where Spark has fewer slots than there are workers."""
        before = trained_before(task, shape, settings, progress)
        if before is not None:
            return before
        relay = Relay(progress)
        progress.noted(f"starting {self.effort.workers} workers on Spark at {self._master}; each loads TensorFlow")
        with spark_session("train", self._master, _conf(self._limits.max_restarts)) as spark:
            self._wait_for_slots(spark)
            finished = self._run(spark, Job(task, shape, settings), relay)
        relay.ended()
        self.effort = add_effort(self.effort, relay, finished)
        trained = trained_before(task, shape, settings, NoProgress())
        if trained is None:
            raise InsessionError(
                f"the workers have trained, but their last checkpoint is not in {task.checkpoints}; put --out on a "
                "file system that all hosts share"
            )
        return trained

    def _wait_for_slots(self, spark: "SparkSession") -> None:
        """Spark alone would wait for ten minutes and say nothing (tensorflow/ecosystem#161)."""
        n_workers, until = self.effort.workers, time.monotonic() + self._limits.start_timeout_seconds
        is_local = self._master.startswith("local")
        while (slots := spark.sparkContext.defaultParallelism) < n_workers:
            if is_local or time.monotonic() > until:
                raise UsageError(
                    f"Spark at {self._master} has {slots} slots, and --workers {n_workers} need as many at once: give "
                    f"it more cores (--master local[{n_workers},4] on one machine), or take fewer workers"
                )
            time.sleep(_POLL_SECONDS)

    def _run(self, spark: "SparkSession", job: Job, relay: Relay) -> list[Finished]:
        path = job.write()
        told = path.parent.with_name(TOLD)
        told.mkdir(exist_ok=True)
        for old in told.iterdir():
            old.unlink()
        workers = MessageFiles(told, relay, self._limits)
        left = job.task.deadline - time.monotonic()
        task = partial(work_as_task, path, told, time.time() + left)
        numbers = spark.sparkContext.parallelize(range(self.effort.workers), self.effort.workers)
        stage = numbers.barrier().mapPartitions(task).map(lambda index: (index, index)).partitionBy(1)
        with ThreadPoolExecutor(1, "spark-job") as pool:
            running: Future[Any] = pool.submit(stage.collect)
            try:
                while not running.done():
                    wait([running], _POLL_SECONDS)
                    workers.poll()
            finally:
                spark.sparkContext.cancelAllJobs()
        workers.poll()
        if (error := running.exception()) is not None:
            raise InsessionError(
                f"the training on Spark at {self._master} has ended after step {relay.step} and {relay.restarts} "
                f"restarts ({_first_line(error)}); {workers.last_loss()}; the same command goes on from the last "
                "checkpoint"
            ) from error
        return workers.finished()


def _conf(max_restarts: int) -> dict[str, str]:
    return {
        "spark.log.level": "OFF",  # a lost task is told by us; Spark would print the stack of each
        "spark.python.worker.reuse": "false",  # TensorFlow cannot leave one cluster for another
        "spark.stage.maxConsecutiveAttempts": str(max_restarts + 1),
        "spark.task.maxFailures": str(max_restarts + 1),
    }


def _first_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    reason = next((line for line in lines if "Exception" in line or "failed" in line), "")
    return f"{type(error).__name__}: {reason or (lines or [''])[0]}"[:300]
