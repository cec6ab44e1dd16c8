"""How a run is shown: a row a step that changes in place on a terminal, a line a step elsewhere."""

import time
from collections.abc import Iterable
from types import TracebackType
from typing import Final, Self

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.table import Table

from agents.daily.plan import Planned
from agents.daily.records import STEPS, StepName, StepState

COLOURS: Final[dict[StepState, str]] = {
    "done": "green",
    "failed": "red",
    "running": "cyan",
    "missing": "yellow",
    "stale": "yellow",
    "waiting": "dim",
    "skipped": "dim",
}
_MOST_CHARACTERS: Final = 120


def steps_table(rows: Iterable[tuple[StepName, StepState, float | None, str]], title: str) -> Table:
    """Lay out steps, as `plan`, `run` and `status` show them: name, state, seconds, and what is to be said of it."""
    table = Table("step", "state", "seconds", "", title=title)
    for name, state, seconds, text in rows:
        told = "" if seconds is None else f"{seconds:,.0f}"
        table.add_row(name, f"[{COLOURS[state]}]{state}[/]", told, text.replace("[", r"\["))
    return table


class ProgressView:
    """Shows a run on standard error."""

    def __init__(self, title: str, console: Console | None = None) -> None:
        self._title = title
        self._console = console or Console(stderr=True)
        self._rows: dict[StepName, tuple[StepState, float | None, str]] = dict.fromkeys(STEPS, ("waiting", None, ""))
        self._running: tuple[StepName, float] | None = None
        self._live = Live(self, console=self._console, refresh_per_second=2) if self._console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def __rich_console__(self, _console: Console, _options: ConsoleOptions) -> RenderResult:
        """Draw it as it is now."""
        rows = dict(self._rows)
        if self._running is not None:
            name, since = self._running
            rows[name] = ("running", time.monotonic() - since, rows[name][2])
        yield steps_table(((name, *row) for name, row in rows.items()), self._title)

    def began(self, step: StepName) -> None:
        """Note that a step is at work."""
        self._running = step, time.monotonic()
        if self._live is None:
            self._print(f"{step}: begins")

    def said(self, line: str) -> None:
        """Note the last line of what is at work."""
        if self._running is not None:
            self._rows[self._running[0]] = ("running", None, line[:_MOST_CHARACTERS])

    def settled(self, step: Planned, seconds: float) -> None:
        """Note what became of a step."""
        self._running = None
        self._rows[step.name] = (step.state, seconds or None, step.why)
        if self._live is None:
            self._print(f"{step.name}: {step.state}{f' in {seconds:,.0f} s' if seconds else ''}: {step.why}")

    def _print(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)
