"""Releases that somebody brings: signed in place, or published as a whole."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from schemas.errors import InsessionError, UsageError
from schemas.release import MANIFEST_PATH
from schemas.release_folder import look_at_release, sync_path
from schemas.release_signature import SIGNATURE_PATH
from schemas.secret import Secret
from session_model.files import write_whole
from session_model.release.copies import load_release
from session_model.release.files import write_manifest
from session_model.release.versions import PUBLISHING_PREFIX, TEMPORARY_PREFIX

_LOCK_FILE: Final = ".publish.lock"


def sign_release(directory: Path, key: Secret) -> None:
    """Sign a whole release in place. Raises ReleaseError, and InsessionError where the disk refuses."""
    release = look_at_release(directory)
    release.verify()
    try:
        write_manifest(directory, replace(release.manifest, sizes_bytes=release.sizes), key)
    except OSError as error:
        raise InsessionError(f"cannot sign {directory}: {error}; check space and rights") from error


def publish_release(source: Path, folder: Path, key: Secret | None) -> Path:
    """Copy a release to `folder`/<its version>, which appears at once or not at all.

    To publish the same one again changes nothing; what a killed one left is removed. Raises ReleaseError for one that a
    worker would refuse, UsageError where another of its number is there, and InsessionError where the disk refuses or
    another command publishes there.
    """
    release = look_at_release(source, key)
    version = release.manifest.version
    published, beside = folder / str(version), folder / f"{PUBLISHING_PREFIX}{version}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            for left in folder.glob(f"{PUBLISHING_PREFIX}*"):
                shutil.rmtree(left)
            if _is_there(published, release.content):
                return published
            if published.exists() or (folder / f"{TEMPORARY_PREFIX}{version}").exists():
                raise UsageError(
                    f"{published} is there already and differs, or a training has its number; train it anew"
                )
            beside.mkdir()
            try:
                release.copy(beside)
                write_whole(beside / MANIFEST_PATH, lambda file: file.write(release.content))
                if (source / SIGNATURE_PATH).exists():
                    signature = (source / SIGNATURE_PATH).read_bytes()
                    write_whole(beside / SIGNATURE_PATH, lambda file: file.write(signature))
                load_release(beside, key)
                beside.rename(published)
            finally:
                shutil.rmtree(beside, ignore_errors=True)
            sync_path(folder)
    except OSError as error:
        raise InsessionError(f"cannot publish {published}: {error}; check space and rights") from error
    return published


def _is_there(published: Path, manifest: bytes) -> bool:
    """Return whether it is this very release; the manifest names the content of all of it."""
    try:
        return (published / MANIFEST_PATH).read_bytes() == manifest
    except (FileNotFoundError, NotADirectoryError):
        return False


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with (folder / _LOCK_FILE).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InsessionError(f"another command publishes in {folder}; run again when it has ended") from error
        yield
