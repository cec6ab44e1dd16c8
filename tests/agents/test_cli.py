"""The command line as a whole; each command has its own test."""

import os
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from agents.cli import COMMANDS, insession, main


def _leaves(command: click.Command, context: click.Context, path: str) -> Iterator[tuple[str, str]]:
    """Yield every command that does something, with its help."""
    if not isinstance(command, click.Group):
        yield path, command.get_help(context)
        return
    for name in command.list_commands(context):
        below = command.get_command(context, name)
        assert below is not None
        yield from _leaves(below, click.Context(below, parent=context, info_name=name), f"{path} {name}")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_shows_an_example(name: str) -> None:
    """One that can be copied: it names the command as it is called."""
    root = click.Context(insession, info_name="insession")
    command = insession.get_command(root, name)
    assert command is not None
    context = click.Context(command, parent=root, info_name=name)
    for path, text in _leaves(command, context, f"insession {name}"):
        _, _, examples = text.partition("Example")
        assert path in " ".join(examples.split()), path


def test_an_unknown_command_is_none() -> None:
    """Click then says so, with exit code 2."""
    assert insession.get_command(click.Context(insession), "nonsense") is None


def test_an_output_without_unicode_gets_escapes() -> None:
    """What the encoding of standard output does not have is escaped, and no error."""
    command = [sys.executable, "-m", "agents", "config", "show", "--changed", "--brokers", "k\u00e4fka:9092", "--json"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONPATH": "."}
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    table = subprocess.run(command[:-1], env=environment, capture_output=True, text=True, check=False)
    assert (told.returncode, table.returncode, told.stderr, table.stderr) == (0, 0, "", "")
    assert "k\\xe4fka" in table.stdout


def test_numpy_keeps_to_one_thread_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it is imported, as it reads this once; whoever sets another number has it."""
    monkeypatch.setattr(sys, "argv", ["insession", "--version"])
    for given, expected in ((None, "1"), ("4", "4")):
        monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
        if given is not None:
            monkeypatch.setenv("OPENBLAS_NUM_THREADS", given)
        with pytest.raises(SystemExit):
            main()
        assert os.environ["OPENBLAS_NUM_THREADS"] == expected
    command = [sys.executable, "-c", "import sys, agents.cli; sys.exit('numpy' in sys.modules)"]
    assert subprocess.run(command, check=False, env=os.environ | {"PYTHONPATH": "."}).returncode == 0
