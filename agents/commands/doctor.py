"""`insession doctor`: is everything as it must be, and what to do where it is not."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import click
from msgspec import to_builtins
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agents.commands.connection import Connection, connection_options
from agents.commands.output_file import OutputFile, write_output
from agents.commands.plain_text import MAX_CELL, shown, shown_bytes
from agents.doctor.before_and_after import Shown, before_and_after
from agents.doctor.findings import Finding, Level, error
from agents.doctor.mapping_proposal import Proposal, propose
from agents.doctor.sample_file import sampled
from agents.settings import Settings
from schemas.errors import InsessionError, UsageError
from schemas.mapping import FieldMapping
from schemas.payload import decode_payload
from streams.cluster.topic_reader import TopicReader, latest
from streams.records import InputRecord

_STYLES: Final = {Level.OK: "green", Level.WARNING: "yellow", Level.ERROR: "bold red", Level.UNCHECKED: "dim"}
_MAX_TEXT: Final = 1_000
_MAX_TRIED: Final = 10
_MAX_TRIED_TEXT: Final = 600


@click.command(
    epilog="""\b
Examples:
  insession doctor --config production.toml
  insession doctor --brokers kafka:9092 --json
  insession doctor --sample shop-events --write mapping.toml
  insession doctor --sample events.jsonl.gz --try
  insession doctor --sample shop-items --catalog

Exit code 1: something does not work; the table says what to do.
"""
)
@connection_options
@click.option("--serving", metavar="HOST:PORT", help="The model server.  [default: serving.address of the settings]")
@click.option(
    "--sample", metavar="TOPIC|FILE", help="Propose a clickstream.mapping for what a topic or a file of records holds."
)
@click.option("--catalog", "is_catalog", is_flag=True, help="With --sample: propose a catalog.mapping for its items.")
@click.option("--write", "target", type=OutputFile(), metavar="FILE", help="With --sample: make FILE of the proposal.")
@click.option(
    "--try",
    "is_try",
    is_flag=True,
    help="With --sample: show ten records before and after; with the mapping of --config where it states one.",
)
@click.option(
    "--records",
    type=click.IntRange(min=1, max=100_000),
    default=2_000,
    show_default=True,
    help="Look at so many of the newest records; of a file at the first ones.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(  # noqa: PLR0913 - one parameter an option
    connection: Connection,
    serving: str | None,
    sample: str | None,
    target: Path | None,
    records: int,
    *,
    is_catalog: bool,
    is_try: bool,
    as_json: bool,
) -> None:
    """Check settings, brokers, topics, clocks, keys, workers, model server and release; change nothing.

    To learn the brokers' time it writes ticks without effect to session-control.

    Give it the settings of the worker, on the worker's machine: data folder, disk and port are those of this one.
    With --sample it prints a settings section instead, for a shop whose events are records of its own.
    """
    if sample is not None:
        wanted = _Wanted(sample, records, target, is_try=is_try, as_json=as_json)
        if is_catalog and is_try:
            raise UsageError("--try shows clicks, and --catalog proposes how items are read: leave one of them out")
        propose_it = _propose_catalog if is_catalog else _propose
        propose_it(connection, wanted)
        return
    if target is not None or is_try or is_catalog:
        raise UsageError("--catalog, --write and --try are about a sample: name a topic or a file with --sample")
    if serving is not None:
        connection = replace(connection, options={**connection.options, "serving": {"address": serving}})
    with Console(stderr=True).status("examining"):
        findings = _findings(connection, records)
    if as_json:
        click.echo(json.dumps({"findings": [asdict(finding) for finding in findings]}, indent=2))
    else:
        _print(findings)
    if any(finding.level is Level.ERROR for finding in findings):
        sys.exit(1)


def _findings(connection: Connection, records: int) -> list[Finding]:
    from agents.doctor.examination import examine
    from agents.doctor.settings_check import settings_findings

    try:
        reading = connection.reading()
    except UsageError as failure:
        return [error("settings", str(failure), "give a settings file that can be read, with --config")]
    examined = [] if reading.settings is None else list(examine(reading.settings, records))
    return [*settings_findings(reading), *examined]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is to be done with a sample."""

    sample: str
    at_most: int
    target: Path | None
    is_try: bool
    as_json: bool


def _propose(connection: Connection, wanted: _Wanted) -> None:
    records, settings = _sampled(connection, wanted)
    from agents.encodings import Encodings

    decoder = Encodings(settings).clicks
    decode = decode_payload if decoder is None else decoder.decode
    proposal = propose(records, decode)
    stated = settings.clickstream.mapping
    mapping = proposal.mapping if stated == FieldMapping() else stated
    tried = before_and_after(records, mapping, _MAX_TRIED, decode) if wanted.is_try else []
    if wanted.is_try and not wanted.as_json:
        _print_tried(tried, "the proposed mapping" if mapping is proposal.mapping else "the mapping of the settings")
    _hand_out(wanted, proposal.toml(), _as_json(proposal, tried))


def _propose_catalog(connection: Connection, wanted: _Wanted) -> None:
    from agents.doctor.catalog_proposal import propose_catalog

    proposal = propose_catalog(_sampled(connection, wanted)[0])
    counts = {"sampled": proposal.sampled, "readable": proposal.readable, "available": proposal.available}
    found = {"mapping": to_builtins(proposal.mapping), **counts, "not_readable": dict(proposal.reasons)}
    _hand_out(wanted, proposal.toml(), found | {"questions": list(proposal.questions)})


def _hand_out(wanted: _Wanted, toml: str, result: Mapping[str, Any]) -> None:
    """Write the proposal where it is wanted, and print it unless something else is."""
    if wanted.target is not None:
        write_output(wanted.target, toml.encode())
        click.echo(f"{wanted.target} holds the proposed mapping, with the questions that are open", err=True)
    if wanted.as_json:
        click.echo(json.dumps(result, indent=2))
    elif wanted.target is None and not wanted.is_try:
        click.echo(toml, nl=False)


def _sampled(connection: Connection, wanted: _Wanted) -> tuple[list[InputRecord], Settings]:
    if wanted.target is not None and wanted.target.exists():
        raise UsageError(
            f"{wanted.target} is there already, with {wanted.target.stat().st_size:,} bytes: name another file, or "
            "remove it first"
        )
    settings, source, at_most = connection.settings(), wanted.sample, wanted.at_most
    if os.path.isfile(source):  # noqa: PTH113 - Path raises where a name is too long
        records, kind = sampled(Path(source), at_most), "file"
    elif "/" in source:
        raise UsageError(f"there is no file {shown(source)}, and no topic can be named so: check --sample")
    else:
        with Console(stderr=True).status(f"reading {source}"), TopicReader(settings.kafka.client_config()) as reader:
            records, kind = list(reader.read(source, latest(reader.bounds(source), at_most))), "topic"
    if not records:
        raise InsessionError(f"{kind} {source} holds no record: let the shop write some, then sample again")
    return records, settings


def _as_json(proposal: Proposal, tried: Sequence[Shown]) -> dict[str, Any]:
    trial = proposal.trial
    result: dict[str, Any] = {
        "records": trial.records,
        "readable": trial.readable,
        "ignored": trial.ignored,
        "interactions": dict(trial.interactions),
        "proposal": to_builtins(proposal.mapping),
        "questions": list(proposal.questions),
        "seen": to_builtins(proposal.seen),
        "warnings": list(proposal.warnings),
        "not_readable": dict(trial.rejected),
        "repaired": dict(trial.repairs),
    }
    result |= {"keyed": trial.keyed} if proposal.is_keyed else {}
    if tried:
        result["tried"] = [
            {
                "key": None if one.key is None else shown_bytes(one.key, _MAX_TRIED_TEXT),
                "value": shown_bytes(one.value, _MAX_TRIED_TEXT),
                "becomes": [shown(line, _MAX_TRIED_TEXT) for line in one.becomes],
            }
            for one in tried
        ]
    return result


def _print_tried(tried: Sequence[Shown], by: str) -> None:
    table = Table(show_lines=True, title=f"With {by}")
    for column in ("key", "record", "becomes"):
        table.add_column(column, overflow="fold", ratio=1 if column == "key" else 4)
    for one in tried:
        becomes = "\n".join(shown(line, _MAX_TRIED_TEXT) for line in one.becomes)
        table.add_row(
            Text(shown_bytes(one.key, MAX_CELL)), Text(shown_bytes(one.value, _MAX_TRIED_TEXT)), Text(becomes)
        )
    Console().print(table)


def _print(findings: Sequence[Finding]) -> None:
    table = Table()
    table.add_column("check", no_wrap=True)
    table.add_column("")
    table.add_column("found", overflow="fold", ratio=3)
    table.add_column("what to do", overflow="fold", ratio=3)
    for (level, message, remedy), alike in groupby(findings, lambda one: (one.level, one.message, one.remedy)):
        table.add_row(
            "\n".join(finding.check for finding in alike),
            Text(level, _STYLES[level]),
            Text(shown(message, _MAX_TEXT)),
            Text(shown(remedy, _MAX_TEXT)),
        )
    Console().print(table)
    counts = {level: sum(finding.level is level for finding in findings) for level in Level}
    click.echo(", ".join(f"{count} {level}" for level, count in counts.items() if count))
