"""What the workers train, as a file that each reads: no process hands objects to another."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.errors import InsessionError
from session_model.data.item_sequences import ItemSequences
from session_model.networks.settings import NetworkSettings, TrainingSettings
from session_model.networks.training_task import TrainingTask
from session_model.runs.checkpoints import Checkpoint, CheckpointFile

_KINDS: dict[str, type[NetworkSettings]] = {kind.__name__: kind for kind in get_args(NetworkSettings)}
_FOLDER = "job"


@dataclass(frozen=True, slots=True)
class Job:
    """The arguments of a training."""

    task: TrainingTask
    shape: NetworkSettings
    settings: TrainingSettings

    def write(self) -> Path:
        """Write it below the checkpoints of the task and return its path, for `read_job`."""
        checkpoint = self.task.checkpoint_file(self.shape, self.settings)
        assert checkpoint is not None, "workers go on from checkpoints"
        folder = checkpoint.folder.resolve()
        (folder / _FOLDER).mkdir(exist_ok=True)
        file = CheckpointFile(folder / _FOLDER, checkpoint.fingerprint)
        task = self.task
        state = {
            "n_items": task.n_items,
            "planned_epochs": task.planned_epochs,
            "stop_after": task.stop_after,
            "phase": task.phase,
            "checkpoints": str(folder),
            "checkpoint_every_seconds": task.checkpoint_every_seconds,
            "network": type(self.shape).__name__,
            "shape": msgspec.to_builtins(self.shape),
            "settings": msgspec.to_builtins(self.settings),
        }
        arrays: dict[str, list[NDArray[Any]]] = {"sequences": [task.sequences.starts, task.sequences.items]}
        if task.validation is not None:
            arrays |= {"validation": [task.validation.starts, task.validation.items]}
        file.save(Checkpoint(state, arrays))
        return file.path


def read_job(path: Path, deadline: float) -> Job:
    """Read it. Raises InsessionError where this host does not see it.

    deadline: that of the task, by `time.monotonic()` of this host.
    """
    try:
        with path.open("rb") as opened, np.load(opened) as file:
            state: dict[str, Any] = json.loads(file["state"].tobytes())
            arrays = {name: file[name] for name in file.files if name != "state"}
    except (OSError, ValueError) as error:
        raise InsessionError(
            f"{path} cannot be read ({error}): all workers must see the folder of --out; put it on a file system that "
            "all hosts share"
        ) from error
    task = TrainingTask(
        sequences=ItemSequences(arrays["sequences.0"], arrays["sequences.1"]),
        n_items=state["n_items"],
        validation=(
            ItemSequences(arrays["validation.0"], arrays["validation.1"]) if "validation.0" in arrays else None
        ),
        deadline=deadline,
        planned_epochs=state["planned_epochs"],
        stop_after=state["stop_after"],
        phase=state["phase"],
        checkpoints=Path(state["checkpoints"]),
        checkpoint_every_seconds=state["checkpoint_every_seconds"],
    )
    return Job(
        task,
        msgspec.convert(state["shape"], _KINDS[state["network"]]),
        msgspec.convert(state["settings"], TrainingSettings),
    )
