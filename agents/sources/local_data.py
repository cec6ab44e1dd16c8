"""Makes what a command reads a path of this machine, wherever it lies."""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Literal

import msgspec
from rich.console import Console

from agents.progress_bar import counted_progress, steps_on
from agents.settings import Settings
from agents.sources.bus_copy import copy_from_bus
from agents.sources.catalog_copy import CATALOG_FILE, copy_catalog
from agents.sources.kept_copies import alone_with, remove_old
from agents.sources.topic_copy import TopicFormat, copy_topic
from agents.upkeep.job_progress import JobProgress
from schemas.bus import MemoryUrl, S3Url
from schemas.catalog_mapping import OURS, CatalogMapping
from schemas.errors import InsessionError, UsageError
from schemas.release import TrainingSource
from schemas.topic_url import TopicUrl
from session_model.data.formats import DataFormat
from session_model.files import write_whole

FilesUrl = S3Url | MemoryUrl
DataUrl = TopicUrl | FilesUrl
CopyFormat = DataFormat | TopicFormat | Literal["catalog", "item-vectors"]
DATA: Final = ".data"
"""Folder of copies in the directory of the models or recipes; none of those who read that looks into it."""
_SOURCE: Final = "_source.json"
"""What was read; written last, so a copy without it is none."""


@dataclass(frozen=True, slots=True)
class LocalData:
    """What is read instead; source: where it was copied from, None = it was here."""

    path: Path
    source: TrainingSource | None = None


@dataclass(frozen=True, slots=True)
class LocalCatalog:
    """A file of catalog records, if there is one, and how it is read."""

    path: Path | None
    mapping: CatalogMapping


@contextmanager
def copied_for_now(data: Path | DataUrl, data_format: CopyFormat, settings: Settings) -> Iterator[LocalData]:
    """Copy `data` unless it is here, and remove the copy behind; raises InsessionError, also for a full disk."""
    if isinstance(data, Path):
        yield LocalData(data)
        return
    with TemporaryDirectory(prefix="insession-data-") as name:
        yield _copy(data, data_format, settings, Path(name))


@contextmanager
def copied_for_job(
    data: Path | DataUrl, data_format: CopyFormat, settings: Settings, directory: Path, *, is_fresh: bool
) -> Iterator[LocalData]:
    """As `copied_for_now`, for a job that goes on after an interruption: its copy stays until it is done or has failed.

    The copy lies in `directory`/.data, so what `end` of a topic was stays the same for the same command. Those that
    nobody came back for are removed (`KEPT_FOR`). is_fresh: copy anew. Raises InsessionError, also where another
    command works with the same copy.
    """
    if isinstance(data, Path):
        yield LocalData(data)
        return
    name = hashlib.sha256(f"{data_format} {data}".encode()).hexdigest()[:16]
    folder = directory / DATA / name
    with ExitStack() as stack:
        with _named(f"the copies in {folder.parent}"):
            folder.parent.mkdir(parents=True, exist_ok=True)
            remove_old(folder.parent)
            stack.enter_context(alone_with(folder))
        kept = None if is_fresh else _kept(folder)
        if kept is None:
            kept = _copy_anew(data, data_format, settings, folder)
        else:
            Console(stderr=True).print(
                f"goes on with the copy of {data} from {kept.source and kept.source.read_at:%Y-%m-%d %H:%M:%S} UTC; "
                "--fresh reads anew",
                highlight=False,
                soft_wrap=True,
            )
        try:
            yield kept
        except InsessionError:  # with other data it may do
            shutil.rmtree(folder, ignore_errors=True)
            raise
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def catalog_here(
    catalog: Path | TopicUrl | None, settings: Settings, directory: Path | None = None, *, is_fresh: bool = False
) -> Iterator[LocalCatalog]:
    """Yield the file of a catalog, copied for a job in `directory`, if there is one, or for now."""
    if not isinstance(catalog, TopicUrl):
        yield LocalCatalog(catalog, settings.catalog.mapping)
    elif directory is None:
        with copied_for_now(catalog, "catalog", settings) as here:
            yield LocalCatalog(here.path / CATALOG_FILE, OURS)
    else:
        with copied_for_job(catalog, "catalog", settings, directory, is_fresh=is_fresh) as here:
            yield LocalCatalog(here.path / CATALOG_FILE, OURS)


@contextmanager
def vectors_here(
    vectors: Path | FilesUrl | None, settings: Settings, directory: Path, *, is_fresh: bool
) -> Iterator[Path | None]:
    """Yield where item vectors lie on this machine, copied for a job in `directory`."""
    if vectors is None:
        yield None
        return
    with copied_for_job(vectors, "item-vectors", settings, directory, is_fresh=is_fresh) as here:
        yield here.path


def _kept(folder: Path) -> LocalData | None:
    try:
        source = msgspec.json.decode((folder / _SOURCE).read_bytes(), type=TrainingSource)
    except (OSError, msgspec.DecodeError):
        return None
    return LocalData(folder, source)


def _copy_anew(data: DataUrl, data_format: CopyFormat, settings: Settings, folder: Path) -> LocalData:
    """Copy in place of what is there; one that is not whole is of no use, and the disk may be full of it."""
    with _named(f"the copy of {data}"):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    try:
        return _copy(data, data_format, settings, folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _copy(data: DataUrl, data_format: CopyFormat, settings: Settings, folder: Path) -> LocalData:
    with _named(f"the copy of {data}"), counted_progress() as bar:
        progress = steps_on(bar, str(data))
        if isinstance(data, TopicUrl):
            source = _copy_topic(data, data_format, settings, folder, progress)
        else:
            source = copy_from_bus(data, folder, progress)
        write_whole(folder / _SOURCE, lambda file: file.write(msgspec.json.encode(source)))
    return LocalData(folder, source)


def _copy_topic(
    url: TopicUrl, data_format: CopyFormat, settings: Settings, folder: Path, progress: JobProgress
) -> TrainingSource:
    settings = replace(settings, kafka=replace(settings.kafka, brokers=url.brokers))
    match data_format:
        case "session-ends" | "jsonl" | "recommendations" | "recommendation-outcomes":
            return copy_topic(url, data_format, settings, folder, progress)
        case "catalog":
            return copy_catalog(url, settings, folder, progress)
        case _:
            raise UsageError(f"--format {data_format} is of files; a topic holds session-ends or jsonl")


@contextmanager
def _named(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InsessionError(f"{what} cannot be written: {error.strerror or error}; check space and rights") from error
