"""What the commands that read data files share: DATA itself, its format, and which column is what."""

from collections.abc import Callable, Sequence
from glob import has_magic
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import click

from agents.settings import Settings
from session_model.data.formats import DATA_FORMATS, ReadOptions
from session_model.data.table_layout import parse_layout

_Command = TypeVar("_Command", bound=Callable[..., Any])


class DataPath(click.Path):
    """A file, a folder with parts, or a glob in quotes; what a glob matches is looked up when it is read."""

    def __init__(self) -> None:
        super().__init__(exists=True, path_type=Path)

    def convert(
        self, value: str | PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | PathLike[str]:
        """Refuse a path that is not there, but for a glob."""
        path = Path(value)
        return path if has_magic(str(path)) and not path.exists() else super().convert(value, param, ctx)


def data_options(what: str, *, is_required: bool = True) -> Callable[[_Command], _Command]:
    """Add `--format`, and the options that `read_options` takes; `what` is read by them."""

    def add(command: _Command) -> _Command:
        for option in reversed(
            (
                click.option(
                    "--format",
                    "data_format",
                    type=click.Choice(DATA_FORMATS),
                    required=is_required,
                    help=f"Format of {what}; docs/training.md has the table.",
                ),
                click.option(
                    "--columns",
                    multiple=True,
                    metavar="ROLE=NAME,...",
                    help="Of csv and parquet, which column is what: item, and session or visitor; maybe time, type, "
                    "price, position. Numbers from 1 where there is no header.",
                ),
                click.option(
                    "--event-types",
                    multiple=True,
                    metavar="VALUE=TYPE,...",
                    help="What values of the type column are here: view, cart, remove, purchase, favorite, search, "
                    "session_end or ignore. What is not listed and none of these is ignored and counted.",
                ),
                click.option(
                    "--config",
                    type=click.Path(path_type=Path),
                    help="TOML settings file, as the worker's; its [clickstream.mapping] reads a shop's own jsonl, its "
                    "[catalog.mapping] a catalog.",
                ),
            )
        ):
            command = option(command)
        return command

    return add


def read_options(columns: Sequence[str], event_types: Sequence[str], settings: Settings) -> ReadOptions:
    """Return how DATA is read; raises UsageError where an option is wrong."""
    return ReadOptions(parse_layout(columns, event_types), settings.clickstream.mapping, settings.catalog.mapping)
