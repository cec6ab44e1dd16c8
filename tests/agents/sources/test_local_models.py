from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agents.artifact_bus import open_bus
from agents.sources.local_models import RegistryVersion, models_here, parse_release_url, release_here, release_in
from bench.s3_server import s3_server
from schemas.bus import ArtifactBus, FolderUrl, S3Url, parse_bus_url
from schemas.errors import InsessionError, UsageError
from schemas.ids import ModelVersion
from schemas.release_folder import ReleaseError
from session_model.registry.mlflow_registry import MlflowRegistry
from session_model.release.copies import load_release
from session_model.release.on_bus import publish_on_bus
from session_model.release.rollout import Moves
from session_model.release.rollout_log import RolloutLog
from tests.builders.releases import write_release

MODEL = "session_gru"


@pytest.fixture
def url(tmp_path: Path) -> Iterator[S3Url]:
    """Name an empty Bus on S3."""
    with s3_server():
        yield S3Url("bus", tmp_path.name)


@pytest.fixture
def bus(url: S3Url) -> ArtifactBus:
    """Open it."""
    return open_bus(str(url))


def test_a_folder_is_read_where_it_is(tmp_path: Path) -> None:
    """Nothing is copied."""
    with models_here(FolderUrl(tmp_path), MODEL) as models:
        assert models == tmp_path


def test_the_newest_release_is_here_while_it_is_read(url: S3Url, bus: ArtifactBus, tmp_path: Path) -> None:
    """And gone behind."""
    for version in (3, 4):
        publish_on_bus(write_release(tmp_path, version), bus, MODEL, None)
    with models_here(url, MODEL) as models:
        assert [path.name for path in (models / MODEL).iterdir() if path.is_dir()] == ["4"]
        assert load_release(models / MODEL / "4").version == 4
    assert not models.exists()


def test_another_than_the_newest_is_not_taken_silently(url: S3Url, bus: ArtifactBus, tmp_path: Path) -> None:
    """Figures would be those of another release; where there is none, what to do is told."""
    with (
        pytest.raises(InsessionError, match=r"holds no release of session_gru; .*release publish"),
        models_here(url, MODEL),
    ):
        pass
    for version in (3, 4):
        publish_on_bus(write_release(tmp_path, version), bus, MODEL, None)
    bus.write(f"{MODEL}/4/saved_model.pb", b"xxxxx")
    with pytest.raises(InsessionError, match=r"version 4 is refused: .*saved_model.pb"), models_here(url, MODEL):
        pass


def test_a_release_is_named_by_its_folder_or_is_the_newest(tmp_path: Path) -> None:
    """Of the models directory that holds it."""
    one, newest = (write_release(tmp_path, version) for version in (3, 4))
    for url, found in ((FolderUrl(one), one), (FolderUrl(tmp_path), newest)):
        with release_here(url, MODEL, None) as release:
            assert release == found


def test_a_release_on_the_bus_is_the_newest_or_the_one_that_is_named(
    url: S3Url, bus: ArtifactBus, tmp_path: Path
) -> None:
    """One that is not there is none, and no other is taken for it."""
    for version in (3, 4):
        publish_on_bus(write_release(tmp_path, version), bus, MODEL, None)
    for text, version in ((str(url), 4), (f"{url}/{MODEL}/3", 3)):
        with release_here(parse_bus_url(text), MODEL, None) as release:
            assert load_release(release).version == version
        assert not release.exists()
    with (
        pytest.raises(ReleaseError, match="session_gru/5"),
        release_here(parse_bus_url(f"{url}/{MODEL}/5"), MODEL, None),
    ):
        pass


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy")  # MLflow's own
def test_a_release_of_the_registry_is_named_by_alias_or_number(tmp_path: Path) -> None:
    """As MLflow names it; which registry must be said, and what it has not is told."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    registry = MlflowRegistry(uri, MODEL)
    numbers = [registry.register(write_release(tmp_path / "models", version)).number for version in (3, 4)]
    registry.follow(Moves(None, datetime(2026, 1, 1, tzinfo=UTC), "ana").promote(ModelVersion(4), ""))
    for text, version in ((f"models:/{MODEL}@champion", 4), (f"models:/{MODEL}/{numbers[0]}", 3)):
        with release_here(parse_release_url(text), "other", uri) as release:
            assert load_release(release).version == version
        assert not release.exists()
    named = parse_release_url(f"models:/{MODEL}@nobody")
    assert str(named) == f"models:/{MODEL}@nobody"
    with pytest.raises(InsessionError, match="nobody"), release_here(named, MODEL, uri):
        pass
    with pytest.raises(UsageError, match="--registry"), release_here(RegistryVersion(MODEL, None, 1), MODEL, None):
        pass


@pytest.mark.parametrize("text", ["models:/", "models:/session_gru", "models:/a/b/c", "models:/a@b@c", "models:/a/0"])
def test_what_names_no_version_is_wrong_usage(text: str) -> None:
    """The forms are told."""
    with pytest.raises(UsageError, match="models:/NAME@ALIAS"):
        parse_release_url(text)


def test_where_a_release_was_promoted_the_one_that_serves_is_read(url: S3Url, bus: ArtifactBus, tmp_path: Path) -> None:
    """Lists for e-mail are those of the champion; who asks for the newest gets the newest."""
    for version in (3, 4):
        publish_on_bus(write_release(tmp_path, version), bus, MODEL, None)
    RolloutLog(bus, MODEL).append(Moves(None, datetime(2026, 1, 1, tzinfo=UTC), "ana").promote(ModelVersion(3), ""))
    with release_here(url, MODEL, None) as release:
        assert load_release(release).version == 3
    with models_here(url, MODEL) as models:
        assert release_in(models, MODEL).name == "4"


def test_a_champion_that_is_not_there_is_no_other_release(tmp_path: Path) -> None:
    """It says what to do."""
    write_release(tmp_path, 4)
    bus = open_bus(str(tmp_path))
    RolloutLog(bus, MODEL).append(Moves(None, datetime(2026, 1, 1, tzinfo=UTC), "ana").promote(ModelVersion(3), ""))
    with (
        pytest.raises(ReleaseError, match=r"champion 3 is not in .*fetch it, or promote another"),
        release_here(FolderUrl(tmp_path), MODEL, None),
    ):
        pass
