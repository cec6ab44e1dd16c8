"""Version directories as TF Serving loads them: claimed, filled under a temporary name, renamed into place."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from schemas.errors import InsessionError
from schemas.ids import ModelVersion
from schemas.release_folder import sync_path
from session_model.files import write_whole

HIGHEST_VERSION_FILE = ".highest-version"
"""Remembers the highest number ever claimed, so that a deleted newest version's number does not come back."""
TEMPORARY_PREFIX = ".tmp-"
PUBLISHING_PREFIX = f"{TEMPORARY_PREFIX}publish-"
"""Before the number of a release that is brought and not trained here: no training takes it meanwhile."""


@dataclass(frozen=True, slots=True)
class VersionDraft:
    """A claimed version: filled in `directory`, where no server sees it, and renamed to `published`."""

    version: ModelVersion
    directory: Path
    published: Path


@contextmanager
def draft_version(folder: Path) -> Iterator[VersionDraft]:
    """Return an empty directory to fill; on success it appears as `folder/<version>`, else it vanishes.

    Everything is on disk before the rename. A server that polls sees the whole version or none of it: names that start
    with a dot are no versions to TF Serving. Two trainers at once get two numbers. Raises InsessionError where the
    disk refuses.
    """
    draft = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        draft = _claim(folder)
        yield draft
        sync_tree(draft.directory)
        draft.directory.rename(draft.published)
        sync_path(folder)
    except OSError as error:
        raise InsessionError(f"cannot write a model version below {folder}: {error}; check space and rights") from error
    finally:
        if draft is not None and draft.directory.exists():
            shutil.rmtree(draft.directory)


def claim_above(folder: Path, version: int) -> None:
    """Let the numbers up to `version`, which are taken elsewhere, never be claimed below `folder`. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    remembered = folder / HIGHEST_VERSION_FILE
    if not remembered.exists() or _number(remembered.read_text()) < version:
        write_whole(remembered, lambda file: file.write(f"{version}\n".encode()))


def _claim(base: Path) -> VersionDraft:
    remembered = base / HIGHEST_VERSION_FILE
    taken = [_number(path.name) for path in base.iterdir()]
    if remembered.exists():
        taken.append(_number(remembered.read_text()))
    for version in count(max(taken, default=0) + 1):
        directory = base / f"{TEMPORARY_PREFIX}{version}"
        try:
            directory.mkdir()
        except FileExistsError:
            continue  # another trainer is at work on it, or died over it: the number is taken either way
        remembered.write_text(f"{version}\n")
        sync_path(remembered)
        return VersionDraft(ModelVersion(version), directory, base / str(version))
    raise AssertionError("count() does not end")


def _number(name: str) -> int:
    name = name.strip().removeprefix(PUBLISHING_PREFIX).removeprefix(TEMPORARY_PREFIX)
    return int(name) if name.isascii() and name.isdigit() else 0


def sync_tree(directory: Path) -> None:
    """See all files and names below a folder onto the disk."""
    for folder, _, files in os.walk(directory):
        for name in files:
            sync_path(Path(folder, name))
        sync_path(Path(folder))
