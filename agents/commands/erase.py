"""`insession erase`: forget visitors everywhere, and say what remains where until when."""

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Final, TextIO

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agents.commands.connection import Connection, connection_options
from agents.commands.plain_text import rfc3339, shown_time
from agents.durations import DurationType
from agents.logs import configure_logs
from agents.progress_bar import counted_progress, steps_on
from agents.settings import Settings
from agents.upkeep.erasure import Erasure
from agents.upkeep.erasure_report import Place
from schemas.errors import UsageError
from schemas.ids import MAX_ID_BYTES, VisitorId, utf8_bytes
from streams.state.search import StateSurvey

MAX_IDS: Final = 1_000
_STDIN: Final = "-"


@click.command(
    epilog="""\b
Examples:
  insession erase v-8f2c --dry-run --config production.toml
  insession erase --from-file ids.txt --yes --json > report.json
  pass show request-17 | insession erase - --yes               # no id in the shell's history

Exit codes: 0 erased (or, with --dry-run, looked at), 1 not or not yet, 2 wrong usage.
"""
)
@connection_options
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--from-file", type=click.File(encoding="utf-8"), metavar="FILE", help="Ids, one a line; - = stdin.")
@click.option("--dry-run", is_flag=True, help="Tell where the ids stand, and change nothing.")
@click.option("--yes", "is_agreed", is_flag=True, help="Do not ask.")
@click.option(
    "--no-block", is_flag=True, help="Let the next click of an id begin anew, at once; also lifts an earlier block."
)
@click.option(
    "--delete-dead-letters",
    is_flag=True,
    help="Delete the dead letters up to the last that names an id, those of others among them, too.",
)
@click.option(
    "--timeout", type=DurationType(), default="5m", show_default=True, help="How long the workers may take for it."
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
def command(  # noqa: PLR0913 - the options
    connection: Connection,
    ids: tuple[str, ...],
    from_file: TextIO | None,
    timeout: timedelta,
    *,
    dry_run: bool,
    is_agreed: bool,
    no_block: bool,
    delete_dead_letters: bool,
    as_json: bool,
) -> None:
    """Forget the visitors ID, with the ids that they had before or after a login.

    Workers may run, and must for it to come to an end: the owner of each partition removes the state, this waits for
    them. Then it writes tombstones to the compacted outputs, deletes the request, and reports what it found in each
    place, what was done, and what remains until when. For privacy.block_erased the clicks of the ids, old ones in the
    backlog among them, are answered as without consent. It is safe to run again.
    """
    settings = connection.settings()
    asked = _asked(ids, from_file, is_stdin_ours=is_agreed or dry_run)
    configure_logs("WARNING")
    with counted_progress() as bar, Erasure(settings, steps_on(bar, "looking at the topics")) as erasure:
        found = erasure.look(asked)
        if dry_run:
            places, blocked_until_ms = erasure.report(found), None
        else:
            _agree(found, bar.stop, bar.start, is_agreed=is_agreed)
            blocked_until_ms = _blocked_until_ms(settings, is_blocked=not no_block)
            found.earlier |= erasure.request(found, blocked_until_ms, timeout.total_seconds())
            places = erasure.clean(found, blocked_until_ms, delete_dead_letters=delete_dead_letters)
    if as_json:
        click.echo(json.dumps(_as_json(asked, found, places, blocked_until_ms)))
        return
    Console().print(_table(places))
    click.echo(_summary(asked, found, blocked_until_ms))


def _asked(ids: Sequence[str], from_file: TextIO | None, *, is_stdin_ours: bool) -> list[VisitorId]:
    """Read the ids; raises UsageError, which never repeats one."""
    reads_stdin = ids == (_STDIN,) or (from_file is not None and from_file.name == "<stdin>")
    if from_file is not None and ids:
        raise UsageError("give ids or --from-file, not both")
    if reads_stdin and not is_stdin_ours:
        raise UsageError("ids come from stdin, so nobody can be asked there: add --yes or --dry-run")
    lines: Iterable[str] = ids
    if from_file is not None or reads_stdin:
        source = from_file or click.get_text_stream("stdin", encoding="utf-8")
        try:
            lines = [line.rstrip("\r\n") for line in source]
        except UnicodeDecodeError as error:
            raise UsageError(f"{source.name} is no UTF-8 text: give one id a line") from error
    found = list(dict.fromkeys(VisitorId(line) for line in lines if line))
    if not found:
        raise UsageError("name at least one visitor: ID, --from-file FILE or -")
    if len(found) > MAX_IDS:
        raise UsageError(
            f"{len(found):,} ids: at most {MAX_IDS:,} are looked for at a time, so run it for parts of them"
        )
    if not all(map(_can_be_one, found)):
        raise UsageError(f"an id has more than {MAX_ID_BYTES} bytes or is no text, so no visitor has it: one id a line")
    return found


def _can_be_one(visitor_id: VisitorId) -> bool:
    """Return what clicks may bring from the rest; half a surrogate pair stands for a byte that is no UTF-8."""
    is_text = "\0" not in visitor_id and not any("\ud800" <= one <= "\udfff" for one in visitor_id)
    return is_text and utf8_bytes(visitor_id) <= MAX_ID_BYTES


def _agree(found: StateSurvey, pause: Callable[[], None], go_on: Callable[[], None], *, is_agreed: bool) -> None:
    if is_agreed:
        return
    pause()
    click.confirm(f"Erase {len(found.ids):,} ids with {len(found.states):,} states, for good?", abort=True, err=True)
    go_on()


def _blocked_until_ms(settings: Settings, *, is_blocked: bool) -> int:
    """Return when blocks end, Unix milliseconds; 0 = there is none any more."""
    block_ms = settings.privacy.block_erased // timedelta(milliseconds=1)
    return time.time_ns() // 1_000_000 + block_ms if is_blocked and block_ms else 0


def _table(places: Sequence[Place]) -> Table:
    table = Table()
    for heading in ("place", "found", "done", "remains", "until (UTC)", "note"):
        table.add_column(heading, overflow="fold")
    for place in places:
        until = "" if place.until_ms is None else shown_time(place.until_ms)
        counts = ("-" if count is None else f"{count:,}" for count in (place.found, place.remains))
        found, remains = counts
        table.add_row(Text(place.place), found, Text(place.done), remains, until, Text(place.note))
    return table


def _summary(asked: Sequence[VisitorId], found: StateSurvey, blocked_until_ms: int | None) -> str:
    linked = len(found.ids) - len(asked)
    whom = f"{len(asked):,} ids and {linked:,} more of the same persons"
    if blocked_until_ms is None:
        return f"{whom}: nothing was changed"
    block = f"their clicks build no state until {rfc3339(blocked_until_ms)}" if blocked_until_ms else "not blocked"
    return f"{whom} are erased; {block}"


def _as_json(
    asked: Sequence[VisitorId], found: StateSurvey, places: Sequence[Place], blocked_until_ms: int | None
) -> dict[str, object]:
    rows = [{**asdict(place), "until": place.until_ms and rfc3339(place.until_ms)} for place in places]
    for row in rows:
        del row["until_ms"]
    return {
        "ids": len(asked),
        "linked_ids": len(found.ids) - len(asked),
        "is_erased": blocked_until_ms is not None,
        "blocked_until": rfc3339(blocked_until_ms) if blocked_until_ms else None,
        "places": rows,
    }
