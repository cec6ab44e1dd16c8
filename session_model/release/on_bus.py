"""Releases on the Bus: `<model>/<version>/` with the manifest as the last object, since stores have no rename.

A release exists when its manifest does. Its number is claimed before, by the digest of the manifest: who died over an
upload goes on with it, and nobody else's files get in between.
"""

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from schemas.bus import ArtifactBus
from schemas.errors import InsessionError, UsageError
from schemas.ids import ModelVersion
from schemas.release import MANIFEST_PATH, ReleaseManifest
from schemas.release_folder import MAX_MANIFEST_BYTES, decode_manifest, look_at_release
from schemas.release_signature import SIGNATURE_PATH
from schemas.secret import Secret
from schemas.servable import MAX_VERSION
from session_model.release.publishing import publish_release

_CLAIMS: Final = ".claims"


def released_versions(bus: ArtifactBus, model: str) -> list[ModelVersion]:
    """Find the versions whose manifest is there, highest first; raises BusError."""
    pattern = re.compile(rf"{re.escape(model)}/([1-9][0-9]{{0,18}})/{re.escape(MANIFEST_PATH)}")
    matches = (pattern.fullmatch(found.name) for found in bus.find(model))
    numbers = (int(match[1]) for match in matches if match)
    return sorted((ModelVersion(number) for number in numbers if number <= MAX_VERSION), reverse=True)


def read_manifest(bus: ArtifactBus, model: str, version: ModelVersion) -> ReleaseManifest:
    """Read what a release says of itself; raises BusError, and ReleaseError where it is gone or none."""
    name = f"{model}/{version}"
    return decode_manifest(name, bus.read(f"{name}/{MANIFEST_PATH}", MAX_MANIFEST_BYTES) or b"")


def publish_on_bus(source: Path, bus: ArtifactBus, model: str, key: Secret | None) -> str:
    """Upload a release that a worker would take up, from a verified copy; return its name on the Bus.

    To publish the same one again completes it. Raises ReleaseError for a bad one, UsageError where its number is
    another release's, BusError, and InsessionError where the copy does not fit on the disk of temporary files.
    """
    try:
        with TemporaryDirectory(prefix="insession-publish-") as folder:
            return _upload(publish_release(source, Path(folder) / model, key), bus, model)
    except OSError as error:
        raise InsessionError(f"cannot copy {source}: {error}; check space and rights of TMPDIR") from error


def _upload(copy: Path, bus: ArtifactBus, model: str) -> str:
    release = look_at_release(copy)
    version = release.manifest.version
    name = f"{model}/{version}"
    digest = release.digest.encode()
    if bus.read(f"{name}/{MANIFEST_PATH}", MAX_MANIFEST_BYTES) == release.content:
        return name
    if bus.claim(f"{model}/{_CLAIMS}/{version}", digest) != digest:
        raise UsageError(
            f"number {version} of {model} on the Bus is another release's, which is there or not yet whole; "
            "train a version of its own"
        )
    bus.upload(copy, name, [*release.manifest.files, *([SIGNATURE_PATH] if (copy / SIGNATURE_PATH).exists() else [])])
    if bus.claim(f"{name}/{MANIFEST_PATH}", release.content) != release.content:
        raise UsageError(f"{name} is on the Bus already, and differs; train a version of its own")
    return name
