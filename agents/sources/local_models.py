"""Makes releases that lie elsewhere folders of this machine, for a command that reads them once."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from agents.artifact_bus import open_bus
from schemas.bus import BusUrl, FolderUrl, parse_bus_url
from schemas.errors import InsessionError, UsageError
from schemas.ids import ModelVersion
from schemas.release import MANIFEST_PATH
from session_model.release.fetching import ReleaseFetcher
from session_model.release.files import newest_release, serving_release

REGISTRY_SCHEME: Final = "models:/"
_REGISTRY_VERSION: Final = re.compile(r"models:/([^/@:\s]{1,256})(?:@([\w-]{1,256})|/([1-9][0-9]{0,8}))")


@dataclass(frozen=True, slots=True)
class RegistryVersion:
    """A version of a registered model, by alias or by the registry's own number."""

    model: str
    alias: str | None
    number: int | None

    def __str__(self) -> str:
        return f"{REGISTRY_SCHEME}{self.model}" + (f"/{self.number}" if self.alias is None else f"@{self.alias}")


ReleaseUrl = BusUrl | RegistryVersion


def parse_release_url(text: str) -> ReleaseUrl:
    """Read where a release lies; raises UsageError for any other form."""
    if not text.startswith(REGISTRY_SCHEME):
        return parse_bus_url(text)
    match = _REGISTRY_VERSION.fullmatch(text)
    if match is None:
        raise UsageError(f"{text} names no version; write models:/NAME@ALIAS or models:/NAME/NUMBER")
    model, alias, number = match.groups()
    return RegistryVersion(model, alias, None if number is None else int(number))


@contextmanager
def models_here(url: BusUrl, model_name: str, *, that_serve: bool = False) -> Iterator[Path]:
    """Yield the folder itself, or one with the newest release on the Bus, which is gone behind.

    that_serve: instead of the newest, those that have a part in the rollout, if there is one. Raises BusError, and
    InsessionError where there is no release, one of these is not whole, or the disk is full.
    """
    if isinstance(url, FolderUrl):
        yield url.path
        return
    with TemporaryDirectory(prefix="insession-models-") as folder:
        models = Path(folder)
        here = models / model_name
        result = ReleaseFetcher(open_bus(str(url)), model_name, here, kept=1, follows_rollout=that_serve).fetch()
        for version, why in result.refused.items():  # an older one would be another one than was asked for
            raise InsessionError(f"{url}: version {version} is refused: {why}")
        if not result.fetched:
            raise InsessionError(
                f"{url} holds no release of {model_name}; bring one: `insession release publish RELEASE --out {url}`"
            )
        yield models


def release_in(directory: Path, model_name: str) -> Path:
    """Return the directory where it is a release itself, else the newest in a directory of models."""
    return directory if _is_release(directory) else newest_release(directory / model_name)


def _is_release(directory: Path) -> bool:
    return (directory / MANIFEST_PATH).exists()


@contextmanager
def release_here(url: ReleaseUrl, model_name: str, registry: str | None) -> Iterator[Path]:
    """Yield the folder of one release, a copy that is gone behind where `url` is elsewhere; who reads it verifies it.

    url: a release, or the one that serves from a models directory or Bus, or a version in the `registry` at that URI.
    Raises as `models_here`, and UsageError where it is of a registry and none is said.
    """
    if isinstance(url, RegistryVersion):
        with TemporaryDirectory(prefix="insession-release-") as folder:
            yield _registered(url, registry, Path(folder))
        return
    one = (
        None
        if isinstance(url, FolderUrl)
        else re.fullmatch(rf"(.+)/{re.escape(model_name)}/([1-9]\d{{0,18}})", str(url))
    )
    if one is not None:
        with TemporaryDirectory(prefix="insession-release-") as folder:
            fetcher = ReleaseFetcher(open_bus(one[1]), model_name, Path(folder))
            yield fetcher.fetch_version(ModelVersion(int(one[2])))
        return
    with models_here(url, model_name, that_serve=True) as models:
        yield models if _is_release(models) else serving_release(models / model_name)


def _registered(url: RegistryVersion, registry: str | None, folder: Path) -> Path:
    from session_model.registry.mlflow_registry import MlflowRegistry  # noqa: PLC0415 - MLflow is an extra, and seconds

    if registry is None:
        raise UsageError(f"{url} is of a registry; say which: --registry sqlite:///FILE, or the address of a server")
    releases = MlflowRegistry(registry, url.model)
    return releases.download(releases.version(url.alias, url.number), folder)
