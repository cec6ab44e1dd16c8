"""`insession rules test`: see what rules do before they are put."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agents.commands.data_options import CatalogUrlOrPath, DataUrlOrPath, data_options, format_of, read_options
from agents.commands.models_option import ModelsUrlOrPath, while_it_runs
from agents.commands.moment import Moment
from agents.commands.plain_text import rfc3339, shown
from agents.progress_bar import counted_progress
from agents.settings import Settings, load_settings
from agents.sources.local_data import DataUrl, catalog_here, copied_for_now
from schemas.bus import BusUrl
from schemas.ids import ItemId, RuleId
from schemas.records import RecommendedItem
from schemas.topic_url import TopicUrl
from session_model.data.formats import DataFormat

if TYPE_CHECKING:
    from agents.merchants.trial import Cost, Scene, Shown
    from schemas.events import ClickEvent
    from schemas.rules import MerchantRule


@click.command(
    "test",
    epilog="""\b
Examples:
  insession rules test spring.json --log clicks.jsonl.gz --format jsonl --catalog catalog.jsonl --where nl/nh
  insession rules test spring.json --log clicks.jsonl.gz --format jsonl --models models --at 2026-03-01T12:00Z --json

Exit codes: 0 tried, 1 not tried, 2 a rule or an option is wrong.
""",
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--log", type=DataUrlOrPath(), help="Clicks to make lists from and to replay, a file or kafka://…")
@data_options("the log")
@click.option("--catalog", type=CatalogUrlOrPath(), help="Catalog records, a topic as kafka://BROKERS/TOPIC or a file.")
@click.option(
    "--models", "models_url", type=ModelsUrlOrPath(), help="Models, as for `insession replay`; else what is popular."
)
@click.option("--at", "at_ms", type=Moment(), metavar="TIME", help="When.  [default: the end of the log, else now]")
@click.option("--where", "location", help="Where the shopper is.")
@click.option("--device", help="On which device.")
@click.option("--arm", help="In which arm of an experiment.")
@click.option("--viewed", multiple=True, metavar="ITEM", help="Looked at before, oldest first; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def trial(  # noqa: PLR0913 - one parameter an option
    *,
    file: Path,
    log: Path | DataUrl | None,
    data_format: DataFormat | None,
    columns: Sequence[str],
    event_types: Sequence[str],
    config: Path | None,
    catalog: Path | TopicUrl | None,
    models_url: BusUrl | None,
    at_ms: int | None,
    location: str | None,
    device: str | None,
    arm: str | None,
    viewed: Sequence[str],
    as_json: bool,
) -> None:
    """Show a list before and after the rules of FILE, what each did, and what they cost.

    With --log the log is replayed without and with the rules: the share of next items that were among the first 20
    answered, and the answers that each rule changed. Nothing is put, and no rule of the topic takes part. What `put`
    would refuse is tried all the same, and said.
    """
    from agents.logs import configure_logs
    from agents.merchants.examination import examine
    from agents.merchants.rule_file import read_rule_file
    from agents.merchants.trial import Scene, Shop, cost, show
    from session_model.data.catalogs import read_catalog
    from session_model.data.formats import read_events

    configure_logs("WARNING")
    settings, rules = load_settings(file=config), read_rule_file(file)
    events: list[ClickEvent] = []
    if log is not None:
        read, chosen = read_options(columns, event_types, settings), format_of(log, data_format)
        with copied_for_now(log, chosen, settings) as here:
            events = list(read_events(here.path, chosen, options=read))
    with catalog_here(catalog, settings) as found:
        items = [] if found.path is None else read_catalog(found.path, found.mapping)
    models = None if models_url is None else while_it_runs(models_url, settings.serving.model_name, that_serve=True)
    scene = Scene(
        at_ms=_moment(at_ms, events),
        location=location,
        device=device,
        arm=arm,
        viewed=[ItemId(item) for item in viewed],
    )
    shop = Shop(settings, items, events, _release(settings, models))
    found_wrong = examine(
        rules,
        (),
        items,
        now_ms=time.time_ns() // 1_000_000,
        answer_size=settings.serving.answer_size,
        locations=settings.locations,
    )
    result, price = show(shop, rules, scene), None
    warnings = [*(f"`insession rules put` would refuse {one}" for one in found_wrong.errors), *found_wrong.warnings]
    if not result.before:
        warnings.append("without rules the list is empty: nothing is known to list; give --log, --models or --catalog")
    for warning in warnings:
        click.echo(f"warning: {shown(warning, 500)}", err=True)
    if events:
        with _served(settings, models) as with_server, counted_progress(Console(stderr=True)) as bar:
            task = bar.add_task("replaying twice", total=2 * len(events))
            price = cost(with_server, rules, events, items, lambda n: bar.advance(task, n))
    if as_json:
        click.echo(json.dumps(_as_json(result, price, scene) | {"warnings": warnings}, indent=2))
    else:
        _print(result, price, scene, rules)


def _moment(at_ms: int | None, events: "Sequence[ClickEvent]") -> int:
    """Return when the list is made."""
    if at_ms is not None:
        return at_ms
    return max((event.event_time_ms for event in events), default=time.time_ns() // 1_000_000)


def _release(settings: Settings, models: Path | None) -> Any:
    from session_model.release.copies import load_release
    from session_model.release.files import serving_release

    if models is None:
        return None
    return load_release(serving_release(models / settings.serving.model_name), settings.serving.release_key)


@contextmanager
def _served(settings: Settings, models: Path | None) -> Iterator[Settings]:
    """Run a model server for the replay, where there are models."""
    from serving.embedded.options import ServerOptions
    from serving.embedded_process import EmbeddedServer

    if models is None:
        with TemporaryDirectory(prefix="insession-no-models-") as nothing:
            yield replace(settings, serving=replace(settings.serving, models_directory=Path(nothing)))
        return
    options = ServerOptions(models=models, model_name=settings.serving.model_name, port=0, op_threads=1)
    with (
        TemporaryDirectory(prefix="insession-rules-") as name,
        EmbeddedServer(options, log_path=Path(name) / "model-server.log") as server,
    ):
        serving = replace(settings.serving, address=server.address, models_directory=models)
        yield replace(settings, serving=serving)


def _as_json(result: "Shown", price: "Cost | None", scene: "Scene") -> dict[str, Any]:
    applied = dict.fromkeys(result.applied, 1) if price is None else dict(price.applied)
    figures: dict[str, Any] = {"hit_rate_lost": None}
    if price is not None:
        figures = {
            "answers": price.answers,
            "targets": price.targets,
            "hit_rate_before": price.hit_rate_before,
            "hit_rate_after": price.hit_rate_after,
            "hit_rate_lost": price.hit_rate_lost,
        }
    return {
        "at": rfc3339(scene.at_ms),
        "where": scene.location,
        "tier": result.tier,
        "before": [msgspec.to_builtins(item) for item in result.before],
        "after": [msgspec.to_builtins(item) for item in result.after],
        "applied": applied,
        "hidden": dict(result.hidden),
        "not_in_force": list(result.not_in_force),
        **figures,
    }


def _print(result: "Shown", price: "Cost | None", scene: "Scene", rules: "Sequence[MerchantRule]") -> None:
    console = Console()
    where = "everywhere" if scene.location is None else f"at {shown(scene.location)}"
    click.echo(f"the list {where}, {rfc3339(scene.at_ms)}, tier {result.tier or 'none'}")
    table = Table()
    for heading in ("", "before", "after", "by rule"):
        table.add_column(heading, overflow="fold")
    for place in range(max(len(result.before), len(result.after))):
        before, after = _at(result.before, place), _at(result.after, place)
        by = "" if after is None or after.rule is None else shown(after.rule)
        cells = ("" if one is None else shown(one.item_id) for one in (before, after))
        table.add_row(str(place + 1), *map(Text, cells), Text(by))
    console.print(table)
    table = Table("rule", "does", "on this list", "answers of the log that it changed")
    for rule in rules:
        changed = "" if price is None else f"{price.applied.get(rule.rule_id, 0):,} of {price.answers:,}"
        table.add_row(Text(shown(rule.rule_id)), rule.action, Text(_part(rule.rule_id, result)), changed)
    console.print(table)
    if price is not None and price.hit_rate_lost is not None:
        click.echo(
            f"hit rate on the log: {price.hit_rate_before:.4f} without these rules, {price.hit_rate_after:.4f} with "
            f"them ({-price.hit_rate_lost:+.4f}, {price.targets:,} next items)"
        )


def _part(rule_id: RuleId, result: "Shown") -> str:
    if rule_id in result.applied:
        return "changed it"
    if rule_id in result.not_in_force:
        return "does not hold here and now"
    if rule_id in result.hidden:
        return f"hidden by {shown(result.hidden[rule_id])}"
    return "nothing: it is about no item of it"


def _at(items: Sequence[RecommendedItem], place: int) -> RecommendedItem | None:
    return items[place] if place < len(items) else None
