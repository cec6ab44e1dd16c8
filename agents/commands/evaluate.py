"""`insession evaluate`: how good is a release on sessions it has not seen."""

from collections.abc import Sequence
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.progress import Progress

from agents.commands.data_options import CatalogUrlOrPath, DataUrlOrPath, data_options, format_of, read_options
from agents.commands.models_option import ModelsUrlOrPath, while_it_runs
from agents.commands.output_file import OutputFile, write_output
from agents.progress_bar import counted_progress
from agents.reports.evaluation import headline, markdown, overlap_warning, page, terminal_tables
from agents.reports.intent import intent_tables
from agents.settings import load_settings
from agents.sources.local_data import DataUrl, catalog_here, copied_for_now
from agents.sources.local_models import release_in
from schemas.bus import BusUrl, parse_bus_url
from schemas.errors import InsessionError, UsageError
from schemas.topic_url import TopicUrl
from session_model.data.catalogs import read_catalog
from session_model.data.formats import DataFormat, read_sessions
from session_model.data.training_overlap import Overlap
from session_model.evaluation.intent import IntentEvaluation, evaluate_intent
from session_model.evaluation.ranking import FIRST_TARGET, MODELS, Baseline, EvaluationPlan, HeldOut, Unseen, evaluate
from session_model.networks.exported_model import ExportedModel
from session_model.release.copies import load_release
from session_model.release.files import trained_sessions
from session_model.release.release import Release

_FILE = OutputFile()


@click.command(
    epilog="""\b
Examples:
  insession evaluate models test.tsv --format session-rec --html evaluation.html --json > evaluation.json
  insession evaluate models test.tsv --format session-rec --baseline gru4rec=published
  insession evaluate models clicks.jsonl --format jsonl --intent --json > evaluation.json
  insession evaluate s3://shop-models/releases "kafka://kafka:9092/session-ends?from=2026-01-31"
"""
)
@click.argument("directory", type=ModelsUrlOrPath())
@click.argument("test", type=DataUrlOrPath())
@data_options("TEST")
@click.option(
    "--catalog",
    type=CatalogUrlOrPath(),
    help="Catalog records, a topic as kafka://BROKERS/TOPIC or a file, one JSON a line, as on the topic: items in it "
    "that are new since training can be listed.",
)
@click.option(
    "--unseen",
    type=click.Choice(["miss", "drop"]),
    default="miss",
    show_default=True,
    help="Targets that training has not seen: count them as misses, or take such clicks out of TEST first.",
)
@click.option(
    "--first-target",
    type=click.IntRange(min=FIRST_TARGET),
    default=FIRST_TARGET,
    show_default=True,
    metavar="N",
    help="Position in the session of the first item to predict.",
)
@click.option(
    "--baseline",
    "baselines",
    multiple=True,
    metavar="NAME=DIR",
    help="Compare with the model of another release, or of the newest in a models directory; repeat for more.",
)
@click.option(
    "--intent",
    "with_intent",
    is_flag=True,
    help="Score the release's intent, too, by prefix length: PR-AUC, ROC-AUC and ECE, in the terminal and in every "
    "file; TEST needs times.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of tables.")
@click.option("--markdown", "markdown_path", type=_FILE, help="Write tables there, the slices among them.")
@click.option("--html", "html_path", type=_FILE, help="Write a page with tables and plots there.")
def command(  # noqa: PLR0913 - one parameter an option
    *,
    directory: BusUrl,
    test: Path | DataUrl,
    data_format: DataFormat | None,
    columns: Sequence[str],
    event_types: Sequence[str],
    config: Path | None,
    catalog: Path | TopicUrl | None,
    unseen: Unseen,
    first_target: int,
    baselines: Sequence[str],
    with_intent: bool,
    as_json: bool,
    markdown_path: Path | None,
    html_path: Path | None,
) -> None:
    """Score a release on the sessions of TEST: blend, GRU, kNN and two baselines side by side.

    DIRECTORY is the models directory, maybe on the Bus (the newest release in it is taken), or one release. The GRU is
    the exported SavedModel itself. Every item after a session's first is a target, ranked over the full catalogue.
    Where more of TEST was trained on than chance explains, that is said.
    """
    try:
        settings = load_settings(file=config)
        model_name = settings.serving.model_name
        release, options = _release(directory, model_name), read_options(columns, event_types, settings)
        with catalog_here(catalog, settings) as described:
            if described.path is not None:
                release = release.with_catalog(read_catalog(described.path, described.mapping))
        if catalog is not None and release.parts.cold_start is None:
            click.echo(
                "--catalog changes nothing: the release was trained without one; train it with --catalog", err=True
            )
        compared = _baselines(baselines, model_name)
        name = test.name if isinstance(test, Path) else str(test)
        chosen = format_of(test, data_format)
        with copied_for_now(test, chosen, settings) as here:
            held_out = HeldOut(name, read_sessions(here.path, chosen, options=options))
        overlap = _overlap(release, held_out)
        if with_intent and release.parts.intent is not None and held_out.sessions.times_ms is None:
            raise UsageError(f"{name} has no times, which intent is told from; leave out --intent, or use another TEST")
        model = ExportedModel.of(release)
        with counted_progress() as bar:
            task = bar.add_task("sessions", total=len(held_out.sessions))
            result = evaluate(
                release,
                model,
                held_out,
                EvaluationPlan(unseen, first_target),
                lambda done: bar.update(task, completed=done),
                compared,
            )
            intent = _evaluate_intent(release, held_out, bar) if with_intent else None
        if markdown_path is not None:
            write_output(markdown_path, markdown(result, intent, overlap).encode())
        if html_path is not None:
            write_output(html_path, page(result, intent, overlap).encode())
    except OSError as error:
        raise InsessionError(f"evaluate: {error}; check the path, its rights and the disk") from error
    if as_json:
        document = msgspec.to_builtins(result) | ({} if intent is None else msgspec.to_builtins(intent))
        document["training_overlap"] = msgspec.to_builtins(overlap)
        click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2))
        return
    click.echo(f"{release.directory} on {headline(result)}")
    for table in terminal_tables(result):
        Console().print(table)
    for block in () if intent is None else intent_tables(intent):
        Console().print(block)


def _overlap(release: Release, test: HeldOut) -> Overlap | None:
    """Compare TEST with what was trained on, and say it where that is more than chance explains."""
    trained = trained_sessions(release)
    found = None if trained is None else trained.overlap(test.sessions, release.manifest.input_event_types)
    if found is not None and found.is_suspect:
        click.secho(f"WARNING: {overlap_warning(found)}", err=True, fg="red", bold=True)
    return found


def _release(url: BusUrl, model_name: str) -> Release:
    return load_release(release_in(while_it_runs(url, model_name), model_name))


def _baselines(given: Sequence[str], model_name: str) -> dict[str, Baseline]:
    """Load what `--baseline` names; raises UsageError on a name that is missing or taken."""
    found = dict[str, Baseline]()
    for text in given:
        name, separator, directory = text.partition("=")
        if not name or not separator:
            raise UsageError(f"--baseline {text}: write NAME=DIR, such as gru4rec={text.strip('=') or 'published'}")
        if name in found or name in MODELS:
            raise UsageError(f"--baseline {text}: the name {name} is taken; choose another one")
        release = _release(parse_bus_url(directory), model_name)
        found[name] = Baseline(release, ExportedModel.of(release))
    return found


def _evaluate_intent(release: Release, test: HeldOut, bar: Progress) -> IntentEvaluation:
    if release.parts.intent is None:
        click.echo(
            "intent: the release has no intent model, since its training data had no times; nothing to measure",
            err=True,
        )
        return IntentEvaluation({}, {}, {}, {})
    task = bar.add_task("intent, groups of prefixes", total=None)
    return evaluate_intent(
        release.parts.intent,
        test.sessions,
        release.parts.categories,
        lambda done, total: bar.update(task, completed=done, total=total),
    )
