"""What a training of a network works on, and what comes of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from session_model.data.item_sequences import ItemSequences
from session_model.networks.next_item import NextItemNetwork
from session_model.networks.settings import NetworkSettings, TrainingSettings
from session_model.runs.checkpoints import CheckpointFile, fingerprint
from session_model.runs.progress import EpochReport

DEFAULT_CHECKPOINT_EVERY_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class TrainingTask:
    """What one training run works on.

    validation: later sessions; None trains the planned epochs without looking.
    deadline: `time.monotonic()` seconds at which training should end: the planned epochs, and with them the
    learning-rate schedule, are shortened to what fits, and no further epoch is begun after it.
    planned_epochs: instead of those of the settings; need not be whole.
    stop_after: epochs to run of the planned ones.
    phase: what progress calls it.
    checkpoints: folder in which each epoch, and within it each `checkpoint_every_seconds`, leaves what the same
    training goes on from; None: nothing is left.
    """

    sequences: ItemSequences
    n_items: int
    validation: ItemSequences | None = None
    deadline: float = float("inf")
    planned_epochs: float | None = None
    stop_after: int | None = None
    phase: str = "training"
    checkpoints: Path | None = None
    checkpoint_every_seconds: float = DEFAULT_CHECKPOINT_EVERY_SECONDS

    def checkpoint_file(self, shape: NetworkSettings, settings: TrainingSettings) -> CheckpointFile | None:
        """Return the checkpoint after everything that the weights depend on, but for the time there was."""
        if self.checkpoints is None:
            return None
        slices = (self.sequences,) if self.validation is None else (self.sequences, self.validation)
        arrays = [array for one in slices for array in (one.starts, one.items)]
        plan = [self.n_items, self.planned_epochs, self.stop_after, len(slices)]
        return CheckpointFile(self.checkpoints, fingerprint([shape, settings, *plan], arrays))


@dataclass(frozen=True, slots=True)
class TrainedNetwork:
    """A trained model and how it came about; `best_epoch` counts from 1, `planned_epochs` set the schedule."""

    model: NextItemNetwork
    best_epoch: int
    planned_epochs: float
    reports: list[EpochReport]
