"""What the commands that read data files share: DATA itself, its format, and which column is what."""

import re
from collections.abc import Callable, Sequence
from glob import has_magic
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from agents.settings import Settings
from schemas.bus import FolderUrl, parse_bus_url
from schemas.topic_url import SCHEME, TopicUrl, parse_topic_url
from session_model.data.formats import DATA_FORMATS, DataFormat, ReadOptions
from session_model.data.table_layout import parse_layout
from streams.cluster.topics import Topic

if TYPE_CHECKING:
    from agents.sources.local_data import DataUrl

_Command = TypeVar("_Command", bound=Callable[..., Any])
_URL: Final = re.compile(r"[a-z][a-z0-9+.-]*://|file:|memory:")


class DataPath(click.Path):
    """A file, a folder with parts, or a glob in quotes, plain or as file:PATH.

    What a glob matches is looked up when it is read.
    """

    def __init__(self) -> None:
        super().__init__(exists=True, path_type=Path)

    def convert(
        self, value: str | PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | PathLike[str]:
        """Refuse a path that is not there, but for a glob."""
        path = Path(value)
        return path if has_magic(str(path)) and not path.exists() else super().convert(value, param, ctx)


class DataUrlOrPath(DataPath):
    """Also what lies elsewhere: kafka:// a topic, s3:// files; those are read by `agents.sources`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return a Path or a DataUrl; raises UsageError for a URL that is none."""
        if not isinstance(value, str) or not _URL.match(value):
            return super().convert(value, param, ctx)
        if value.startswith(SCHEME):
            return parse_topic_url(value)
        url = parse_bus_url(value)
        return super().convert(url.path, param, ctx) if isinstance(url, FolderUrl) else url


class CatalogUrlOrPath(click.Path):
    """A file of catalog records, or kafka:// and the catalog's topic."""

    def __init__(self) -> None:
        super().__init__(exists=True, dir_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return a Path or a TopicUrl."""
        is_topic = isinstance(value, str) and value.startswith(SCHEME)
        return parse_topic_url(value) if is_topic else super().convert(value, param, ctx)


class FilesUrlOrPath(DataUrlOrPath):
    """Files that are no events: as DATA, but of no topic."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return a Path or a URL of the Bus."""
        found = super().convert(value, param, ctx)
        if isinstance(found, TopicUrl):
            self.fail(f"{value} is a topic; name a file, a folder or s3://BUCKET/PREFIX", param, ctx)
        return found


def format_of(data: "Path | DataUrl", data_format: DataFormat | None) -> DataFormat:
    """Return the format that was said; of a topic it may be left out. Raises click.UsageError."""
    if data_format is not None:
        return data_format
    if isinstance(data, TopicUrl):
        return "session-ends" if data.topic.endswith(Topic.SESSION_ENDS) else "jsonl"
    raise click.UsageError(f"Missing option '--format'. Choose from: {', '.join(DATA_FORMATS)}")


def data_options(what: str) -> Callable[[_Command], _Command]:
    """Add `--format`, which `format_of` fills in, and the options that `read_options` takes; `what` is read by them."""

    def add(command: _Command) -> _Command:
        for option in reversed(
            (
                click.option(
                    "--format",
                    "data_format",
                    type=click.Choice(DATA_FORMATS),
                    help=f"Format of {what}; docs/training.md has the table. Of a topic: session-ends or jsonl.",
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
