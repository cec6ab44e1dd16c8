"""How far Spark's tasks are, on the one progress bar."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING, Final

from agents.progress_bar import counted_progress

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_LOOK_SECONDS: Final = 0.5


@contextmanager
def task_bar(spark: "SparkSession", what: str) -> Iterator[None]:
    """Show the tasks of the stages that run, while the body runs."""
    tracker, over = spark.sparkContext.statusTracker(), Event()
    with counted_progress() as bar:
        task = bar.add_task(what, total=None)

        def look() -> None:
            done: dict[int, tuple[int, int]] = {}
            while not over.wait(_LOOK_SECONDS):
                for stage in tracker.getActiveStageIds():
                    info = tracker.getStageInfo(stage)
                    if info is not None:
                        done[stage] = (info.numCompletedTasks, info.numTasks)
                if done:
                    completed, total = (sum(numbers) for numbers in zip(*done.values(), strict=True))
                    bar.update(task, completed=completed, total=total)

        looking = Thread(target=look, name="spark-tasks", daemon=True)
        looking.start()
        try:
            yield
        finally:
            over.set()
            looking.join()
