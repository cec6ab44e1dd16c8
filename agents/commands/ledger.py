"""`insession ledger`: count from the topics alone what has become of every input."""

import functools
import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from datetime import timedelta
from typing import Any, Final

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from agents.commands.connection import Connection, connection_options
from agents.commands.moment import Moment
from agents.commands.plain_text import shown
from agents.progress_bar import counted_progress
from agents.upkeep.ledger import DEFAULT_LIMIT, Books, InputsAsked, keep_books
from schemas.errors import InsessionError, UsageError
from streams.cluster.topics import COMPACTION_LAG
from streams.delivery.offset_ledger import Account
from streams.records import InputRecord

_MAX_NAMED: Final = 20
_ADVANCE_EVERY: Final = 1_000
_A_RUN_MS: Final = 3_600_000
"""So long this command may take: what it found countable at its start is countable."""
_COLUMNS: Final = ("inputs", "answered", "ignored", "dead_lettered", "lost", "twice")


def _choice_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options that choose inputs; the command gets them as `asked`."""

    @click.option("--since", type=Moment(), metavar="2h|TIME", help="Inputs written since then.  [default: 7d]")
    @click.option("--until", type=Moment(), metavar="2h|TIME", help="Inputs written before that.  [default: all]")
    @click.option(
        "--partition", "partitions", type=click.IntRange(min=0), multiple=True, help="Only this; may be repeated."
    )
    @click.option(
        "--committed/--to-end",
        "committed",
        default=True,
        help="Up to what the workers have committed, which is what is owed, or to the end.  [default: --committed]",
    )
    @click.option(
        "--limit",
        type=click.IntRange(min=1),
        default=DEFAULT_LIMIT,
        show_default=True,
        help="Look at no more than so many of the newest inputs of each clickstream.",
    )
    @functools.wraps(function)
    def with_choice(
        *arguments: Any,
        since: int | None,
        until: int | None,
        partitions: tuple[int, ...],
        committed: bool,
        limit: int,
        **options: Any,
    ) -> None:
        since_ms = _countable_ms() if since is None else since
        if until is not None and until <= since_ms:
            raise UsageError("--until is not after --since: give an earlier --since or a later --until")
        asked = InputsAsked(
            since_ms=since_ms, until_ms=until, partitions=frozenset(partitions), to_end=not committed, limit=limit
        )
        function(*arguments, asked=asked, **options)

    return with_choice


@click.command(
    epilog="""\b
Examples:
  insession ledger --brokers 127.0.0.1:9092 --since 2h
  insession ledger --since 2026-01-31T12:00Z --until 2026-01-31T13:00Z --partition 3 --json

Exit codes: 0 nothing is lost, 1 something is, 2 wrong usage.
"""
)
@connection_options
@_choice_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(connection: Connection, asked: InputsAsked, *, as_json: bool) -> None:
    """Count what has become of every input: answered, ignored, dead-lettered, lost, or twice.

    Reads the clickstreams by the mapping of the settings, and the records on recommendations and clickstream-dlq; no
    worker is asked, nothing is committed. An input that was ignored by an earlier mapping and is a click by this one
    counts as lost. Inputs before the group's first start (clickstream.start) were never owed: choose by --since.
    """
    settings = connection.settings()
    with counted_progress() as bar:
        books = keep_books(settings, asked, _Shown(bar))
    _print_what_was_not_counted(books)
    total = books.total()
    if as_json:
        click.echo(json.dumps(_as_json(books, total)))
    else:
        Console().print(_table(books, total))
        _print_books(books, total)
    if total.lost:
        named = ", ".join(position.record_id for position in books.lost(_MAX_NAMED))
        raise InsessionError(
            f"{total.lost:,} inputs owe a record and have none, the first ones: {shown(named, 1_000)}. Look into the "
            "worker's log for these offsets, and whether the mapping, the start or the retention changed since"
        )


class _Shown:
    """Shows on a bar how many records have gone by."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar

    def __call__(self, what: str, records: Iterable[InputRecord], total: int) -> Iterator[InputRecord]:
        """Pass the records on."""
        task = self._bar.add_task(what, total=total)
        for count, record in enumerate(records, start=1):
            if count % _ADVANCE_EVERY == 0:
                self._bar.update(task, completed=count)
            yield record
        self._bar.update(task, completed=total)


def _countable_ms() -> int:
    """Return since when recommendations is a full log, Unix milliseconds."""
    return time.time_ns() // 1_000_000 - COMPACTION_LAG // timedelta(milliseconds=1)


def _print_what_was_not_counted(books: Books) -> None:
    if books.older:
        click.echo(
            f"{books.older:,} older inputs were not looked at: give an earlier --since or raise --limit", err=True
        )
    if books.first_ms is not None and books.first_ms < _countable_ms() - _A_RUN_MS:
        click.echo(
            f"some inputs are older than {COMPACTION_LAG.days} days: their answers may be compacted away, and they "
            "would count as lost; give a later --since",
            err=True,
        )


def _print_books(books: Books, total: Account) -> None:
    notes = {
        "not committed yet, and not owed": books.pending,
        "answered and dead-lettered": total.answered_and_dead_lettered,
        "not for us by this mapping, but with a record": total.ignored_with_record,
        "records of offsets that the input does not show": total.without_input,
        "records on recommendations that name no input": books.unreadable_outputs,
        **{f"ignored: {reason}": count for reason, count in sorted(books.ignored_by_reason.items())},
    }
    for note, count in notes.items():
        if count:
            click.echo(f"{count:,}  {note}")
    if not total.inputs:
        click.echo("no inputs by this choice: see --since, --partition and --to-end")


def _table(books: Books, total: Account) -> Table:
    table = Table()
    table.add_column("topic, partition", overflow="fold")
    for heading in _COLUMNS:
        table.add_column(heading.replace("_", "-"), justify="right", no_wrap=True)
    rows = [
        (f"{topic} {partition}", account)
        for topic, accounts in books.accounts().items()
        for partition, account in sorted(accounts.items())
    ]
    for name, account in [*rows, ("all", total)]:
        table.add_row(Text(shown(name)), *(f"{getattr(account, column):,}" for column in _COLUMNS))
    return table


def _as_json(books: Books, total: Account) -> dict[str, object]:
    return asdict(total) | {
        "pending": books.pending,
        "older": books.older,
        "unreadable_outputs": books.unreadable_outputs,
        "ignored_by_reason": dict(books.ignored_by_reason),
        "first_lost": [position.record_id for position in books.lost(_MAX_NAMED)],
        "topics": {
            topic: {str(partition): asdict(account) for partition, account in sorted(accounts.items())}
            for topic, accounts in books.accounts().items()
        },
    }
