"""Writing the generated clickstream as a log file, in the product's own JSON lines."""

import gzip
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import BinaryIO, cast

import msgspec

from agents.shop.settings import ShopSettings
from agents.shop.traffic import generate_events
from schemas.errors import UsageError

_PROGRESS_STEP = 1_000
_COMPRESS_LEVEL = 3


@dataclass(frozen=True, slots=True)
class WrittenLog:
    """What was written. truth_path: None if it was not asked for. covered: from the start to the last arrival."""

    path: Path
    truth_path: Path | None
    n_events: int
    covered: timedelta


def write_training_data(
    settings: ShopSettings,
    path: Path,
    n_events: int,
    progress: Callable[[int], None] | None = None,
    *,
    with_truth: bool = False,
) -> WrittenLog:
    """Write the first `n_events` arrivals as ClickEvents, one JSON a line; gzip if `path` ends in .gz.

    Bots and duplicates are in it unmarked, as in any log. Truth goes line by line to `<name>.truth.jsonl` beside it,
    gzip alike. The same settings write the same bytes. progress: called with the number of events written.
    """
    if n_events < 1:
        raise UsageError(f"n_events is {n_events}; ask for 1 or more")
    truth_path = _truth_path(path) if with_truth else None
    encoder = msgspec.json.Encoder()
    arrival_ms = settings.start_ms
    with ExitStack() as files:
        log = files.enter_context(_open_log(path))
        truth = None if truth_path is None else files.enter_context(_open_log(truth_path))
        for written, event in enumerate(islice(generate_events(settings), n_events), start=1):
            log.write(encoder.encode(event.click) + b"\n")
            if truth is not None:
                truth.write(encoder.encode(event.truth) + b"\n")
            arrival_ms = event.arrival_ms
            if progress is not None and (written % _PROGRESS_STEP == 0 or written == n_events):
                progress(written)
    return WrittenLog(path, truth_path, n_events, timedelta(milliseconds=arrival_ms - settings.start_ms))


def _truth_path(path: Path) -> Path:
    name = path.name.removesuffix(".gz").removesuffix(".jsonl") + ".truth.jsonl"
    return path.with_name(name + ".gz" if path.suffix == ".gz" else name)


@contextmanager
def _open_log(path: Path) -> Iterator[BinaryIO]:
    """Open for writing; a gzip header carries neither name nor time, so equal logs are equal files."""
    with path.open("wb") as raw:
        if path.suffix != ".gz":
            yield raw
            return
        with gzip.GzipFile(filename="", mode="wb", compresslevel=_COMPRESS_LEVEL, fileobj=raw, mtime=0) as packed:
            yield cast("BinaryIO", packed)
