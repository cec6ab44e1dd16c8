"""Run the model server alone: `python -m serving.embedded --models DIR`."""

import sys

import click

from schemas.errors import InsessionError, UsageError
from serving.embedded.command import command

if __name__ == "__main__":
    try:
        command(prog_name="python -m serving.embedded")
    except InsessionError as error:
        click.echo(f"insession: {error}", err=True)
        sys.exit(2 if isinstance(error, UsageError) else 1)
