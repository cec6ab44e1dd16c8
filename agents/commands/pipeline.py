"""`insession pipeline`: the daily loop, from a day of clicks to a release that serves."""

import sys
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec
from rich.console import Console

from agents.commands.day_option import DayType
from agents.commands.plain_text import rfc3339
from agents.daily.records import STEPS
from agents.interruption import INTERRUPTED, Interruption
from schemas.errors import InsessionError, UsageError
from schemas.events import unix_ms

if TYPE_CHECKING:
    from agents.daily.loop import DailyLoop
    from agents.daily.plan import Planned
    from agents.daily.records import DayRecord, StepName
    from agents.daily.status import SupplyStatus
    from agents.daily.view import ProgressView


class _TimeOfDay(click.ParamType):
    """A time of day, as 03:30."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> time_of_day:
        """Read it; a wrong one is wrong usage."""
        try:
            return value if isinstance(value, time_of_day) else datetime.strptime(str(value), "%H:%M").time()  # noqa: DTZ007 - UTC by definition
        except ValueError:
            self.fail(f"{str(value)!r} is no time of day, like 03:30", param, ctx)


@click.group()
def command() -> None:
    """Run the daily loop: ingest, sessions, features, tfrecords, train, evaluate, checks, register, shadow, promote.

    A step is done when its result is there, in a folder named by the hash of what it starts from; whatever ends a run,
    the same command goes on. What serves stays until a candidate has passed. Settings are `[pipeline]` of --config.
    """


_CONFIG: Final = click.option(
    "--config", type=click.Path(path_type=Path), envvar="INSESSION_CONFIG", help="TOML settings file, as the worker's."
)
_DAY: Final = click.option("--day", type=DayType(), help="Of UTC, and over.  [default: yesterday]")


@command.command(
    "plan",
    epilog="""\b
Examples:
  insession pipeline plan --config worker.toml
  insession pipeline plan --config worker.toml --day 2026-01-31 --json
""",
)
@_CONFIG
@_DAY
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array instead of a table.")
def plan_(config: Path | None, day: date | None, *, as_json: bool) -> None:
    """Say which steps of a day are done, which are missing or stale, and why; do nothing."""
    from agents.daily.loop import last_day

    day = day or last_day(datetime.now(UTC))
    _print_plan(_loop(config, None).plan(day), day, as_json=as_json)


@command.command(
    "run",
    epilog="""\b
Examples:
  insession pipeline run --config worker.toml
  insession pipeline run --config worker.toml --day 2026-01-31 --until checks
  insession pipeline run --config worker.toml --every-day-at 03:30
""",
)
@_CONFIG
@_DAY
@click.option("--from", "first", type=click.Choice(STEPS), help="Do this step and those behind it again.")
@click.option("--until", "last", type=click.Choice(STEPS), help="Up to this step, as a scheduler runs them one by one.")
@click.option("--dry-run", "is_dry", is_flag=True, help="As `plan`.")
@click.option(
    "--every-day-at", "at", type=_TimeOfDay(), metavar="HH:MM", help="Run now, and each day at this time, UTC."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
def run(  # noqa: PLR0913 - one parameter an option
    *,
    config: Path | None,
    day: date | None,
    first: "StepName | None",
    last: "StepName | None",
    is_dry: bool,
    at: time_of_day | None,
    as_json: bool,
) -> None:
    """Do what is missing of a day. Exit code 1 where it did not come to its end; the champion serves on then.

    A step whose answer is no (a check that fails, a day that is too small) is not asked again for the same inputs. One
    that could not be done is tried again by the same command.
    """
    from agents.daily.loop import last_day

    if at is not None and (day or first or last or is_dry or as_json):
        raise click.UsageError("--every-day-at runs the newest day, all of it, and does not end; leave the others out")
    with Interruption():
        try:
            if at is not None:
                _run_daily(config, at)
                return
            day = day or last_day(datetime.now(UTC))
            if is_dry:
                _print_plan(_loop(config, None).plan(day), day, as_json=as_json)
                return
            record = _run_day(config, day, first, last)
        except KeyboardInterrupt:
            click.echo("insession: interrupted; nothing is half-published, the same command goes on", err=True)
            sys.exit(INTERRUPTED)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(record), indent=2))
    if record.state not in {"done", "part"}:
        raise InsessionError(f"{record.day}: {record.reason}")
    if not as_json:
        click.echo(f"{record.day}: {record.reason}")


@command.command(
    "status",
    epilog="""\b
Examples:
  insession pipeline status --config worker.toml
  insession pipeline status --config worker.toml --json
""",
)
@_CONFIG
@_DAY
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
def status(config: Path | None, day: date | None, *, as_json: bool) -> None:
    """Say how the last run went, what serves and how old its data are, and which candidate waits."""
    from agents.daily.status import supply_status
    from agents.settings import load_settings

    settings = load_settings(file=config)
    try:
        found = supply_status(settings, day=day)
    except OSError as error:
        raise InsessionError(f"{settings.pipeline.work} cannot be read: {error}; check its rights") from error
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2))
    else:
        _print_status(found)


@command.command(
    "watch",
    epilog="""\b
Examples:
  insession pipeline watch --config worker.toml
""",
)
@_CONFIG
def watch(config: Path | None) -> None:
    """Serve the metrics of `status` to Prometheus, where a scheduler runs the days; look each minute, until Ctrl-C.

    `run --every-day-at` serves them itself. The page is /metrics at pipeline.web_host and pipeline.web_port.
    """
    from agents.daily.exporter import exported
    from agents.settings import load_settings

    settings = load_settings(file=config)
    host, port = settings.pipeline.web_host, settings.pipeline.web_port
    if port == 0:
        raise UsageError("pipeline.web_port is 0, so there is no page: set it to a free port")
    with Interruption(), suppress(KeyboardInterrupt), exported(settings):
        click.echo(f"insession: metrics of the supply are at http://{host}:{port}/metrics", err=True)
        Event().wait()


def _loop(config: Path | None, view: "ProgressView | None") -> "DailyLoop":
    """Wire it; view: hears what the steps say."""
    from agents.daily.children import ChildCommands
    from agents.daily.loop import DailyLoop
    from agents.daily.steps import Clocks, Steps, damage_below
    from agents.daily.store import Store
    from agents.daily.trial import count_shadow_answers
    from agents.settings import load_settings

    settings = load_settings(file=config)
    store = Store(settings.pipeline.work, damage=damage_below(settings.pipeline.work))
    commands = ChildCommands(view.said if view is not None else lambda _: None)
    clocks = Clocks()
    steps = Steps(
        settings,
        store,
        commands,
        config=config,
        count=lambda since_ms: count_shadow_answers(settings, since_ms),
        clocks=clocks,
    )
    return DailyLoop(settings, store, steps, clocks)


def _run_day(config: Path | None, day: date, first: "StepName | None", last: "StepName | None") -> "DayRecord":
    from agents.daily.view import ProgressView

    with ProgressView(f"clicks of {day}") as view:
        return _loop(config, view).run(day, view, first=first, last=last)


def _run_daily(config: Path | None, at: time_of_day) -> None:
    """Run the newest day now and each day, until Ctrl-C or SIGTERM; one that fails is told, and the next comes."""
    from agents.daily.exporter import exported
    from agents.daily.loop import last_day
    from agents.daily.schedule import every_day
    from agents.daily.steps import Clocks
    from agents.daily.store import Store
    from agents.settings import load_settings

    _loop(config, None)  # settings that are wrong end it at once
    settings = load_settings(file=config)
    clocks, store = Clocks(), Store(settings.pipeline.work)

    def run_newest() -> bool:
        day = last_day(clocks.now())
        try:
            record = _run_day(config, day, None, None)
        except InsessionError as error:
            click.echo(f"insession: {day}: {error}", err=True)
            return True
        click.echo(f"insession: {day}: {record.state}: {record.reason}", err=True)
        return record.state == "broken"

    def tell(due: datetime) -> None:
        store.write_schedule(due)
        click.echo(f"insession: the next run is due at {rfc3339(unix_ms(due))}", err=True)

    try:
        with exported(settings):
            every_day(at, clocks, run_newest, tell)
    except KeyboardInterrupt:
        store.write_schedule(None)
        click.echo("insession: ended; nothing is half-published, the next run goes on", err=True)


def _print_plan(steps: "Iterable[Planned]", day: date, *, as_json: bool) -> None:
    from agents.daily.view import steps_table

    if as_json:
        rows = [{"name": one.name, "state": one.state, "why": one.why, "inputs": one.inputs} for one in steps]
        click.echo(msgspec.json.format(msgspec.json.encode(rows), indent=2))
        return
    rows_shown = [(one.name, one.state, None if one.result is None else one.result.seconds, one.why) for one in steps]
    Console().print(steps_table(rows_shown, f"clicks of {day}"))


def _print_status(found: "SupplyStatus") -> None:
    from agents.daily.view import steps_table

    if found.steps:
        rows = [(one.name, one.state, one.seconds, one.why) for one in found.steps]
        Console().print(steps_table(rows, f"clicks of {found.day}"))
    now = datetime.now(UTC)
    lines = []
    if found.day is None:
        lines.append("no day was run yet: insession pipeline run")
    elif found.state is not None:
        lines.append(f"last run: {found.state}{f': {found.reason}' if found.reason else ''}")
    if (champion := found.champion) is not None:
        until = "" if champion.data_until is None else f", learned up to {_ago(champion.data_until, now)}"
        lines.append(f"champion: version {champion.version} since {_ago(champion.since, now)}{until}")
    elif not found.problems:
        lines.append("champion: none was promoted yet, workers use the newest release")
    if (candidate := found.candidate) is not None:
        lines.append(f"candidate: version {candidate.version}, {candidate.stage} since {_ago(candidate.since, now)}")
    lines += [f"last success: {_ago(found.last_success_at, now)}"] if found.last_success_at is not None else []
    lines += [f"next run: {rfc3339(unix_ms(found.next_run_at))}"] if found.next_run_at is not None else []
    lines += [f"cannot be told: {problem}" for problem in found.problems]
    for line in lines:
        click.echo(line)


def _ago(moment: datetime, now: datetime) -> str:
    hours = max(timedelta(0), now - moment) / timedelta(hours=1)
    return f"{rfc3339(unix_ms(moment))} ({hours:,.1f} h ago)"
