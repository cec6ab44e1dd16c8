"""`insession completion`: the script that lets a shell complete our commands and options."""

from typing import Final

import click
from click.shell_completion import get_completion_class

SHELLS: Final = ("bash", "zsh", "fish")
_VARIABLE: Final = "_INSESSION_COMPLETE"


@click.command(
    epilog="""\b
Examples:
  insession completion bash > ~/.local/share/bash-completion/completions/insession
  insession completion zsh > ~/.zfunc/_insession
  insession completion fish > ~/.config/fish/completions/insession.fish
"""
)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print the completion script for SHELL; bash needs version 4.4 or later."""
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(context.find_root().command, {}, "insession", _VARIABLE).source())
