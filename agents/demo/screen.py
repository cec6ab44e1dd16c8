"""What a person sees: the live view of a terminal, or plain lines where there is none."""

from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Final, Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from agents.demo.reader import Snapshot
from agents.demo.scoreboard import Report
from agents.demo.spotlight import SIZE, ShownClick, ShownSession
from agents.demo.tables import percent, report_table, seconds
from schemas.ids import ItemId

LINE_EVERY_SECONDS: Final = 5.0
_RATE_SNAPSHOTS: Final = 8
_REFRESHES_A_SECOND: Final = 4
_TITLE_WIDTH: Final = 46


class Screen(Protocol):
    """Shows snapshots; a context manager."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, snapshot: Snapshot) -> None:
        """Bring the view up to date."""


def screen_for(console: Console, titles: Mapping[ItemId, str]) -> Screen:
    """Choose the live view for a terminal, lines for anything else."""
    return LiveScreen(console, titles) if console.is_terminal else PlainScreen(console)


class EventRate:
    """Events answered per second over the last few snapshots."""

    def __init__(self) -> None:
        self._last: deque[tuple[float, int]] = deque(maxlen=_RATE_SNAPSHOTS)

    def note(self, snapshot: Snapshot) -> float:
        """Take in a snapshot and give the rate."""
        report = snapshot.report
        self._last.append((snapshot.at_seconds, report.events_in - report.lost))
        (begin, before), (end, after) = self._last[0], self._last[-1]
        return (after - before) / (end - begin) if end > begin else 0.0


class PlainScreen:
    """One line with the first event, then one every `LINE_EVERY_SECONDS`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rate = EventRate()
        self._next_seconds = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave nothing to undo."""

    def show(self, snapshot: Snapshot) -> None:
        """Print a line where it is time for one."""
        rate = self._rate.note(snapshot)
        if not snapshot.report.events_in or snapshot.at_seconds < self._next_seconds:
            return
        self._next_seconds = snapshot.at_seconds + LINE_EVERY_SECONDS
        self._console.print(_line(snapshot.report, rate), soft_wrap=True, highlight=False, markup=False)


class LiveScreen:
    """Figures on top, sessions below, redrawn in place."""

    def __init__(self, console: Console, titles: Mapping[ItemId, str]) -> None:
        self._titles = titles
        self._rate = EventRate()
        self._live = Live(console=console, refresh_per_second=_REFRESHES_A_SECOND, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, snapshot: Snapshot) -> None:
        """Redraw."""
        title = f"live: {self._rate.note(snapshot):,.0f} events/s, {snapshot.report.lost} in flight; Ctrl-C ends"
        panels = [self._panel(session) for session in snapshot.sessions]
        panels += [Panel("waiting for a shopper", height=6) for _ in range(SIZE - len(panels))]
        self._live.update(Group(report_table(snapshot.report, title, self._titles), *panels))

    def _panel(self, session: ShownSession) -> RenderableType:
        grid = Table.grid(padding=(0, 2), expand=True)
        grid.add_column("clicks", ratio=1, no_wrap=True)
        grid.add_column("answer", ratio=1, no_wrap=True)
        clicks = Text("\n").join(self._click(click) for click in session.clicks)
        answer = Text(
            "\n".join(f"{rank}. {self._title(item)}" for rank, item in enumerate(session.next_items, start=1))
        )
        grid.add_row(clicks, answer)
        probability = session.purchase_probability
        chance = "" if probability is None else f", will buy: {percent(probability)}"
        title = Text(f"{session.visitor_id} → {session.tier}{chance}")
        return Panel(grid, title=title, title_align="left", height=6)

    def _click(self, click: ShownClick) -> Text:
        mark, style = _MARKS[click.was_hit]
        what = "" if click.item_id is None else self._title(click.item_id)
        return Text(f"{mark} {click.event_type:<8} {what}", style=style)

    def _title(self, item: ItemId) -> str:
        return self._titles.get(item, item)[:_TITLE_WIDTH]


_MARKS: Final[Mapping[bool | None, tuple[str, str]]] = {True: ("✓", "green"), False: ("✗", ""), None: (" ", "dim")}
"""Before a click: was it among the twenty items answered to the click before it?"""


def _line(report: Report, rate: float) -> str:
    rates, latency = report.hit_rate_at_20, report.latency_seconds
    tiers = ", ".join(f"{tier} {count}" for tier, count in report.answers_by_tier.items())
    return (
        f"{report.events_in:>7} in  {rate:>5.0f}/s  {report.lost:>3} in flight  ({tiers})  "
        f"p50 {seconds(latency.p50)} p95 {seconds(latency.p95)} p99 {seconds(latency.p99)}  "
        f"hit rate@20 {percent(rates.model)} vs popular {percent(rates.popular)}"
    )
