"""The option of a file that a command writes at its end: what is wrong with it is said at the beginning."""

import os
from pathlib import Path
from typing import Any

import click


class OutputFile(click.Path):
    """A file that can be written, its folder made if need be; `-`, where it is allowed, is standard output."""

    def __init__(self, *, allow_dash: bool = False) -> None:
        super().__init__(dir_okay=False, writable=True, allow_dash=allow_dash, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Check it; a wrong one is wrong usage."""
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if path.exists() or (self.allow_dash and str(path) == "-"):
            return path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self.fail(f"the folder {path.parent} cannot be made: {error.strerror}; name another one.", param, ctx)
        if not os.access(path.parent, os.W_OK):
            self.fail(f"the folder {path.parent} may not be written to; name another one.", param, ctx)
        return path
