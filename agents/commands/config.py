"""`insession config`: show, check and explain the settings."""

import json
import sys
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from agents.commands.connection import Connection, connection_options
from agents.configuration.keys import SettingKey, section_of
from agents.configuration.reading import Reading
from agents.configuration.reference import reference, template
from agents.configuration.values import plain, toml_text, value_of
from agents.settings import Settings, warnings_of
from schemas.errors import UsageError


@click.group()
def command() -> None:
    """Show, check and explain the settings: default < file < environment < options."""


@command.command("show", epilog="Example: insession config show --config insession.toml --changed")
@connection_options
@click.option("--changed", is_flag=True, help="Only what somebody set.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(connection: Connection, *, changed: bool, as_json: bool) -> None:
    """Show the settings in force and where each comes from; secrets are masked."""
    reading = connection.reading()
    settings = reading.valid()
    keys = [key for key in _keys() if not changed or key.name in reading.origins]
    if as_json:
        click.echo(json.dumps({"settings": [_row(settings, reading, key) for key in keys]}, indent=2))
        return
    table = Table("setting", "value", "from")
    for key in keys:
        table.add_row(key.name, _shown(value_of(settings, key)), reading.origin_names(key))
    Console(highlight=False, markup=False).print(table)


@command.command("check", epilog="Example: insession config check --config insession.toml")
@connection_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(connection: Connection, *, as_json: bool) -> None:
    """Name all that is wrong with the settings, each with who gave it; exit code 2 when something is."""
    try:
        reading = connection.reading()
        problems, warnings = reading.problems, list(reading.warnings)
        warnings += [] if reading.settings is None else warnings_of(reading.settings)
    except UsageError as error:
        problems, warnings = (str(error),), []
    if as_json:
        click.echo(json.dumps({"problems": problems, "warnings": warnings}))
    else:
        for problem in problems:
            click.echo(problem)
        for warning in warnings:
            click.echo(f"warning: {warning}")
        if not problems:
            click.echo("The settings are valid.")
    if problems:
        sys.exit(2)


@command.command("template", epilog="Example: insession config template > insession.toml")
def print_template() -> None:
    """Print a TOML file with every key, its meaning and its default, all commented out."""
    click.echo(template(section_of(Settings)), nl=False)


@command.command("reference", epilog="Example: insession config reference > docs/settings.md")
def print_reference() -> None:
    """Print the reference of all settings as Markdown: docs/settings.md."""
    click.echo(reference(section_of(Settings)), nl=False)


def _keys() -> list[SettingKey]:
    return [key for section in section_of(Settings).walk() for key in section.keys if key.secret_key is None]


def _row(settings: Settings, reading: Reading[Settings], key: SettingKey) -> dict[str, Any]:
    origins = reading.origins.get(key.name, ())
    return {
        "key": key.name,
        "value": plain(value_of(settings, key)),
        "is_secret": key.is_secret,
        "origins": [{"kind": origin.kind, "name": origin.name} for origin in origins] or [{"kind": "default"}],
    }


def _shown(value: Any) -> str:
    return "not set" if value is None else toml_text(plain(value))
