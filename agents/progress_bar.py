"""The one progress bar: on standard error unless told otherwise, so that standard output stays the result's."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from agents.upkeep.job_progress import JobProgress


def counted_progress(console: Console | None = None, *more_columns: str) -> Progress:
    """Make a bar that counts what is done of a total; without a total it only counts.

    more_columns: what stands behind the times, in the braces of rich's `TextColumn`: "{task.fields[speed]}".
    """
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        *more_columns,
        console=console or Console(stderr=True),
    )


def steps_on(bar: Progress, first: str) -> JobProgress:
    """Show one step after the other on `bar`, beginning with `first`."""
    task = bar.add_task(first, total=None)

    def begin(step: str, total: int | None) -> None:
        bar.reset(task, description=step, total=total)

    return JobProgress(begin, lambda count: bar.update(task, advance=count))
