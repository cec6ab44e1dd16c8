from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from schemas.errors import InsessionError
from session_model.data.item_sequences import ItemSequences
from session_model.distributed.job import Job, read_job
from session_model.networks.settings import AttentionSettings, GruSettings, NetworkSettings, TrainingSettings
from session_model.networks.training_task import TrainingTask

SEQUENCES = ItemSequences(np.array([0, 2, 5]), np.array([1, 2, 3, 1, 2], np.int32))
SETTINGS = TrainingSettings(epochs=3, recency_decay=1.0)


@pytest.mark.parametrize("shape", [GruSettings(units=8), AttentionSettings(blocks=1)])
@pytest.mark.parametrize("validation", [None, SEQUENCES], ids=["all", "held out"])
def test_a_worker_reads_what_was_asked_for(
    tmp_path: Path, shape: NetworkSettings, validation: ItemSequences | None
) -> None:
    """Its checkpoint is the one that the command looks for; the deadline is by its own clock."""
    task = TrainingTask(SEQUENCES, 3, validation, planned_epochs=1.5, stop_after=2, phase="x", checkpoints=tmp_path)
    task = replace(task, checkpoint_every_seconds=float("inf"))
    job = read_job(Job(task, shape, SETTINGS).write(), 7.0)
    assert (job.shape, job.settings, job.task.deadline) == (shape, SETTINGS, 7.0)
    assert job.task.checkpoint_file(shape, SETTINGS) == task.checkpoint_file(shape, SETTINGS)
    plain = replace(task, deadline=7.0, sequences=job.task.sequences, validation=job.task.validation)
    assert job.task == plain
    assert np.array_equal(job.task.sequences.items, SEQUENCES.items)


def test_a_host_that_does_not_see_the_folder_says_so(tmp_path: Path) -> None:
    """It is the usual mistake on a cluster."""
    with pytest.raises(InsessionError, match="all hosts share"):
        read_job(tmp_path / "none.npz", 0.0)
