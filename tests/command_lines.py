"""Command lines as documents and containers give them, parsed by the command itself and not run."""

import copy
from collections.abc import Sequence

import click

from agents.cli import insession


def parse(arguments: Sequence[str]) -> click.Context:
    """Parse the arguments of `insession`; files need not exist here. Raises click.UsageError, as the command would."""
    context, rest = _resolved(arguments)
    command = copy.deepcopy(context.command)
    for parameter in command.params:
        if isinstance(parameter.type, click.Path):
            parameter.type = click.Path()
    return command.make_context(command.name, rest, parent=context.parent)


def find(arguments: Sequence[str]) -> click.Command:
    """Find the command that the words begin with. Raises click.UsageError where there is none of that name."""
    return _resolved(arguments)[0].command


def _resolved(arguments: Sequence[str]) -> tuple[click.Context, list[str]]:
    context, rest = click.Context(insession, info_name="insession"), list(arguments)
    while isinstance(context.command, click.Group) and rest and rest[0][:1].isalpha():
        name, found, rest = context.command.resolve_command(context, rest)
        assert found is not None
        context = click.Context(found, parent=context, info_name=name)
    return context, rest
