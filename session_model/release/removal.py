"""Releases that are not kept: gone at once for who looks, whatever ends the process."""

import shutil

from schemas.bus import ArtifactBus, BusUrl, FolderUrl
from schemas.ids import ModelVersion
from schemas.release import MANIFEST_PATH
from session_model.release.versions import TEMPORARY_PREFIX

_REMOVED_PREFIX = f"{TEMPORARY_PREFIX}removed-"


def remove_release(bus: ArtifactBus, url: BusUrl, model: str, version: ModelVersion) -> None:
    """Remove a release from `url`, which is `bus`: of a folder by a rename, else the manifest first.

    Raises BusError, and OSError for a folder.
    """
    if isinstance(url, FolderUrl):
        folder = url.path / model
        for left in folder.glob(f"{_REMOVED_PREFIX}*"):
            shutil.rmtree(left)
        beside = folder / f"{_REMOVED_PREFIX}{version}"
        (folder / str(version)).rename(beside)
        shutil.rmtree(beside)
        return
    name = f"{model}/{version}"
    bus.remove(f"{name}/{MANIFEST_PATH}")
    for found in list(bus.find(name)):
        bus.remove(found.name)
