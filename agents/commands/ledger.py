"""`insession ledger`: what became of the clickstream, counted from the topics alone."""

import json
import sys
import time
from dataclasses import asdict

import click
from rich.console import Console
from rich.progress import TaskID
from rich.table import Table

from agents.commands.connection import Connection, connection_options
from agents.commands.moment import Moment
from agents.commands.progress import counted_progress
from agents.ledger import DEFAULT_LIMIT, Books, InputsAsked, keep_books


@click.command(
    epilog="""\b
Examples:
  insession ledger --brokers kafka:9092 --since 1h
  insession ledger --config production.toml --since 2026-11-20T10:00Z --json

Exit code 1: something was lost.
"""
)
@connection_options
@click.option(
    "--since", "since_ms", type=Moment(), help="Inputs from then on, as in 30m, 2h or a time.  [default: all]"
)
@click.option(
    "--partition",
    "partitions",
    type=click.IntRange(min=0),
    multiple=True,
    help="Inputs of this partition; repeat for more.  [default: all]",
)
@click.option("--to-end", is_flag=True, help="What is not committed yet, too, though nothing is owed for it.")
@click.option(
    "--limit",
    type=click.IntRange(min=1, max=100_000_000),
    default=DEFAULT_LIMIT,
    show_default=True,
    help="The newest so many inputs; 3 bytes of memory each.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    connection: Connection,
    since_ms: int | None,
    partitions: tuple[int, ...],
    limit: int,
    *,
    to_end: bool,
    as_json: bool,
) -> None:
    """Hold every input offset against what was written for it: answered, ignored, dead-lettered, lost, twice.

    Reads the clickstream by the mapping of the settings, as the worker does, then `recommendations` and the dead
    letters; joins no group and changes nothing. Inputs behind the workers' commits are counted as pending.
    """
    settings = connection.settings()
    asked = InputsAsked(since_ms=since_ms, partitions=frozenset(partitions), to_end=to_end, limit=limit)
    with counted_progress() as bar:
        tasks = dict[str, TaskID]()

        def advance(topic: str, count: int) -> None:
            if topic not in tasks:
                tasks[topic] = bar.add_task(topic, total=None)
            bar.advance(tasks[topic], count)

        books = keep_books(settings, asked, advance)
    for warning in _warnings(books):
        click.echo(f"insession: {warning}", err=True)
    if as_json:
        notes = {"pending": books.pending, "beyond_limit": books.beyond, "unreadable_outputs": books.unreadable}
        click.echo(json.dumps(asdict(books.balance) | notes, indent=2))
    else:
        _print(books)
    if books.balance.lost:
        sys.exit(1)


def _warnings(books: Books) -> list[str]:
    found = []
    if books.is_compacted(time.time_ns() // 1_000_000):
        found.append(
            "the oldest inputs are older than a week: their answers may be compacted away and look lost; use --since 7d"
        )
    if books.beyond:
        found.append(f"{books.beyond:,} older inputs are beyond --limit and were left out")
    if books.balance.though_ignored:
        found.append(f"{books.balance.though_ignored:,} inputs have a record, though the mapping of today ignores them")
    return found


def _print(books: Books) -> None:
    balance = books.balance
    table = Table(title=f"{balance.inputs:,} inputs, {books.pending:,} more are not committed yet", show_header=False)
    for name in ("answered", "ignored", "dead_lettered", "lost", "twice"):
        table.add_row(name.replace("_", "-"), f"{getattr(balance, name):,}")
    Console().print(table)
    if balance.lost_ids:
        click.echo("lost: " + ", ".join(balance.lost_ids) + (", ..." if balance.lost > len(balance.lost_ids) else ""))
