"""Command lines as documents and containers give them, parsed by the command itself and not run."""

import copy
from collections.abc import Sequence

import click

from agents.cli import insession


def parse(arguments: Sequence[str]) -> click.Context:
    """Parse the arguments of `insession`; files need not exist here. Raises click.UsageError, as the command would."""
    command: click.Command = insession
    context, rest = click.Context(insession, info_name="insession"), list(arguments)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        name, found, rest = command.resolve_command(context, rest)
        assert found is not None
        command, context = found, click.Context(found, parent=context, info_name=name)
    command = copy.deepcopy(command)
    for parameter in command.params:
        if isinstance(parameter.type, click.Path):
            parameter.type = click.Path()
    return command.make_context(command.name, rest, parent=context.parent)
