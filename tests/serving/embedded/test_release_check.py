"""The model server loads what the workers can use."""

import shutil
from pathlib import Path

import pytest

from serving.embedded.errors import StatusError
from serving.embedded.options import ServerOptions
from serving.embedded.release_check import ReleaseCheck
from tests.serving import rec_model
from tests.session_model.test_release import write


def release(models: Path, version: int) -> Path:
    """Write a release with a SavedModel that can be loaded."""
    directory = write(models, version)
    (directory / "saved_model.pb").unlink()
    rec_model.lay_out(models / "graph")
    graph = next((models / "graph").glob("*/*/saved_model.pb")).parent
    shutil.copytree(graph, directory, dirs_exist_ok=True)
    return directory


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
        ReleaseCheck(ServerOptions(models=tmp_path, release_key_file=key)).check(write(tmp_path))
