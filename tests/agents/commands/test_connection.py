from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from agents.commands.connection import Connection, connection_options


@click.command()
@click.argument("name")
@connection_options
@click.option("--partitions", type=int)
def show(name: str, connection: Connection, partitions: int | None) -> None:
    """Print what the command was given."""
    settings = connection.settings({"topics": {"partitions": partitions}})
    click.echo(f"{name} {settings.kafka.brokers} {settings.topics.prefix!r} {settings.topics.partitions}")


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ([], "n environment:1 'file-' 4"),
        (["--brokers", "option:1"], "n option:1 'file-' 4"),
        (["--prefix", "option-", "--partitions", "2"], "n environment:1 'option-' 2"),
        (["--prefix", ""], "n environment:1 '' 4"),
    ],
)
def test_options_win_over_environment_and_file(tmp_path: Path, options: list[str], shown: str) -> None:
    """What an option does not say is the environment's, then the file's."""
    file = tmp_path / "insession.toml"
    file.write_text('[kafka]\nbrokers = "file:1"\n[topics]\nprefix = "file-"\npartitions = 4\n')
    arguments = ["n", "--config", str(file), *options]
    result = CliRunner().invoke(show, arguments, env={"INSESSION_KAFKA__BROKERS": "environment:1"})
    assert (result.exit_code, result.output.strip()) == (0, shown)


@pytest.mark.parametrize("option", ["--brokers", "--prefix", "--config"])
def test_the_help_names_the_shared_options(option: str) -> None:
    """Every command that takes a connection lists its three options."""
    assert option in CliRunner().invoke(show, ["--help"]).output


def test_an_option_of_the_command_wins_over_the_shared_one() -> None:
    """Both may speak of one section without losing each other's keys."""
    connection = Connection(options={"kafka": {"brokers": "b:1", "group": "shared"}})
    own: dict[str, dict[str, Any]] = {"kafka": {"group": "own", "datadir": Path("d")}, "topics": {"partitions": None}}
    settings = connection.settings(own)
    assert (settings.kafka.brokers, settings.kafka.group, settings.kafka.datadir) == ("b:1", "own", Path("d"))
