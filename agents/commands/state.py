"""`insession state`: decisions about the state that a worker must not make."""

import json

import click

from agents.commands.connection import Connection, connection_options
from agents.commands.state_import import import_command
from agents.upkeep.changelog_check import accept_changelog


@click.group()
def command() -> None:
    """Decide about the visitors' states where a worker refuses to."""


@command.command("accept", epilog="Example: insession state accept --config production.toml --yes")
@connection_options
@click.option("--yes", "is_agreed", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def accept(connection: Connection, *, is_agreed: bool, as_json: bool) -> None:
    """Go on with the changelog as it is: empty, made anew, or restored.

    The commits stay, so the workers go on where they stood; visitors whom the changelog does not hold begin anew. All
    workers must be stopped. Local copies of another changelog are dropped when their worker starts.
    """
    settings = connection.settings()
    if not is_agreed:
        click.confirm("Visitors whose state is not in the changelog begin anew. Go on?", abort=True, err=True)
    changelog, partitions = accept_changelog(settings)
    if as_json:
        summary = {"changelog": changelog.name, "records": changelog.records, "committed_partitions": partitions}
        click.echo(json.dumps(summary))
    else:
        click.echo(
            f"{changelog.name} with {changelog.records:,} records is the state of {partitions} committed partitions "
            "now: start the workers"
        )


command.add_command(import_command)
