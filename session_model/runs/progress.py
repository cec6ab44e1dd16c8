"""How training tells where it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class EpochReport:
    """What an epoch did; the validation figures are None where nothing was held out.

    clicks: targets that were learned from, padding not counted. seconds: those of the steps, without the validation.
    """

    epoch: int
    loss: float
    recall_at_20: float | None
    mrr_at_20: float | None
    clicks: int = 0
    seconds: float = 0.0

    @property
    def clicks_per_second(self) -> float:
        """How fast it learned."""
        return clicks_per_second([self])

    @property
    def gain(self) -> float:
        """Recall@20 + MRR@20 on the validation slice, by which epochs and recipes are chosen; 0 without one."""
        return (self.recall_at_20 or 0.0) + (self.mrr_at_20 or 0.0)


def clicks_per_second(reports: Sequence[EpochReport]) -> float:
    """Average the speed of epochs over their time."""
    seconds = sum(report.seconds for report in reports)
    return sum(report.clicks for report in reports) / seconds if seconds > 0 else 0.0


class TrainingProgress(Protocol):
    """Hears how training goes; called from the training thread."""

    def started(self, phase: str, n_steps: int) -> None:
        """Note that a phase of at most `n_steps` steps begins."""

    def stepped(self, clicks: int = 0) -> None:
        """Count a step, and the clicks that it learned from."""

    def epoch_ended(self, report: EpochReport) -> None:
        """Note what an epoch did."""

    def resumed(self, reports: Sequence[EpochReport], n_steps: int) -> None:
        """Note that the phase goes on after `n_steps` steps: epochs that an earlier process trained."""

    def noted(self, text: str) -> None:
        """Print something that is no progress."""


class NoProgress:
    """Keeps quiet."""

    def started(self, phase: str, n_steps: int) -> None:
        """Ignore the phase."""

    def stepped(self, clicks: int = 0) -> None:
        """Ignore the step."""

    def epoch_ended(self, report: EpochReport) -> None:
        """Ignore the report."""

    def resumed(self, reports: Sequence[EpochReport], n_steps: int) -> None:
        """Ignore the earlier process."""

    def noted(self, text: str) -> None:
        """Ignore the text."""
