"""The product's own commands, as a bench runs them: each in a process of its own."""

import subprocess
import sys
import time
from pathlib import Path

import click

ROOT = Path(__file__).parents[1]


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
