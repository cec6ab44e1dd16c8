"""The registry in MLflow, on SQLite and behind MLflow's own server."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import InsessionError
from schemas.free_ports import free_port
from schemas.release_folder import ReleaseError
from session_model.registry.mlflow_registry import Alias, MlflowRegistry
from session_model.release.files import verify_release
from session_model.release.rollout import Moves
from session_model.runs.curve import CurvePoint
from session_model.runs.folder import RunConfig, open_run
from tests.builders.releases import write_release

# MLflow's own; for its users it is only a warning.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")
NAME = "session_gru"
POINTS = [CurvePoint("recipe 1 of 1", epoch, 1 / epoch, 0.25, 0.125, 2.0, 100.0) for epoch in (1, 2)]


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """Make release 3 with the run that trained it."""
    release = write_release(tmp_path / "models")
    essence = {"preset": {"recipes": [{"units": 8}]}, "data_sha256": "0" * 64, "input_event_types": ["view", "cart"]}
    with open_run(tmp_path / "models" / "runs", RunConfig(essence, {"data": "clicks.csv"}), is_fresh=False) as run:
        run.drew(POINTS)
        run.draw()
        run.finish({"version": 3, "directory": str(release)})
    return release


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Make the database once: its migrations take seconds."""
    folder = tmp_path_factory.mktemp("registry")
    MlflowRegistry(f"sqlite:///{folder}/mlflow.db", NAME)
    return (folder / "mlflow.db").read_bytes()


@pytest.fixture
def open_registry(tmp_path: Path, empty: bytes) -> Callable[[], MlflowRegistry]:
    """Open the same registry, as often as asked."""
    (tmp_path / "mlflow.db").write_bytes(empty)
    return lambda: MlflowRegistry(f"sqlite:///{tmp_path}/mlflow.db", NAME)


def test_a_release_is_a_version_with_all_that_is_known_of_its_training(
    release: Path, open_registry: Callable[[], MlflowRegistry]
) -> None:
    """Parameters by dotted names, a point an epoch, metrics, pictures, the hash of the data, the files themselves."""
    registry = open_registry()
    registered = registry.register(release)
    assert (registered.version, registered.number, registered.training_data_sha256) == (3, 1, "0" * 64)
    run = registry._client.get_run(registered.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["preset.recipes.0.units"] == "8"
    assert run.data.params["input_event_types"] == "['view', 'cart']"
    assert run.data.params["data"] == "clicks.csv"
    assert run.data.metrics["recall_at_20"] == 0.5
    assert run.data.tags["code_version"] == "0.1.0"
    losses = registry._client.get_metric_history(registered.run_id, "loss/recipe 1 of 1")
    assert [(one.step, one.value) for one in losses] == [(1, 1.0), (2, 0.5)]
    pictures = {one.path for one in registry._client.list_artifacts(registered.run_id, "training")}
    assert {"training/config.json", "training/curve.svg", "training/result.json"} <= pictures
    folder = Path(registered.source.removeprefix("file://"))
    kept = folder / "release"
    assert {path.relative_to(kept) for path in kept.rglob("*")} == {p.relative_to(release) for p in release.rglob("*")}
    signature = json.loads((folder / "MLmodel").read_text())["signature"]
    assert [one["name"] for one in json.loads(signature["inputs"])] == ["items", "bought"]
    assert [one["name"] for one in json.loads(signature["outputs"])] == ["items", "scores"]


def test_registering_again_changes_nothing(release: Path, open_registry: Callable[[], MlflowRegistry]) -> None:
    """A release is one version and one run, whichever process asks."""
    first = open_registry().register(release)
    registry = open_registry()
    assert registry.register(release) == first
    assert registry.releases() == [first]


def test_what_was_interrupted_is_made_up_for(
    release: Path, open_registry: Callable[[], MlflowRegistry], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that dies before the version is made leaves a run, which the next one goes on with."""
    dying = open_registry()

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(dying._client, "create_model_version", die)
    with pytest.raises(KeyboardInterrupt):
        dying.register(release)
    registry = open_registry()
    assert registry.releases() == []
    registered = registry.register(release)
    experiment = registry._client.get_experiment_by_name(NAME)
    assert experiment is not None
    assert [run.info.run_id for run in registry._client.search_runs([experiment.experiment_id])] == [registered.run_id]


def test_a_release_that_nobody_trained_here_is_registered_without_a_training(
    tmp_path: Path, open_registry: Callable[[], MlflowRegistry]
) -> None:
    """One that was copied from elsewhere has no run beside it."""
    registered = open_registry().register(write_release(tmp_path / "copied"))
    assert registered.version == 3


def test_a_changed_release_is_refused(release: Path, open_registry: Callable[[], MlflowRegistry]) -> None:
    """What no worker would take up is no version."""
    (release / "saved_model.pb").write_bytes(b"other")
    registry = open_registry()
    with pytest.raises(ReleaseError):
        registry.register(release)


def test_the_aliases_follow_the_rollout(
    tmp_path: Path, open_registry: Callable[[], MlflowRegistry], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash in the middle leaves two names on one version, never a name on none."""
    registry = open_registry()
    first, second = (registry.register(write_release(tmp_path / "models", version)) for version in (3, 4))
    started = datetime(2026, 1, 1, tzinfo=UTC)
    promoted = Moves(None, started, "ana").promote(first.version, "")
    tried = Moves(promoted, started, "ana").trial(second.version, "canary", 0.1, "")
    again = Moves(tried, started, "ana").promote(second.version, "")
    registry.follow(promoted)
    registry.follow(tried)
    set_alias: Any = registry._client.set_registered_model_alias

    def dies_at_champion(name: str, alias: str, version: str) -> None:
        if alias == "champion":
            raise KeyboardInterrupt
        set_alias(name, alias, version)

    monkeypatch.setattr(registry._client, "set_registered_model_alias", dies_at_champion)
    with pytest.raises(KeyboardInterrupt):
        registry.follow(again)
    assert {one.version: one.aliases for one in open_registry().releases()} == {
        4: (Alias.CANDIDATE,),
        3: (Alias.CHAMPION, Alias.PREVIOUS),
    }
    open_registry().follow(again)
    assert {one.version: one.aliases for one in open_registry().releases()} == {
        4: (Alias.CHAMPION,),
        3: (Alias.PREVIOUS,),
    }


def test_a_registry_that_is_away_is_one_line_without_secrets() -> None:
    """It says what stands still, and that nothing which serves does."""
    registry = MlflowRegistry("http://shop:hunter2@127.0.0.1:1", NAME)
    with pytest.raises(InsessionError, match=r"did not answer.*Nothing that serves needs it") as caught:
        registry.releases()
    assert "hunter2" not in str(caught.value)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run MLflow's server on a database and a folder of its own."""
    folder, port = tmp_path_factory.mktemp("server"), free_port()
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host=127.0.0.1", f"--port={port}", "--workers=1"),
        *(f"--backend-store-uri=sqlite:///{folder}/mlflow.db", f"--artifacts-destination={folder}/artifacts"),
    ]
    log = (folder / "log").open("wb")
    with log, subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True) as process:
        yield f"http://127.0.0.1:{port}"
        os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.pipeline
def test_a_server_keeps_the_files_too(release: Path, server: str) -> None:
    """Its address is all that a client needs: neither database nor folder of artefacts are the client's."""
    registry = MlflowRegistry(server, NAME)
    while True:
        try:
            registered = registry.register(release)
            break
        except InsessionError:
            pass  # it takes a while to start; pytest's timeout bounds this
    (release.parent / "downloaded").mkdir()
    assert verify_release(registry.download(registered, release.parent / "downloaded")).version == 3
