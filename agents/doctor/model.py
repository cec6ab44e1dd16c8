"""Is there a release, is it whole, does the server have it, and does the server keep the one before it."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from agents.doctor.findings import Finding, error, ok, unchecked, warning
from schemas.errors import InsessionError
from schemas.ids import ModelVersion
from schemas.secret import Secret
from schemas.servable import version_directories
from serving.client import PredictClient
from serving.errors import PredictError
from serving.settings import ServingSettings
from session_model.release.files import verify_release

OLD_AFTER: Final = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Served:
    """What the model server says: its versions, or why it does not answer."""

    versions: frozenset[ModelVersion] = frozenset()
    failure: str | None = None


def ask_server(settings: ServingSettings) -> Served:
    """Ask the model server once which versions it serves."""

    async def ask() -> frozenset[ModelVersion]:
        async with PredictClient(settings) as client:
            return await client.loaded_versions()

    try:
        return Served(asyncio.run(ask()))
    except PredictError as failure:
        return Served(failure=str(failure))


def model_findings(settings: ServingSettings, served: Served, now: datetime) -> Iterator[Finding]:
    """Examine the models directory, and hold it against what is served."""
    folder = settings.model_folder
    on_disk = _versions(folder)
    yield _release(folder, on_disk, now, settings.release_key)
    if served.failure is not None:
        yield error(
            "model server",
            served.failure,
            f"start TF Serving, or `insession serve --models {settings.models_directory}`; check serving.address and "
            "its TLS settings",
        )
        yield from (
            unchecked(check, "the model server does not answer")
            for check in ("served version", "common version", "two versions")
        )
        return
    yield ok("model server", f"{settings.address} answers for {settings.model_name}")
    yield _newest_is_served(settings, on_disk, served.versions)
    yield _one_is_common(settings, on_disk, served.versions)
    yield _two_are_served(on_disk, served.versions)


def _versions(folder: Path) -> Sequence[ModelVersion]:
    """List the version directories, the newest first."""
    return sorted(version_directories(folder), reverse=True) if folder.is_dir() else []


def _release(folder: Path, on_disk: Sequence[ModelVersion], now: datetime, key: Secret | None) -> Finding:
    if not on_disk:
        return error(
            "release",
            f"there is no release in {folder}",
            f"make one with `insession train DATA --out {folder.parent}`, or set serving.models_directory",
        )
    try:
        manifest = verify_release(folder / str(on_disk[0]), key)
    except (InsessionError, OSError) as failure:
        return error(
            "release",
            str(failure),
            f"copy version {on_disk[0]} again or delete it: until then the worker stays with an older one",
        )
    age = now - manifest.created_at
    found = f"version {manifest.version} is whole ({len(manifest.files)} files), made {age.days} days ago"
    if age > OLD_AFTER:
        return warning("release", found, "train on newer session ends: `insession train`")
    return ok("release", found)


def _newest_is_served(
    settings: ServingSettings, on_disk: Sequence[ModelVersion], served: frozenset[ModelVersion]
) -> Finding:
    check = "served version"
    listed = ", ".join(map(str, sorted(served))) or "none"
    if not on_disk:
        return unchecked(check, f"served: {listed}; there is no release on disk to hold against it")
    if on_disk[0] in served:
        return ok(check, f"version {on_disk[0]}, the newest on disk, is served (served: {listed})")
    return error(
        check,
        f"version {on_disk[0]}, the newest on disk, is not served (served: {listed})",
        f"let the server load {settings.model_folder}, the same directory; its log says why it refuses a version",
    )


def _one_is_common(
    settings: ServingSettings, on_disk: Sequence[ModelVersion], served: frozenset[ModelVersion]
) -> Finding:
    """Find the newest version that a worker takes up and the server has; without one no answer is the model's."""
    check = "common version"
    folder = settings.model_folder
    refused = list[str]()
    for version in on_disk:
        if version not in served:
            continue
        try:
            verify_release(folder / str(version), settings.release_key)
        except (InsessionError, OSError) as failure:
            refused.append(str(failure))
        else:
            return ok(check, f"version {version} is whole and served")
    return error(
        check,
        "the server has no version that a worker takes up" + "".join(f"; {why}" for why in refused),
        f"move what is refused out of {folder}: the server then loads an older one; publish releases by `insession "
        "train` or `insession release publish`, which publish none that a worker refuses",
    )


def _two_are_served(on_disk: Sequence[ModelVersion], served: frozenset[ModelVersion]) -> Finding:
    check = "two versions"
    newest = on_disk[:2]
    if len(newest) < 2:
        return unchecked(check, "cannot be told while there is one version on disk")
    if served.issuperset(newest):
        return ok(check, f"versions {newest[1]} and {newest[0]} stay loaded side by side")
    return warning(
        check,
        f"of the two newest versions, {newest[1]} and {newest[0]}, not both are loaded",
        "set `model_version_policy { latest { num_versions: 2 } }` at the server, or `{ all {} }` where `insession "
        "release fetch --follow` fills its folder: while workers move to a new version some still ask for the one "
        "before",
    )
