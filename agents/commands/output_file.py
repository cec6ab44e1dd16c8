"""Files that a command writes at its end: what is wrong with their names is said at the beginning."""

import os
from pathlib import Path
from typing import Any

import click


class OutputFile(click.Path):
    """A file that can be written, or made together with its folder."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False, writable=True, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Check it; a wrong one is wrong usage."""
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        # os.path and not Path, which raises where a name is too long or a folder is shut.
        if os.path.exists(path):  # noqa: PTH110
            return path
        folder = next(parent for parent in path.absolute().parents if os.path.exists(parent))  # noqa: PTH110
        if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
            self.fail(f"{folder} is no folder that may be written to; name another one.", param, ctx)
        if len(os.fsencode(path.name)) > _MAX_NAME_BYTES:
            self.fail(f"the name has more than {_MAX_NAME_BYTES} bytes; name another one.", param, ctx)
        return path


_MAX_NAME_BYTES = 255
"""Of one part of a path, on the file systems in use."""


def write_output(path: Path, content: bytes) -> None:
    """Write it, its folder made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
