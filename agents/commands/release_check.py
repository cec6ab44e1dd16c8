"""`insession release check`: whether a release may be promoted, and what it cannot serve well."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click
import msgspec

from agents.commands.data_options import CatalogUrlOrPath, DataUrlOrPath, data_options, format_of, read_options
from agents.commands.release_options import KEY, KEY_VARIABLE, RELEASE, model_name_option
from agents.settings import Settings, load_settings
from agents.sources.local_data import DataUrl, catalog_here, copied_for_now
from agents.sources.topic_copy import TopicFormat
from schemas.errors import InsessionError
from schemas.release_signature import read_key
from schemas.secret import Secret
from schemas.topic_url import TopicUrl
from session_model.data.formats import DataFormat

if TYPE_CHECKING:
    from agents.reports.check_files import CheckReports
    from schemas.records import CatalogItem
    from session_model.checks.contender import Contender

_Record = TypeVar("_Record", bound=msgspec.Struct)


@click.command(
    epilog="""\b
Examples:
  insession release check models/session_gru/8 today.jsonl --format jsonl --against models/session_gru/7 --out models
  insession release check models/session_gru/8 "kafka://kafka:9092/session-ends?from=2026-11-28" \\
    --against models/session_gru/7 --catalog kafka://kafka:9092/catalog --out models \\
    --recommendations "kafka://kafka:9092/recommendations?from=2026-11-28" \\
    --outcomes "kafka://kafka:9092/recommendation-outcomes?from=2026-11-21" --config worker.toml
"""
)
@click.argument("release", type=RELEASE)
@click.argument("data", type=DataUrlOrPath())
@data_options("DATA")
@click.option(
    "--against",
    metavar="PATH|URL",
    help="The champion: a release like RELEASE, s3://BUCKET/PREFIX/MODEL/VERSION, or models of which one serves.",
)
@click.option(
    "--key-file", type=KEY, envvar=KEY_VARIABLE, help="Ask for a signature of both with the key in this file."
)
@click.option("--catalog", type=CatalogUrlOrPath(), help="Catalog records: what may be sold, prices, categories.")
@click.option("--outcomes", type=DataUrlOrPath(), help="Records of recommendation-outcomes: a topic, or JSON lines.")
@click.option("--recommendations", type=DataUrlOrPath(), help="Records of recommendations: a topic, or JSON lines.")
@click.option(
    "--out",
    metavar="PATH|URL",
    help="Models directory, or s3://BUCKET/PREFIX: the report goes to MODEL/checks/VERSION.json, .md and .html there, "
    "where a promotion looks for it; the reports that are there are the days before.",
)
@model_name_option("Folder of the reports in OUT; serving.model_name of the workers.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON instead of a table.")
def check(  # noqa: PLR0913 - one parameter an option
    *,
    release: Path,
    data: Path | DataUrl,
    data_format: DataFormat | None,
    columns: Sequence[str],
    event_types: Sequence[str],
    config: Path | None,
    against: str | None,
    key_file: Path | None,
    catalog: Path | TopicUrl | None,
    outcomes: Path | DataUrl | None,
    recommendations: Path | DataUrl | None,
    out: str | None,
    model_name: str,
    as_json: bool,
) -> None:
    """Hold RELEASE against DATA, sessions of after its training, and say whether it may be promoted.

    Exit code 1 when a check fails; the reason says what, how much, against which limit, and what to do. A check whose
    part is absent is not run, and not passed. Limits are `[checks]` of the settings; docs/checks.md explains all.
    """
    from rich.console import Console

    from agents.progress_bar import counted_progress
    from agents.reports.checks import summary_table
    from agents.sources.local_models import release_here
    from schemas.bus import parse_bus_url
    from schemas.records import RecommendationOutcome, RecommendationSet
    from session_model.checks.contract import CheckData, Evidence
    from session_model.checks.run import run_checks
    from session_model.data.formats import read_sessions
    from session_model.data.training_data import sha256_of

    settings = load_settings(file=config)
    options, chosen = read_options(columns, event_types, settings), format_of(data, data_format)
    key = settings.serving.release_key if key_file is None else read_key(key_file)
    reports = None if out is None else _reports(out, model_name)
    try:
        with ExitStack() as stack:
            records = _catalog(catalog, settings, stack)
            with copied_for_now(data, chosen, settings) as here:
                checked = CheckData(read_sessions(here.path, chosen, options=options), sha256_of(here.path))
            given = Evidence(
                champion=None
                if against is None
                else _contender(
                    stack.enter_context(release_here(parse_bus_url(against), model_name, None)), records, key
                ),
                catalog=records,
                outcomes=_records(outcomes, "recommendation-outcomes", RecommendationOutcome, settings, stack),
                sent=_records(recommendations, "recommendations", RecommendationSet, settings, stack),
                history=() if reports is None else reports.all(),
                blocked=settings.serving.excluded_items,
                is_record_needed=settings.catalog.require_catalog,
                places=settings.locations,
            )
            with counted_progress() as bar:
                task = bar.add_task("sessions", total=None)
                report = run_checks(
                    _contender(release, records, key),
                    checked,
                    given,
                    settings.checks,
                    made_at=datetime.now(UTC),
                    progress=lambda step, done, total: bar.update(task, description=step, completed=done, total=total),
                )
        if reports is not None:
            reports.write(report)
    except OSError as error:
        raise InsessionError(f"release check: {error}; check the path, its rights and the disk") from error
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(report), indent=2))
    else:
        Console().print(summary_table(report))
    if report.failed:
        where = "" if out is None else f"; {out}/{model_name}/checks/{report.version}.html shows on which sessions"
        raise InsessionError(f"version {report.version} fails {', '.join(report.failed)}{where}")


def _reports(out: str, model_name: str) -> "CheckReports":
    from agents.artifact_bus import open_bus
    from agents.reports.check_files import CheckReports
    from schemas.bus import FolderUrl, parse_bus_url

    if isinstance(url := parse_bus_url(out), FolderUrl):
        url.path.mkdir(parents=True, exist_ok=True)
    return CheckReports(open_bus(out), model_name)


def _contender(release: Path, records: "Sequence[CatalogItem] | None", key: Secret | None) -> "Contender":
    from session_model.checks.contender import Contender
    from session_model.networks.exported_model import ExportedModel
    from session_model.release.copies import load_release

    loaded = load_release(release, key).with_catalog(records or ())
    return Contender(loaded, ExportedModel.of(loaded))


def _catalog(catalog: Path | TopicUrl | None, settings: Settings, stack: ExitStack) -> "Sequence[CatalogItem] | None":
    from session_model.data.catalogs import read_catalog

    described = stack.enter_context(catalog_here(catalog, settings))
    return None if described.path is None else read_catalog(described.path, described.mapping)


def _records(
    data: Path | DataUrl | None, topic: TopicFormat, kind: type[_Record], settings: Settings, stack: ExitStack
) -> Iterator[_Record] | None:
    """Read what was written on a topic of ours, copied until the command ends; a new shop's may have no record yet."""
    from agents.sources.topic_copy import NoRecordError
    from session_model.data.record_lines import read_records

    if data is None:
        return None
    try:
        here = stack.enter_context(copied_for_now(data, topic, settings))
    except NoRecordError:
        return iter(())
    return read_records(here.path, kind)
