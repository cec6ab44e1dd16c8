"""Releases from the Bus to the folder that model server and workers watch: each appears there at once, or not at all.

Nothing that is served is touched by a failure: not by a Bus that is away, a full disk, or a release that was changed.
"""

import errno
import fcntl
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

import msgspec
import structlog

from schemas.bus import ArtifactBus, ArtifactError
from schemas.errors import InsessionError
from schemas.ids import ModelVersion
from schemas.release import MANIFEST_PATH, ReleaseManifest
from schemas.release_folder import MAX_FILES, MAX_MANIFEST_BYTES, ReleaseError, decode_manifest, sync_path
from schemas.release_signature import SIGNATURE_PATH, is_signed
from schemas.rollout import Rollout, record_name
from schemas.secret import Secret
from schemas.servable import version_directories
from session_model.files import write_whole
from session_model.release.copies import SPARE_BYTES, load_release
from session_model.release.on_bus import released_versions
from session_model.release.rollout_log import RolloutLog
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
    """Mirrors a model's releases to `folder`: those that the rollout gives a part, without one the newest `kept`.

    Others are removed only where they are on the Bus, too, and the wanted ones are whole here. A change of the rollout
    appears after the releases that it needs; one whose champion is refused does not. key: then unsigned releases are
    refused. follows_rollout: False = the newest, whatever serves.
    """

    def __init__(
        self,
        bus: ArtifactBus,
        model: str,
        folder: Path,
        *,
        key: Secret | None = None,
        kept: int = DEFAULT_KEPT,
        follows_rollout: bool = True,
    ) -> None:
        self._bus = bus
        self._log = RolloutLog(bus, model) if follows_rollout else None
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
        released = released_versions(self._bus, self._model)
        rollout = None if self._log is None else self._log.in_force()
        return self._fetch_newest(released) if rollout is None else self._fetch_roles(rollout, released)

    def _fetch_newest(self, released: list[ModelVersion]) -> Fetched:
        result = Fetched()
        here = version_directories(self._folder)
        whole = 0
        for version in released:
            if whole == self._kept:
                if version in here:
                    self._remove(here[version], result)
            elif self._has(version, here, result):
                whole += 1
        return result

    def _fetch_roles(self, rollout: Rollout, released: list[ModelVersion]) -> Fetched:
        result = Fetched()
        here = version_directories(self._folder)
        whole = {version for version in rollout.roles if self._has(version, here, result)}
        if rollout.champion not in whole:
            return result
        self._write_rollout(rollout)
        for version in (set(released) & here.keys()) - {*rollout.roles}:
            self._remove(here[version], result)
        return result

    def _has(self, version: ModelVersion, here: Mapping[ModelVersion, Path], result: Fetched) -> bool:
        """Bring a release unless it is here; return whether it is here then."""
        if version in here:
            return True
        why = self._take(version)
        if why is not None:
            result.refused[version] = why
            return False
        result.fetched.append(version)
        return True

    def _write_rollout(self, rollout: Rollout) -> None:
        """Mirror the record in force; those before are the Bus's to keep."""
        target = self._folder / record_name(rollout.revision)
        if not target.exists():
            target.parent.mkdir(exist_ok=True)
            write_whole(target, lambda file: file.write(msgspec.json.encode(rollout)))
            log.info("rollout_fetched", revision=rollout.revision, change=rollout.change, champion=rollout.champion)

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

    def _remove(self, directory: Path, result: Fetched) -> None:
        """Take it out of sight first: who polls sees the whole version or none."""
        result.removed.append(ModelVersion(int(directory.name)))
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
