"""A bench as a program, and the product's own commands as it runs them: each in a process of its own."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from schemas.errors import InsessionError

ROOT = Path(__file__).parents[1]


def run_bench(command: Callable[[], Any]) -> None:
    """Run the command of a bench; an expected failure is one line."""
    try:
        command()
    except InsessionError as error:
        click.echo(f"bench: {error}", err=True)
        sys.exit(1)


def command_line(*arguments: str | Path) -> list[str]:
    """Return the words that run `insession` with `arguments`."""
    return [sys.executable, "-m", "agents", *map(str, arguments)]


def insession(*arguments: str | Path, output: Path | None = None) -> float:
    """Run the command, what it prints into `output`, or to standard error; returns its seconds."""
    click.echo(f"insession {' '.join(map(str, arguments))}", err=True)
    started = time.monotonic()
    printed = subprocess.run(command_line(*arguments), cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    if output is None:
        sys.stderr.buffer.write(printed)
    else:
        output.write_bytes(printed)
    return time.monotonic() - started
