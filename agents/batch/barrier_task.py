"""What a task of the barrier stage does; loads no TensorFlow before its environment names the cluster."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

from schemas.free_ports import free_port
from session_model.distributed.messages import Teller
from session_model.distributed.worker import Assignment, work


def work_as_task(job: Path, told: Path, deadline: float, _: Iterator[int]) -> Iterator[int]:
    """Work as a task of the barrier stage; deadline: seconds of Unix time."""
    from pyspark import BarrierTaskContext  # noqa: PLC0415 - an extra

    context = BarrierTaskContext.get()
    index = context.partitionId()
    host = context.getTaskInfos()[index].address.partition(":")[0]
    gathered = [one.split() for one in context.allGather(f"{context.taskAttemptId()} {host}:{free_port('')}")]
    start = min(int(attempt) for attempt, _ in gathered)  # Spark numbers tasks on and on
    file = os.open(told / f"{start}-{index}.jsonl", os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o644)
    assignment = Assignment(job, index, [one for _, one in gathered], deadline - time.time())
    if not work(assignment, Teller(file)):
        raise RuntimeError(f"worker {index} could not go on; its reason is in {told}")
    context.barrier()  # a cluster misses who leaves before the others
    yield index
