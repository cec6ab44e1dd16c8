"""The `insession` command: finds its subcommands and turns expected errors into one line and an exit code."""

import importlib
import os
import sys
import traceback
from io import TextIOWrapper
from typing import NoReturn

import click
import structlog

from agents.package_guard import check_packages
from schemas.errors import InsessionError, UsageError

COMMANDS = {
    "completion": "agents.commands.completion",
    "config": "agents.commands.config",
    "demo": "agents.commands.demo",
    "dlq": "agents.commands.dlq",
    "doctor": "agents.commands.doctor",
    "erase": "agents.commands.erase",
    "evaluate": "agents.commands.evaluate",
    "features": "agents.commands.features",
    "infer": "agents.commands.infer",
    "ingest": "agents.commands.ingest",
    "ledger": "agents.commands.ledger",
    "observer": "agents.commands.observer",
    "pipeline": "agents.commands.pipeline",
    "rekey": "agents.commands.rekey",
    "release": "agents.commands.release",
    "repartition": "agents.commands.repartition",
    "replay": "agents.commands.replay",
    "rules": "agents.commands.rules",
    "serve": "agents.commands.serve",
    "sessions": "agents.commands.sessions",
    "simulate": "agents.commands.simulate",
    "state": "agents.commands.state",
    "tfrecords": "agents.commands.tfrecords",
    "topics": "agents.commands.topics",
    "train": "agents.commands.train",
    "tune": "agents.commands.tune",
    "worker": "agents.commands.worker",
}


class LazyGroup(click.Group):
    """Imports a subcommand's module when it is asked for: a worker never pays for training's imports."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the subcommands."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import the subcommand's module and take its `command`."""
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(COMMANDS[cmd_name]).command
        assert isinstance(command, click.Command)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="insession")
def insession() -> None:
    """Streaming, in-session recommendation: clicks in, recommendations and intent signals out.

    Exit codes: 0 good, 1 the job failed, 2 wrong usage.
    """
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # standard output is the result's


def main() -> None:
    """Run the command line."""
    if isinstance(sys.stdout, TextIOWrapper):  # a terminal or locale without a character gets its escape, as on stderr
        sys.stdout.reconfigure(errors="backslashreplace")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's chatter is nothing that a user can act on
    # NumPy's products are small here: a second thread waits spinning, on the core that the model server needs.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        check_packages()
        insession(prog_name="insession")
    except InsessionError as error:
        click.echo(f"insession: {error}", err=True)
        sys.exit(2 if isinstance(error, UsageError) else 1)
    except Exception as error:  # noqa: BLE001 - the last net: whatever ends a command says what to do
        _end(error)


def _end(error: Exception) -> NoReturn:
    """Print what an error means; its traceback before that, where nobody has foreseen it."""
    from streams.delivery.endings import UNEXPECTED, explained  # noqa: PLC0415 - --help must not pay for the Kafka clients

    line = explained(error)
    if line.endswith(UNEXPECTED):
        traceback.print_exception(error)
    click.echo(f"insession: {line}", err=True)
    sys.exit(1)
