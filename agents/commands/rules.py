"""`insession rules`: put, list, remove and try merchants' rules."""

import getpass
import json
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agents.commands.connection import Connection, connection_options
from agents.commands.data_options import CatalogUrlOrPath
from agents.commands.plain_text import rfc3339, shown, shown_bytes, shown_time
from agents.commands.rules_trial import trial
from agents.settings import Settings
from schemas.errors import InsessionError, UsageError
from schemas.ids import MAX_ID_BYTES, RuleId
from schemas.rules import MerchantRule, RemovedRule, UnreadableRule
from schemas.topic_url import TopicUrl

if TYPE_CHECKING:
    from agents.upkeep.rule_log import RuleChange, StoredRule
    from schemas.records import CatalogItem

State = Literal["in_force", "upcoming", "over", "refused"]
MOST_CATALOG_RECORDS: Final = 500_000
"""Of a catalog topic that nobody named: reading it must not take minutes."""
_MAX_NOTE: Final = 60


@click.group()
def command() -> None:
    """Say what is pinned, boosted, buried, blocked and included in lists: docs/rules.md.

    Workers obey within a second. The topic `merchant-rules` keeps each change for 30 days.
    """


def _account() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # an account without a name, as in a container
        return "unknown"


@command.command(
    epilog="""\b
Examples:
  insession rules put spring.json --brokers 127.0.0.1:9092 --by ann
  echo '{"rule_id": "no-tv", "action": "block", "items": ["tv"]}' | insession rules put -

Exit codes: 0 put, 1 not put, 2 a rule is wrong.
"""
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@connection_options
@click.option(
    "--catalog",
    type=CatalogUrlOrPath(),
    help="Catalog records to know the items by, a topic as kafka://BROKERS/TOPIC or a file, one JSON a line.  "
    "[default: the deployment's topic]",
)
@click.option("--unchecked", "is_unchecked", is_flag=True, help="Put rules in spite of what is found wrong with them.")
@click.option("--by", default=_account, help="Who puts those that name no author.  [default: your account]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def put(
    file: Path, connection: Connection, catalog: Path | TopicUrl | None, by: str, *, is_unchecked: bool, as_json: bool
) -> None:
    """Put the rules of FILE: a JSON object, a list of them, or one a line; - = stdin.

    A rule that is there under the same rule_id is replaced. All are examined before the first is put: unknown items, an
    end that is past, two pins of one position, too much that is pinned.
    """
    from agents.merchants.examination import examine
    from agents.merchants.rule_file import read_rule_file, rules_in
    from agents.upkeep.rule_log import put_rules, read_changes, stored_rules

    settings = connection.settings()
    given = rules_in(click.get_binary_stream("stdin").read(), "stdin") if str(file) == "-" else read_rule_file(file)
    rules = [rule if rule.author else _by(rule, by) for rule in given]
    others = [stored.rule for stored in stored_rules(read_changes(settings)).values() if stored.rule is not None]
    found = examine(
        rules,
        others,
        _items(catalog, settings),
        now_ms=time.time_ns() // 1_000_000,
        answer_size=settings.serving.answer_size,
        locations=settings.locations,
    )
    for warning in found.warnings:
        click.echo(f"warning: {shown(warning, 500)}", err=True)
    if found.errors and not is_unchecked:
        told = "\n".join(shown(error, 500) for error in found.errors)
        raise UsageError(f"nothing was put:\n{told}\nmend that, or go on in spite of it by --unchecked")
    for error in found.errors:
        click.echo(f"unchecked: {shown(error, 500)}", err=True)
    put_rules(settings, rules)
    if as_json:
        warnings = [*found.warnings, *found.errors]
        click.echo(json.dumps({"put": [rule.rule_id for rule in rules], "warnings": warnings}))
        return
    for rule in rules:
        click.echo(f"put  {shown(rule.rule_id)}  {rule.action} {_what(rule)}")


@command.command(
    "list",
    epilog="""\b
Examples:
  insession rules list --brokers 127.0.0.1:9092
  insession rules list --audit --json
""",
)
@connection_options
@click.option("--audit", "is_audit", is_flag=True, help="Show every change that the topic still has, the oldest first.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def list_rules(connection: Connection, *, is_audit: bool, as_json: bool) -> None:
    """Show the rules, whether each is in force, and what is refused; with --audit, who put which when."""
    from agents.upkeep.rule_log import read_changes, stored_rules

    changes = read_changes(connection.settings())
    if is_audit:
        _print_audit(sorted(changes, key=lambda change: change.time_ms), as_json=as_json)
        return
    now_ms = time.time_ns() // 1_000_000
    stored = stored_rules(changes)
    if as_json:
        click.echo(json.dumps({"rules": [_as_json(rule_id, one, now_ms) for rule_id, one in stored.items()]}, indent=2))
    elif not stored:
        click.echo("there are no rules; `insession rules put FILE` puts some")
    else:
        Console().print(_table(stored, now_ms))


@command.command(epilog="Example: insession rules remove no-tv spring-pin --brokers 127.0.0.1:9092")
@click.argument("rule_ids", nargs=-1, required=True, metavar="RULE_ID...")
@connection_options
@click.option("--by", default=_account, help="Who removes them, for the audit.  [default: your account]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def remove(rule_ids: Sequence[str], connection: Connection, by: str, *, as_json: bool) -> None:
    """Remove rules, by a tombstone each; one that is not there is an error, and then none is removed."""
    from agents.upkeep.rule_log import read_changes, remove_rules, stored_rules

    settings = connection.settings()
    ids = [RuleId(rule_id) for rule_id in dict.fromkeys(rule_ids)]
    stored = stored_rules(read_changes(settings))
    if unknown := [rule_id for rule_id in ids if rule_id not in stored]:
        raise UsageError(
            f"nothing was removed: there is no rule {', '.join(shown(one, MAX_ID_BYTES) for one in unknown)}; "
            "`insession rules list` shows those that there are"
        )
    remove_rules(settings, ids, by)
    if as_json:
        click.echo(json.dumps({"removed": ids}))
        return
    for rule_id in ids:
        click.echo(f"removed  {shown(rule_id)}")


command.add_command(trial)


def _by(rule: MerchantRule, author: str) -> MerchantRule:
    try:
        return msgspec.structs.replace(rule, author=author)
    except ValueError as error:
        raise UsageError(f"--by {author!r:.60}: {error}") from error


def _items(catalog: Path | TopicUrl | None, settings: Settings) -> "Collection[CatalogItem]":
    """Read which items there are; none where nobody knows, which is said."""
    from agents.encodings import Encodings
    from agents.sources.local_data import catalog_here
    from session_model.data.catalogs import read_catalog
    from streams.catalog import Catalog
    from streams.cluster.topic_reader import TopicReader
    from streams.cluster.topics import Topic

    if catalog is not None:
        with catalog_here(catalog, settings) as here:
            return [] if here.path is None else read_catalog(here.path, here.mapping)
    topic, items = settings.topics.name(Topic.CATALOG), Catalog(reader=Encodings(settings).catalog_reader())
    try:
        with TopicReader(settings.kafka.client_config()) as reader:
            bounds = reader.bounds(topic)
            if (count := sum(map(len, bounds.values()))) > MOST_CATALOG_RECORDS:
                click.echo(
                    f"items are not checked: {topic} holds {count:,} records; --catalog reads them all", err=True
                )
                return []
            for record in reader.read(topic, bounds):
                items.apply(record.key, record.value, record.time_ms, record.headers)
    except InsessionError as error:
        click.echo(f"items are not checked against topic {topic}: {error}", err=True)
        return []
    return items.records()


def _state(stored: "StoredRule", now_ms: int) -> State:
    if stored.rule is None:
        return "refused"
    if now_ms < stored.rule.starts_ms:
        return "upcoming"
    return "in_force" if now_ms < stored.rule.ends_ms else "over"


def _as_json(rule_id: RuleId, stored: "StoredRule", now_ms: int) -> Mapping[str, Any]:
    rule = {} if stored.rule is None else msgspec.to_builtins(stored.rule)
    refused = (
        {}
        if stored.refused is None
        else {"refused": {"reason": stored.refused.reason, "detail": stored.refused.detail}}
    )
    return {"rule_id": rule_id, "state": _state(stored, now_ms), "put_at": rfc3339(stored.put_ms), **refused, **rule}


def _table(stored: "Mapping[RuleId, StoredRule]", now_ms: int) -> Table:
    table = Table()
    for heading in ("rule", "state", "does", "where", "until (UTC)", "only", "priority", "by", "note"):
        table.add_column(heading, overflow="fold")
    for rule_id, one in stored.items():
        cells = [shown(rule_id), _state(one, now_ms).replace("_", " "), *_cells(one.rule)]
        if one.refused is not None:
            cells[-1] = shown(f"its last record is refused: {one.refused.detail}", 200)
        table.add_row(*map(Text, cells))
    return table


def _cells(rule: MerchantRule | None) -> list[str]:
    if rule is None:
        return [""] * 7
    only = (rule.device, rule.pattern, rule.arm and f"arm {rule.arm}", " ".join(rule.tiers))
    return [
        f"{rule.action} {_what(rule)}",
        shown(" ".join(rule.where) or "everywhere"),
        "" if rule.ends_at is None else shown_time(rule.ends_ms),
        shown(", ".join(text for text in only if text)),
        str(rule.priority or ""),
        shown(rule.author),
        shown(rule.note, _MAX_NOTE),
    ]


def _what(rule: MerchantRule) -> str:
    """Say of which items a rule is, and how."""
    match rule.target:
        case "items":
            what = ", ".join(rule.items or ())
        case "category":
            what = f"category {rule.category}"
        case "variant_group":
            what = f"variant group {rule.variant_group}"
        case "on_sale":
            what = "on sale"
        case _:
            what = f"new for {rule.new_days} days"
    how = f" at {rule.position}" if rule.position is not None else f" x{rule.factor:g}" if rule.factor else ""
    return shown(what, _MAX_NOTE) + how


def _print_audit(changes: "Sequence[RuleChange]", *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"changes": [_change_as_json(change) for change in changes]}, indent=2))
        return
    table = Table()
    for heading in ("when (UTC)", "rule", "change", "by", "note"):
        table.add_column(heading, overflow="fold")
    for change in changes:
        table.add_row(*map(Text, (shown_time(change.time_ms), shown_bytes(change.key, MAX_ID_BYTES), *_told(change))))
    Console().print(table)


def _told(change: "RuleChange") -> tuple[str, str, str]:
    match change.content:
        case MerchantRule() as rule:
            return f"{rule.action} {_what(rule)}", shown(rule.author), shown(rule.note, _MAX_NOTE)
        case RemovedRule():
            return "removed", shown(change.by), ""
        case UnreadableRule() as refused:
            return "refused", "", shown(f"{refused.reason}: {refused.detail}", 200)


def _change_as_json(change: "RuleChange") -> Mapping[str, Any]:
    told: dict[str, Any] = {"put_at": rfc3339(change.time_ms), "rule_id": shown_bytes(change.key, MAX_ID_BYTES)}
    match change.content:
        case MerchantRule() as rule:
            return told | {"change": "put", "rule": msgspec.to_builtins(rule)}
        case RemovedRule():
            return told | {"change": "removed", "author": change.by}
        case UnreadableRule() as refused:
            return told | {"change": "refused", "reason": refused.reason, "detail": refused.detail}
