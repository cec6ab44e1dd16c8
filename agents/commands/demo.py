"""`insession demo`: the whole way from click to recommendation on one machine, watched."""

import math
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from agents.commands.data_options import data_options, read_options
from agents.commands.number_range import NumberRange
from agents.commands.output_file import write_output
from agents.durations import DurationType
from agents.settings import load_settings
from schemas.errors import InsessionError, UsageError
from session_model.data.formats import DATA_FORMATS, DataFormat

if TYPE_CHECKING:
    from agents.demo.shapes import Shape
    from agents.demo.source import LogOptions, ShopOptions

SHOP_SPEED = 30.0
SHOP_SECONDS = 60.0


class Speed(click.ParamType):
    """A positive factor, or `max`."""

    name = "speed"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read the factor; `max` is infinite."""
        try:
            speed = math.inf if value == "max" else float(str(value))
        except ValueError:
            speed = math.nan
        if not speed > 0:
            self.fail(f"{value!r} is neither a factor above 0 nor max", param, ctx)
        return speed


@click.command(
    epilog="""\b
Examples:
  insession demo
  insession demo --shape ga4
  insession demo --events clicks.tsv.gz --format session-rec --speed max --json > report.json

Ctrl-C and SIGTERM end the feeding; the table of what was seen until then follows, and the exit code is 0 (130 where
they come before the first event). Exit code 1: a part failed, or an input has no record.
"""
)
@click.option("--events", type=click.Path(path_type=Path), help="Feed this log instead of simulated shoppers.")
@data_options("--events")
@click.option(
    "--speed",
    type=Speed(),
    metavar="N|max",
    help=f"Times as fast as the events' own clock.  [default: {SHOP_SPEED:g}; with --events: max]",
)
@click.option(
    "--duration",
    type=DurationType(),
    metavar="DURATION",
    help=f"Feed at most that long, like 90s.  [default: {SHOP_SECONDS:g}s; with --events: to its end]",
)
@click.option(
    "--shape", type=click.Choice(["ga4", "segment", "snowplow"]), help="Write the records as this vendor does."
)
@click.option("--models", type=click.Path(path_type=Path), help="Take the newest release there instead of training.")
@click.option(
    "--train-share",
    type=NumberRange(min=0, max=1, min_open=True, max_open=True),
    default=0.5,
    show_default=True,
    help="Share of --events, the earliest, that a model is trained on; the hit rate counts the rest only.",
)
@click.option(
    "--run-dir", type=click.Path(path_type=Path), default=Path("demo-run"), show_default=True, help="Where to write."
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object; the table goes to stderr.")
def command(
    *,
    as_json: bool,
    run_dir: Path,
    models: Path | None,
    shape: "Shape | None",
    speed: float | None,
    duration: timedelta | None,
    **log: Any,
) -> None:
    """Run everything on this machine: broker, model server, worker, observer, and shoppers that click while you watch.

    A small model is trained first where there is none for the same data. In the minute of the default there is a flash
    sale that ends, and a merchant's rule that is put.
    """
    from agents.demo.run import DemoOptions, run_demo
    from agents.demo.source import ShopOptions
    from agents.demo.tables import report_table
    from agents.interruption import INTERRUPTED, Interruption

    console = Console(stderr=as_json)
    with Interruption() as interruption:
        try:
            source = _source(**log)
            is_shop = isinstance(source, ShopOptions)
            options = DemoOptions(
                source=source,
                speed=speed or (SHOP_SPEED if is_shop else math.inf),
                seconds=duration.total_seconds() if duration else SHOP_SECONDS if is_shop else math.inf,
                run_dir=run_dir,
                models=models,
                shape=shape,
            )
            result = run_demo(options, console, interruption)
            write_output(run_dir / "report.json", result.encoded())
            if as_json:
                click.echo(result.encoded(), nl=False)
        except KeyboardInterrupt:
            click.echo("insession: interrupted before the first event; there is nothing to show", err=True)
            sys.exit(INTERRUPTED)
        except OSError as error:
            raise InsessionError(f"demo: {error}; check the path, its rights and the disk") from error
    what = "what was seen" + " until the interruption" * result.was_interrupted
    console.print(report_table(result.report, what, result.titles))
    if result.held_back_seconds >= 1:
        _print(
            console,
            f"events waited {result.held_back_seconds:.0f} s for earlier answers: fed as fast as this machine answers",
        )
    _print(console, f"answers: {result.recommendations}\nreport:  {run_dir / 'report.json'}")
    if result.report.lost and not result.was_interrupted:
        raise InsessionError(
            f"{result.report.lost} of {result.report.events_in} inputs have no record; see the worker's log in "
            f"{run_dir / 'logs'}"
        )
    if result.report.ignored_with_record:
        raise InsessionError(
            f"{result.report.ignored_with_record} records that are not for us were answered; see the worker's log in "
            f"{run_dir / 'logs'}"
        )


def _print(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _source(
    *,
    events: Path | None,
    data_format: DataFormat | None,
    columns: Sequence[str],
    event_types: Sequence[str],
    config: Path | None,
    train_share: float,
) -> "ShopOptions | LogOptions":
    from agents.demo.source import LogOptions, ShopOptions

    if events is None:
        if data_format is not None or columns or event_types or config:
            raise UsageError("--format says what --events is: give --events FILE too, or leave --format away")
        return ShopOptions()
    if data_format is None:
        raise UsageError(f"--events {events} needs its --format: {', '.join(DATA_FORMATS)}")
    options = read_options(columns, event_types, load_settings(file=config))
    return LogOptions(path=events, data_format=data_format, options=options, train_share=train_share)
