"""`insession doctor`: is everything as it must be, and what to do where it is not."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import groupby
from typing import Final

import click
from msgspec import to_builtins
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agents.commands.connection import Connection, connection_options
from agents.commands.plain_text import shown
from agents.doctor.findings import Finding, Level, error
from schemas.errors import InsessionError, UsageError
from streams.dead_letters import InputRecord
from streams.topic_reader import TopicReader, latest

_STYLES: Final = {Level.OK: "green", Level.WARNING: "yellow", Level.ERROR: "bold red", Level.UNCHECKED: "dim"}
_MAX_TEXT: Final = 1_000


@click.command(
    epilog="""\b
Examples:
  insession doctor --config production.toml
  insession doctor --brokers kafka:9092 --json
  insession doctor --sample shop-events > mapping.toml
  insession doctor --sample shop-items --catalog > catalog.toml

Exit code 1: something does not work; the table says what to do.
"""
)
@connection_options
@click.option("--serving", metavar="HOST:PORT", help="The model server.  [default: serving.address of the settings]")
@click.option("--sample", "sample_topic", metavar="TOPIC", help="Propose a clickstream.mapping for the JSON in TOPIC.")
@click.option("--catalog", "is_catalog", is_flag=True, help="With --sample: propose a catalog.mapping for its items.")
@click.option(
    "--records",
    type=click.IntRange(min=1, max=100_000),
    default=2_000,
    show_default=True,
    help="Look at so many of the newest records.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    connection: Connection,
    serving: str | None,
    sample_topic: str | None,
    records: int,
    *,
    is_catalog: bool,
    as_json: bool,
) -> None:
    """Check settings, brokers, topics, keys, workers, model server and release; change nothing.

    Give it the settings of the worker, on the worker's machine: data folder, disk and port are those of this one.
    With --sample it prints a settings section instead, for a shop whose events are JSON of its own.
    """
    if sample_topic is not None:
        propose = _propose_catalog if is_catalog else _propose
        propose(connection, sample_topic, records, as_json=as_json)
        return
    if is_catalog:
        raise UsageError("--catalog says what --sample looks at: give --sample TOPIC, too")
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
    from agents.doctor.examination import examine  # noqa: PLC0415 - --help must not pay for gRPC, NumPy and Faust
    from agents.doctor.settings_check import settings_findings  # noqa: PLC0415

    try:
        reading = connection.reading()
    except UsageError as failure:
        return [error("settings", str(failure), "give a settings file that can be read, with --config")]
    examined = [] if reading.settings is None else list(examine(reading.settings, records))
    return [*settings_findings(reading), *examined]


def _sampled(connection: Connection, topic: str, at_most: int) -> list[InputRecord]:
    settings = connection.settings()
    with Console(stderr=True).status(f"reading {topic}"), TopicReader(settings.kafka.client_config()) as reader:
        records = list(reader.read(topic, latest(reader.bounds(topic), at_most)))
    if not records:
        raise InsessionError(f"topic {topic} holds no record: let the shop write some, then sample again")
    return records


def _propose_catalog(connection: Connection, topic: str, at_most: int, *, as_json: bool) -> None:
    from agents.doctor.catalog_proposal import propose_catalog  # noqa: PLC0415 - as above

    proposal = propose_catalog(_sampled(connection, topic, at_most))
    if not as_json:
        click.echo(proposal.toml(), nl=False)
        return
    counts = {"sampled": proposal.sampled, "readable": proposal.readable, "available": proposal.available}
    found = {"mapping": to_builtins(proposal.mapping), **counts, "not_readable": dict(proposal.reasons)}
    click.echo(json.dumps(found | {"questions": list(proposal.questions)}, indent=2))


def _propose(connection: Connection, topic: str, at_most: int, *, as_json: bool) -> None:
    from agents.doctor.mapping_proposal import propose  # noqa: PLC0415 - as above

    proposal = propose(_sampled(connection, topic, at_most))
    if not as_json:
        click.echo(proposal.toml(), nl=False)
        return
    counts = {"sampled": proposal.sampled, "readable": proposal.readable, "keyed": proposal.keyed}
    found = {"mapping": to_builtins(proposal.mapping), **counts, "not_readable": dict(proposal.reasons)}
    click.echo(json.dumps(found | {"questions": list(proposal.questions)}, indent=2))


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
