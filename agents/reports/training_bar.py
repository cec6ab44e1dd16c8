"""The progress of a training as bars, one a phase."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, TaskID

from agents.progress_bar import counted_progress
from session_model.runs.progress import EpochReport


class TrainingBar:
    """One bar a phase, a line an epoch; implements session_model.runs.progress.TrainingProgress."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._phase: TaskID | None = None
        self._clicks = 0

    def started(self, phase: str, n_steps: int) -> None:
        """Open the bar of `phase`; that before is done, maybe early."""
        if self._phase is not None:
            self._progress.update(self._phase, total=self._progress.tasks[self._phase].completed)
        self._phase, self._clicks = self._progress.add_task(phase, total=n_steps, speed=""), 0

    def stepped(self, clicks: int = 0) -> None:
        """Move the bar."""
        if self._phase is None:
            return
        self._clicks += clicks
        elapsed = self._progress.tasks[self._phase].elapsed
        speed = f"{self._clicks / elapsed:,.0f} clicks/s" if self._clicks and elapsed else ""
        self._progress.update(self._phase, advance=1, speed=speed)

    def epoch_ended(self, report: EpochReport) -> None:
        """Print a line above the bar."""
        self.noted(_line(report))

    def resumed(self, reports: Sequence[EpochReport], n_steps: int) -> None:
        """Print the lines of the epochs that are done, and let the bar begin behind them."""
        for report in reports:
            self.noted(f"{_line(report)} (before)")
        if self._phase is not None:
            self._progress.advance(self._phase, n_steps)

    def noted(self, text: str) -> None:
        """Print the text above the bar."""
        self._progress.console.print(text, highlight=False, markup=False, soft_wrap=True)


def _line(report: EpochReport) -> str:
    line = f"epoch {report.epoch}: loss {report.loss:.3f}"
    if report.recall_at_20 is not None:
        line += f", validation Recall@20 {report.recall_at_20:.4f}, MRR@20 {report.mrr_at_20:.4f}"
    return f"{line}, {report.seconds:.0f} s, {report.clicks_per_second:,.0f} clicks/s"


@contextmanager
def training_bar(console: Console) -> Iterator[TrainingBar]:
    """Show the bars while the block runs."""
    with counted_progress(console, "{task.fields[speed]}") as progress:
        yield TrainingBar(progress)
