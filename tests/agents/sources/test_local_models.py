from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.artifact_bus import open_bus
from agents.sources.local_models import models_here
from schemas.bus import ArtifactBus, FolderUrl, S3Url
from schemas.errors import InsessionError
from session_model.release.copies import load_release
from session_model.release.on_bus import publish_on_bus
from tests.builders.releases import write_release
from tests.s3_server import s3_server

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
