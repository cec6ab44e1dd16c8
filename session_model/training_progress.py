"""How training tells where it is."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class EpochReport:
    """What an epoch did; the validation figures are None where nothing was held out."""

    epoch: int
    loss: float
    recall_at_20: float | None
    mrr_at_20: float | None

    @property
    def gain(self) -> float:
        """Recall@20 + MRR@20 on the validation slice, by which epochs and recipes are chosen; 0 without one."""
        return (self.recall_at_20 or 0.0) + (self.mrr_at_20 or 0.0)


class TrainingProgress(Protocol):
    """Hears how training goes; called from the training thread."""

    def started(self, phase: str, n_steps: int) -> None:
        """Note that a phase of at most `n_steps` steps begins."""

    def stepped(self) -> None:
        """Count a step."""

    def epoch_ended(self, report: EpochReport) -> None:
        """Note what an epoch did."""


class NoProgress:
    """Keeps quiet."""

    def started(self, phase: str, n_steps: int) -> None:
        """Ignore the phase."""

    def stepped(self) -> None:
        """Ignore the step."""

    def epoch_ended(self, report: EpochReport) -> None:
        """Ignore the report."""
