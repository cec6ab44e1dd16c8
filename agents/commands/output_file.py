"""The option of a file that a command writes at its end: what is wrong with it is said at the beginning."""

import os
from pathlib import Path
from typing import Any

import click


class OutputFile(click.Path):
    """A file in a folder that is there and may be written to; `-`, where it is allowed, is standard output."""

    def __init__(self, *, allow_dash: bool = False) -> None:
        super().__init__(dir_okay=False, writable=True, allow_dash=allow_dash, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Check the folder, too; a wrong one is wrong usage."""
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if not (self.allow_dash and str(path) == "-"):
            if not path.parent.is_dir():
                self.fail(f"the folder {path.parent} does not exist; make it, or name another one.", param, ctx)
            if not os.access(path.parent, os.W_OK):
                self.fail(f"the folder {path.parent} may not be written to; name another one.", param, ctx)
        return path
