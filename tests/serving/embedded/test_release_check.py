"""The model server loads what the workers can use."""

import os
import shutil
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from schemas.ids import ModelVersion
from serving.embedded.errors import StatusError
from serving.embedded.options import ServerOptions
from serving.embedded.release_check import ReleaseCheck
from serving.embedded.server import ModelServer
from serving.fakes import FakePredictor
from serving.metrics import ReleaseMetrics
from serving.releases import ReleaseWatcher
from session_model.release.copies import ReleaseCopies
from tests.builders.releases import edit_manifest, seal, write_release
from tests.serving import rec_model


def release(models: Path, version: int) -> Path:
    """Write a release with a SavedModel that can be loaded."""
    directory = write_release(models, version)
    (directory / "saved_model.pb").unlink()
    rec_model.export(models / "graph", seed=1)
    shutil.copytree(models / "graph", directory, dirs_exist_ok=True)
    seal(directory)
    return directory


async def test_two_damaged_releases_do_not_push_the_good_one_off(tmp_path: Path) -> None:
    """Server and worker stay with version 1, also if the server starts anew; once version 3 is mended they have it."""
    good = release(tmp_path, 1)
    options = ServerOptions(models=tmp_path)
    server = ModelServer(options)
    server._versions.poll()
    registry = CollectorRegistry()
    copies = ReleaseCopies(tmp_path / "copies")
    predictor = FakePredictor([])
    watcher = ReleaseWatcher(good.parent, copies.load, predictor, ReleaseMetrics(registry))

    async def in_use() -> ModelVersion | None:
        predictor.versions = set(map(ModelVersion, server.available_versions()))
        await watcher.refresh()
        return watcher.current and watcher.current.version

    assert await in_use() == 1
    (good.parent / "2").mkdir()
    (good.parent / "2" / "x").write_bytes(b"garbage")
    bad = good.parent / "3"
    shutil.copytree(good, bad)
    edit_manifest(bad, lambda manifest: manifest.update(version=3))
    os.truncate(bad / "assets.extra/vocabulary.json", 5)
    server._versions.poll()
    assert await in_use() == 1
    server = ModelServer(options)
    server._versions.poll()
    assert server.available_versions() == [1]
    assert await in_use() == 1
    assert registry.get_sample_value("insession_release_common") == 1
    shutil.copy(good / "assets.extra/vocabulary.json", bad / "assets.extra/vocabulary.json")
    server._versions.poll()
    assert server.available_versions() == [1, 3]
    assert await in_use() == 3


def test_a_release_needs_its_manifest(tmp_path: Path) -> None:
    """Workers ask for a version of insession's own model by what its manifest says."""
    (tmp_path / "session_gru/1").mkdir(parents=True)
    with pytest.raises(StatusError, match=r"manifest\.json is missing"):
        ReleaseCheck(ServerOptions(models=tmp_path)).check(tmp_path / "session_gru/1")


def test_another_model_needs_none(tmp_path: Path) -> None:
    """Any SavedModel is served, unless there is a key."""
    (tmp_path / "rec/1").mkdir(parents=True)
    ReleaseCheck(ServerOptions(models=tmp_path, model_name="rec")).check(tmp_path / "rec/1")
    key = tmp_path / "key"
    key.write_text("k" * 32)
    options = ServerOptions(models=tmp_path, model_name="rec", release_key_file=key)
    with pytest.raises(StatusError, match=r"is missing"):
        ReleaseCheck(options).check(tmp_path / "rec/1")


def test_a_server_with_a_key_asks_for_signatures(tmp_path: Path) -> None:
    """As the workers do."""
    key = tmp_path / "key"
    key.write_text("k" * 32)
    with pytest.raises(StatusError, match=r"is not signed"):
        ReleaseCheck(ServerOptions(models=tmp_path, release_key_file=key)).check(write_release(tmp_path))
