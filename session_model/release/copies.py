"""A worker's own copies of releases: what is mapped is what was verified, whatever happens to the models folder.

An array that is mapped from a file which another process truncates ends the process (SIGBUS, mmap(2)); one that is
overwritten in place gives other answers. Nobody writes into the copies.
"""

import errno
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import structlog

from schemas.release_folder import ReleaseError, ReleaseFolder, sync_path
from schemas.secret import Secret
from session_model.release.files import PARTS_DIRECTORY, look_at_parts, read_release
from session_model.release.memory import DEFAULT_MAX_MEMORY_BYTES
from session_model.release.release import Release

KEPT_COPIES: Final = 3
"""A worker holds two releases at most; one more makes a step back free."""
SPARE_BYTES: Final = 64 << 20
"""What a copy leaves free on the disk, which is the state's too."""
_TEMPORARY_PREFIX: Final = ".tmp-"

log = structlog.get_logger(__name__)


class ReleaseCopies:
    """Verified copies of releases' parts in `folder`, which belongs to one process; the newest few are kept.

    key: then unsigned releases are refused. max_memory_bytes: a release whose parts would take more is refused.
    """

    def __init__(
        self, folder: Path, key: Secret | None = None, max_memory_bytes: int = DEFAULT_MAX_MEMORY_BYTES
    ) -> None:
        self._folder = folder
        self._key = key
        self._max_memory_bytes = max_memory_bytes

    def load(self, directory: Path) -> Release:
        """Copy the release in `directory`, unless a whole copy is there from before, and read the copy.

        Raises ReleaseError, and OSError where the disk failed or is full and a retry may succeed.
        """
        release = look_at_parts(directory, self._key)
        copy = self._folder / f"{release.manifest.version}-{release.digest[:32]}"
        if not _is_whole(copy, release):
            self._copy(release, copy)
        copy.touch()
        try:
            loaded = read_release(copy, release.manifest, directory=directory, max_memory_bytes=self._max_memory_bytes)
        except ReleaseError:
            _remove(copy)
            raise
        self._drop_old()
        return loaded

    def _copy(self, release: ReleaseFolder, copy: Path) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        for left in (*self._folder.glob(f"{_TEMPORARY_PREFIX}*"), copy):
            _remove(left)
        _check_space(self._folder, release)
        beside = copy.with_name(f"{_TEMPORARY_PREFIX}{copy.name}")
        beside.mkdir()
        try:
            release.copy(beside, PARTS_DIRECTORY)
            beside.rename(copy)
        finally:
            _remove(beside)
        sync_path(self._folder)
        log.info("release_copied", version=release.manifest.version, path=str(copy))

    def _drop_old(self) -> None:
        """Remove all but the latest used; what is still mapped stays readable until it is let go (unlink(2))."""
        copies = sorted(self._folder.iterdir(), key=lambda path: path.stat().st_mtime_ns, reverse=True)
        for old in copies[KEPT_COPIES:]:
            _remove(old)


def load_release(
    directory: Path, key: Secret | None = None, *, max_memory_bytes: int = DEFAULT_MAX_MEMORY_BYTES
) -> Release:
    """Verify, copy and read a release for the life of this process: the copy has no name once it is mapped.

    key, max_memory_bytes: see `ReleaseCopies`.

    Raises ReleaseError naming the file and the remedy, and OSError where the disk failed and a retry may succeed.
    """
    with TemporaryDirectory(prefix="insession-release-") as folder:
        return ReleaseCopies(Path(folder), key, max_memory_bytes).load(directory)


def _is_whole(copy: Path, release: ReleaseFolder) -> bool:
    """Return whether all parts lie in `copy` with the checksums of the manifest: disks forget, too."""
    try:
        release.within(PARTS_DIRECTORY, at=copy).verify()
    except (ReleaseError, OSError):
        return False
    return True


def _check_space(folder: Path, release: ReleaseFolder) -> None:
    needed, free = sum(release.within(PARTS_DIRECTORY, at=folder).sizes.values()), shutil.disk_usage(folder).free
    if free < needed + SPARE_BYTES:
        why = f"a copy of release {release.path} takes {needed} bytes and {SPARE_BYTES} stay free, but there are {free}"
        raise OSError(errno.ENOSPC, why, str(folder))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
