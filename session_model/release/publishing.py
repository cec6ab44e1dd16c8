"""Releases that somebody brings: signed in place, or published as a whole."""

import shutil
from pathlib import Path

from msgspec.structs import replace

from schemas.errors import InsessionError, UsageError
from schemas.release import MANIFEST_PATH
from schemas.release_folder import look_at_release, sync_path
from schemas.release_signature import SIGNATURE_PATH
from schemas.secret import Secret
from session_model.files import write_whole
from session_model.release.copies import load_release
from session_model.release.files import write_manifest


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

    Raises ReleaseError for one that a worker would refuse, UsageError where the version is there already, and
    InsessionError where the disk refuses.
    """
    release = look_at_release(source, key)
    published = folder / str(release.manifest.version)
    beside = folder / f".tmp-{release.manifest.version}"
    if published.exists() or beside.exists():
        raise UsageError(f"{published} is there already, or {beside.name} is being written; train a version of its own")
    try:
        beside.mkdir(parents=True)
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
