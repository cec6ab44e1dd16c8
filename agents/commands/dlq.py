"""`insession dlq`: look at the dead letters, and send them again once their cause is mended."""

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agents.commands.connection import Connection, connection_options
from agents.commands.moment import Moment
from agents.commands.plain_text import rfc3339, shown, shown_bytes, shown_time
from agents.interruption import Interruption
from agents.progress_bar import counted_progress
from agents.settings import Settings
from agents.upkeep.dead_letters import (
    DEFAULT_LIMIT,
    LettersAsked,
    Replayed,
    ReplayPlan,
    find_letter,
    plan_replay,
    read_letters,
    replay,
    replay_ledger,
)
from schemas.errors import InsessionError, UsageError
from streams.cluster.topics import Topic
from streams.tools.dead_letter_log import OBSTACLES, DeadLetter, ReasonSummary, parse_position, summarize
from streams.tools.replay_ledger import ReplayLedger
from streams.tools.sender import Sender

_MAX_BYTES: Final = 2_000
_MAX_DETAIL: Final = 500


class OffsetRange(click.ParamType):
    """`PARTITION:FIRST-LAST`, or `PARTITION:OFFSET`; the end is inclusive on the command line."""

    name = "offsets"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, range]:
        """Read the range."""
        partition, _, offsets = str(value).partition(":")
        first, _, last = offsets.partition("-")
        numbers = [partition, first, last or first]
        if not all(number.isascii() and number.isdecimal() for number in numbers) or int(first) > int(last or first):
            self.fail(f"{value!r} is no range of offsets; give PARTITION:FIRST-LAST, like 3:120-140", param, ctx)
        return int(partition), range(int(first), int(last or first) + 1)


@click.group()
def command() -> None:
    """Look at the dead letters, and send them again once their cause is mended."""


def _choice_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options that choose letters; the command gets them as `asked`."""

    @click.option("--reason", "reasons", multiple=True, metavar="REASON", help="Only this reason; may be repeated.")
    @click.option("--since", type=Moment(), metavar="2h|TIME", help="Only letters written since then.")
    @click.option(
        "--offsets", type=OffsetRange(), multiple=True, metavar="P:FIRST-LAST", help="Only these; one a partition."
    )
    @click.option(
        "--limit",
        type=click.IntRange(min=1),
        default=DEFAULT_LIMIT,
        show_default=True,
        help="Look at no more than so many of the newest letters.",
    )
    @functools.wraps(function)
    def with_choice(
        *arguments: Any,
        reasons: tuple[str, ...],
        since: int | None,
        offsets: tuple[tuple[int, range], ...],
        limit: int,
        **options: Any,
    ) -> None:
        if len(dict(offsets)) < len(offsets):
            raise UsageError("--offsets takes one range of each partition: run the command once for each range")
        asked = LettersAsked(
            reasons=frozenset(reasons), since_ms=since, offsets=dict(offsets) if offsets else None, limit=limit
        )
        function(*arguments, asked=asked, **options)

    return with_choice


@command.command(
    "list",
    epilog="""\b
Examples:
  insession dlq list --brokers 127.0.0.1:9092 --since 2h
  insession dlq list --reason invalid_field --json
""",
)
@connection_options
@_choice_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def list_letters(connection: Connection, asked: LettersAsked, *, as_json: bool) -> None:
    """Count the dead letters by reason: when, where, and what the latest says."""
    settings = connection.settings()
    summaries = summarize(read_letters(settings, asked, _print_passed_over))
    if as_json:
        click.echo(json.dumps({"reasons": [_summary_as_json(summary) for summary in summaries]}, indent=2))
        return
    if not summaries:
        click.echo(f"no dead letters in {settings.topics.name(Topic.DEAD_LETTERS)} by this choice")
        return
    Console().print(_summary_table(summaries))
    click.echo("`insession dlq show PARTITION:OFFSET` shows one of them")


@command.command(
    epilog="""\b
Examples:
  insession dlq show 3:120
  insession dlq show clickstream-3-88211 --max-bytes 20000
"""
)
@connection_options
@click.argument("position")
@click.option(
    "--max-bytes",
    type=click.IntRange(min=0),
    default=_MAX_BYTES,
    show_default=True,
    help="Show so much of key, value and each header.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=DEFAULT_LIMIT,
    show_default=True,
    help="Look for an input's letter among so many of the newest.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(connection: Connection, position: str, max_bytes: int, limit: int, *, as_json: bool) -> None:
    """Show one dead letter: why, where it came from, its headers, key and value.

    POSITION is PARTITION:OFFSET in the dead-letter topic, or an input's id as in the worker's log
    (clickstream-PARTITION-OFFSET). What is no UTF-8 text is shown in hexadecimal; control characters are escaped.
    """
    settings = connection.settings()
    topic = settings.topics.name(Topic.DEAD_LETTERS)
    letter = find_letter(settings, parse_position(position, topic), limit)
    facts = _letter_as_json(letter, max_bytes)
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    table = Table(show_header=False)
    for name, value in facts.items():
        if not isinstance(value, list):
            table.add_row(name, Text(str(value)))
            continue
        for header in value:
            table.add_row("header", Text(f"{header['name']}: {header['value']}"))
    Console().print(table)


@command.command(
    "replay",
    epilog="""\b
Examples:
  insession dlq replay --reason invalid_field --since 2h          (shows what would be sent)
  insession dlq replay --reason invalid_field --since 2h --yes
""",
)
@connection_options
@_choice_options
@click.option("--yes", is_flag=True, help="Send. Without it the command only tells what it would send.")
@click.option("--again", is_flag=True, help="Send those, too, that were replayed before.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def replay_letters(connection: Connection, asked: LettersAsked, *, yes: bool, again: bool, as_json: bool) -> None:
    """Send dead letters back to the topic that they came from, with key, bytes and headers as they were.

    Mend the cause first. Choose by --reason, --since or --offsets. The record's timestamp is the time of the replay,
    its event_time stays: a click that is behind its visitor's session is answered as late. A header names the letter.
    """
    if not asked.reasons and asked.since_ms is None and asked.offsets is None:
        raise UsageError("say which letters: --reason, --since or --offsets; `insession dlq list` shows what there is")
    settings = connection.settings()
    with replay_ledger(settings) as ledger:
        letters = list(read_letters(settings, asked, _print_passed_over))
        replayed = ledger.replayed({letter.position.partition for letter in letters})
        plan = plan_replay(letters, settings.topics.name(Topic.SESSION_CONTROL), replayed, again=again)
        done = _carry_out(settings, plan, ledger) if yes and plan.letters else Replayed(0, 0)
    _report_replay(plan, done, is_carried_out=yes, as_json=as_json)
    if yes and done.sent < len(plan.letters):
        raise InsessionError(
            f"interrupted: {done.sent:,} of {len(plan.letters):,} letters were sent; the same command sends the rest"
        )


def _carry_out(settings: Settings, plan: ReplayPlan, ledger: ReplayLedger) -> Replayed:
    sender = Sender(settings.kafka.client_config(), client_id="insession-dlq")
    with Interruption() as interruption, interruption.deferred(), counted_progress() as bar:
        task = bar.add_task("sending", total=len(plan.letters))
        return replay(
            sender,
            plan.letters,
            ledger,
            advance=lambda done: bar.update(task, completed=done),
            is_over=lambda: interruption.came,
        )


def _print_passed_over(count: int) -> None:
    click.echo(f"{count:,} older letters were not looked at: raise --limit, or choose with --offsets", err=True)


def _report_replay(plan: ReplayPlan, done: Replayed, *, is_carried_out: bool, as_json: bool) -> None:
    if done.forgotten:
        click.echo(
            f"{done.forgotten:,} replayed letters could not be taken note of: another replay sends them again, so do "
            "not choose them any more",
            err=True,
        )
    if as_json:
        counts = {"planned": len(plan.letters), "by_topic": plan.by_topic(), "sent": done.sent, "left": dict(plan.left)}
        click.echo(json.dumps(counts | {"is_carried_out": is_carried_out}))
        return
    if is_carried_out and done.sent < len(plan.letters):
        return
    for topic, count in plan.by_topic().items():
        click.echo(f"to {shown(topic)}  {count:,}")
    for summary in summarize(plan.letters):
        click.echo(f"{'sent' if is_carried_out else 'would send'}  {summary.count:,}  {shown(summary.reason)}")
    for found, count in plan.left.items():
        click.echo(f"left  {count:,}  {OBSTACLES[found]}")
    if not is_carried_out:
        click.echo("nothing was sent; add --yes to send" if plan.letters else "there is nothing to send")


def _summary_table(summaries: Sequence[ReasonSummary]) -> Table:
    table = Table()
    for heading in ("reason", "letters", "first, last (UTC)"):
        table.add_column(heading, no_wrap=True)
    for heading in ("offsets", "latest", "it says"):
        table.add_column(heading, overflow="fold")
    for summary in summaries:
        latest = summary.latest
        table.add_row(
            Text(shown(summary.reason)),
            f"{summary.count:,}",
            f"{shown_time(summary.first_ms)}\n{shown_time(summary.last_ms)}",
            "\n".join(f"{number}:{low}-{high}" for number, (low, high) in sorted(summary.offsets.items())),
            f"{latest.position.partition}:{latest.position.offset}",
            Text(shown(latest.detail)),
        )
    return table


def _summary_as_json(summary: ReasonSummary) -> dict[str, object]:
    return {
        "reason": summary.reason,
        "count": summary.count,
        "first": rfc3339(summary.first_ms),
        "last": rfc3339(summary.last_ms),
        "offsets": {str(number): [low, high] for number, (low, high) in sorted(summary.offsets.items())},
        "latest": f"{summary.latest.position.partition}:{summary.latest.position.offset}",
        "latest_detail": shown(summary.latest.detail, _MAX_DETAIL),
    }


def _letter_as_json(letter: DeadLetter, max_bytes: int) -> Mapping[str, object]:
    headers = [{"name": shown(name), "value": shown_bytes(content, max_bytes)} for name, content in letter.headers]
    return {
        "letter": letter.position.record_id,
        "written": rfc3339(letter.time_ms),
        "reason": shown(letter.reason),
        "detail": shown(letter.detail, _MAX_DETAIL),
        "input": "unknown" if letter.origin is None else shown(letter.origin.record_id, 300),
        "is_whole": not letter.is_cut,
        "replayed_from": None if letter.replayed_from is None else shown(letter.replayed_from, 300),
        "headers": headers,
        "key": shown_bytes(letter.key, max_bytes),
        "value": shown_bytes(letter.value, max_bytes),
    }
