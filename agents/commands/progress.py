"""The progress bar of the tools: on standard error, so that standard output stays the result's."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from agents.upkeep.told import Told


def counted_progress() -> Progress:
    """Make a bar that counts records; without a total it only counts."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


def steps_on(bar: Progress, first: str) -> Told:
    """Show one step after the other on `bar`, beginning with `first`."""
    task = bar.add_task(first, total=None)

    def begin(step: str, total: int | None) -> None:
        bar.reset(task, description=step, total=total)

    return Told(begin, lambda count: bar.update(task, advance=count))
