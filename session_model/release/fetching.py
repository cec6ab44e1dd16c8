"""Releases from the Bus to the folder that model server and workers watch: each appears there at once, or not at all.

Nothing that is served is touched by a failure: not by a Bus that is away, a full disk, or a release that was changed.
"""

import errno
import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

import structlog

from schemas.bus import ArtifactBus, ArtifactError
from schemas.errors import InsessionError
from schemas.ids import ModelVersion
from schemas.release import MANIFEST_PATH, ReleaseManifest
from schemas.release_folder import MAX_FILES, MAX_MANIFEST_BYTES, ReleaseError, decode_manifest, sync_path
from schemas.release_signature import SIGNATURE_PATH, is_signed
from schemas.secret import Secret
from schemas.servable import version_directories
from session_model.files import write_whole
from session_model.release.copies import SPARE_BYTES, load_release
from session_model.release.on_bus import released_versions
from session_model.release.versions import sync_tree

DEFAULT_KEPT: Final = 3
"""The one that is served, the one before for a step back, and one more."""
_BESIDE_PREFIX: Final = ".tmp-fetch-"
_LOCK_FILE: Final = ".fetch.lock"
_MAX_SIGNATURE_BYTES: Final = 1 << 10

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Fetched:
    """What one look at the Bus brought. refused: the reason by version."""

    fetched: list[ModelVersion] = field(default_factory=list)
    removed: list[ModelVersion] = field(default_factory=list)
    refused: dict[ModelVersion, str] = field(default_factory=dict)


class ReleaseFetcher:
    """Mirrors the newest `kept` whole releases of a model to `folder`, newest first.

    Older ones are removed only where they are on the Bus, too, and `kept` newer ones are whole here. key: then
    unsigned releases are refused.
    """

    def __init__(
        self, bus: ArtifactBus, model: str, folder: Path, *, key: Secret | None = None, kept: int = DEFAULT_KEPT
    ) -> None:
        self._bus = bus
        self._model = model
        self._folder = folder
        self._key = key
        self._kept = kept
        self._refused: dict[ModelVersion, tuple[bytes, str]] = {}

    def fetch(self) -> Fetched:
        """Look at the Bus once. A release that is refused is not asked for again until its manifest changes.

        Raises BusError, and InsessionError where the disk refuses; what was there is as it was.
        """
        with self._alone():
            return self._fetch()

    def fetch_version(self, version: ModelVersion) -> Path:
        """Bring one release, whatever others there are, and return its folder.

        Raises ReleaseError where it is not there or not whole, and as `fetch`.
        """
        with self._alone():
            why = self._take(version)
        if why is not None:
            raise ReleaseError(why)
        return self._folder / str(version)

    def _fetch(self) -> Fetched:
        for left in self._folder.glob(f"{_BESIDE_PREFIX}*"):
            shutil.rmtree(left)
        result = Fetched()
        here = version_directories(self._folder)
        versions = released_versions(self._bus, self._model)
        whole = 0
        for version in versions:
            if whole == self._kept:
                if version in here:
                    self._remove(here[version])
                    result.removed.append(version)
                continue
            if version not in here:
                why = self._take(version)
                if why is not None:
                    result.refused[version] = why
                    continue
                result.fetched.append(version)
            whole += 1
        return result

    def _take(self, version: ModelVersion) -> str | None:
        """Bring one release; return why it is refused."""
        name = f"{self._model}/{version}"
        content = self._bus.read(f"{name}/{MANIFEST_PATH}", MAX_MANIFEST_BYTES) or b""
        known = self._refused.get(version)
        if known is not None and known[0] == content:
            return known[1]
        try:
            self._bring(name, version, content)
        except (ReleaseError, ArtifactError) as error:
            self._refused[version] = content, str(error)
            log.warning("release_refused", version=version, reason=str(error))
            return str(error)
        log.info("release_fetched", version=version, path=str(self._folder / str(version)))
        return None

    def _bring(self, name: str, version: ModelVersion, content: bytes) -> None:
        manifest = decode_manifest(name, content)
        self._check(name, version, manifest)
        signature = self._bus.read(f"{name}/{SIGNATURE_PATH}", _MAX_SIGNATURE_BYTES)
        if self._key is not None and not is_signed(content, signature or b"", self._key):
            raise ReleaseError(
                f"release {name} on the Bus is not signed with this key; do not use it unless it is yours"
            )
        beside = self._folder / f"{_BESIDE_PREFIX}{version}"
        beside.mkdir()
        try:
            self._bus.download(name, manifest.sizes_bytes, beside)
            write_whole(beside / MANIFEST_PATH, lambda file: file.write(content))
            if signature is not None:
                write_whole(beside / SIGNATURE_PATH, lambda file: file.write(signature))
            load_release(beside, self._key)
            sync_tree(beside)
            beside.rename(self._folder / str(version))
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        sync_path(self._folder)

    def _check(self, name: str, version: ModelVersion, manifest: ReleaseManifest) -> None:
        """Bound what is downloaded before it is."""
        if manifest.version != version:
            raise ReleaseError(f"release {name} on the Bus says it is version {manifest.version}; publish it again")
        if manifest.sizes_bytes.keys() != manifest.files.keys() or len(manifest.files) > MAX_FILES:
            raise ReleaseError(
                f"release {name} on the Bus does not say the size of each of its files; publish it again"
            )
        needed, free = sum(manifest.sizes_bytes.values()) + SPARE_BYTES, shutil.disk_usage(self._folder).free
        if free < needed:
            raise OSError(errno.ENOSPC, f"release {name} takes {needed} bytes with a reserve, {free} are free")

    def _remove(self, directory: Path) -> None:
        """Take it out of sight first: who polls sees the whole version or none."""
        beside = self._folder / f"{_BESIDE_PREFIX}{directory.name}"
        directory.rename(beside)
        shutil.rmtree(beside)
        log.info("release_removed", version=int(directory.name))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with (self._folder / _LOCK_FILE).open("w") as file:
                self._lock(file)
                yield
        except OSError as error:
            raise InsessionError(
                f"cannot write a release below {self._folder}: {error}; check space and rights, then run again: "
                "what is served was not touched"
            ) from error

    def _lock(self, file: IO[str]) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InsessionError(f"another fetch is at work in {self._folder}; let one of them run") from error
