"""Releases in MLflow's registry: a run for each training, a version for each release, aliases for what is in use.

Serving never asks it: workers and model servers read folders, and go on where the registry is down. The registry's own
numbers of versions are not those of the release folders; the tag `release` joins the two.
"""

import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from msgspec import Struct

from schemas.errors import InsessionError, UsageError
from schemas.ids import ModelVersion
from schemas.release import MANIFEST_PATH, ReleaseManifest
from schemas.rollout import Rollout
from schemas.secret import Secret, masked
from session_model.files import file_sha256
from session_model.registry.mlmodel import MODEL_FOLDER, RELEASE_FOLDER, mlmodel
from session_model.registry.training_log import TrainingLog, training_of
from session_model.release.files import verify_release
from session_model.runs.curve import CurvePoint

if TYPE_CHECKING:
    from mlflow import MlflowClient

_Value = TypeVar("_Value")
_MANIFEST_TAG: Final = "manifest_sha256"
_RELEASE_TAG: Final = "release"
_DATA_TAG: Final = "training_data_sha256"
_PARAMETERS_A_CALL: Final = 100
_METRICS_A_CALL: Final = 1000
_ENVIRONMENT: Final = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "GIT_PYTHON_REFRESH": "quiet",
}


class Alias(StrEnum):
    """What a version is used for; each names one version at most."""

    CANDIDATE = "candidate"
    CHAMPION = "champion"
    PREVIOUS = "previous"


class RegisteredRelease(Struct, frozen=True, kw_only=True):
    """A version of the registered model.

    number: the registry's own. version: of the release folder. source: where the artefacts lie.
    """

    number: int
    version: ModelVersion
    aliases: tuple[Alias, ...]
    run_id: str
    source: str
    registered_at_ms: int
    training_data_sha256: str


class MlflowRegistry:
    """The registry at `uri`: `sqlite:///FILE`, whose artefacts lie beside it in `artifacts/`, or a server's address.

    Every method raises InsessionError where the registry does not answer or refuses.
    """

    def __init__(self, uri: str, model_name: str) -> None:
        self._uri = uri
        self._name = model_name
        with self._asking():
            self._client = _client(uri)

    def register(self, release: Path, key: Secret | None = None) -> RegisteredRelease:
        """Log the training behind a verified release, keep its files, and make it a version; once, however often asked.

        A call that was interrupted is made up for by the next.
        """
        manifest = verify_release(release, key)
        digest = file_sha256(release / MANIFEST_PATH)
        with self._asking():
            known = self._version_of(digest)
            if known is None:
                run_id, artifacts = self._logged(release, manifest, digest)
                known = self._client.create_model_version(
                    self._name,
                    source=f"{artifacts}/{MODEL_FOLDER}",
                    run_id=run_id,
                    tags=_tags(manifest) | {_MANIFEST_TAG: digest},
                )
            return _registered(known, self._aliases())

    def releases(self) -> list[RegisteredRelease]:
        """Return all, the newest first."""
        with self._asking():
            aliases = self._aliases()
            found = self._client.search_model_versions(f"name='{self._name}'")
        return sorted((_registered(one, aliases) for one in found), key=lambda one: -one.number)

    def numbers(self) -> dict[ModelVersion, int]:
        """Return the registry's own number of each release; the newest, where one was registered twice."""
        return {one.version: one.number for one in reversed(self.releases())}

    def version(self, alias: str | None, number: int | None) -> RegisteredRelease:
        """Return what any alias names, or the version of the registry's own number."""
        with self._asking():
            if alias is not None:
                found = self._client.get_model_version_by_alias(self._name, alias)
            else:
                found = self._client.get_model_version(self._name, str(number))
            return _registered(found, self._aliases())

    def download(self, release: RegisteredRelease, folder: Path) -> Path:
        """Copy the files of a version into `folder` and return where they lie; nobody has verified them yet."""
        with self._asking():
            path = f"{MODEL_FOLDER}/{RELEASE_FOLDER}"
            return Path(self._client.download_artifacts(release.run_id, path, str(folder)))

    def name_candidate(self, number: int) -> None:
        """Let `candidate` name a version."""
        with self._asking():
            self._client.set_registered_model_alias(self._name, Alias.CANDIDATE, str(number))

    def follow(self, rollout: Rollout) -> None:
        """Let the aliases name what the rollout says; a release that is not registered has none.

        In an order in which a crash leaves two names on one version, and never `champion` on none.
        """
        numbers = self.numbers()
        candidate = None if rollout.candidate is None else rollout.candidate.version
        wanted = {
            Alias.PREVIOUS: rollout.previous,
            Alias.CHAMPION: rollout.champion,
            Alias.CANDIDATE: candidate,
        }
        with self._asking():
            for alias, version in wanted.items():
                number = None if version is None else numbers.get(version)
                if number is not None:
                    self._client.set_registered_model_alias(self._name, alias, str(number))
                elif alias in self._aliases():
                    self._client.delete_registered_model_alias(self._name, alias)

    def _logged(self, release: Path, manifest: ReleaseManifest, digest: str) -> tuple[str, str]:
        """Log the run of a release; returns its id and where its artefacts lie."""
        training = training_of(release, manifest.version)
        experiment = self._experiment()
        begun = self._client.search_runs([experiment], f"tags.{_MANIFEST_TAG} = '{digest}'", max_results=1)
        if begun:
            run = begun[0]
        else:
            name = f"{self._name} {manifest.version}"
            run = self._client.create_run(experiment, tags={_MANIFEST_TAG: digest}, run_name=name)
        run_id = run.info.run_id
        if training is not None:
            self._log_training(run_id, training)
        self._log_facts(run_id, manifest)
        self._client.log_artifacts(run_id, str(release), f"{MODEL_FOLDER}/{RELEASE_FOLDER}")
        self._client.log_dict(run_id, mlmodel(manifest, run_id), f"{MODEL_FOLDER}/MLmodel")
        self._client.set_terminated(run_id, "FINISHED")
        return run_id, run.info.artifact_uri

    def _log_training(self, run_id: str, training: TrainingLog) -> None:
        from mlflow.entities import Metric, Param  # noqa: PLC0415 - a package of an extra

        parameters = [Param(name, value) for name, value in training.parameters.items()]
        for some in _slices(parameters, _PARAMETERS_A_CALL):
            self._client.log_batch(run_id, params=some)
        now_ms = time.time_ns() // 1_000_000
        curve = [
            Metric(f"{measure}/{point.training}".replace(":", " "), value, now_ms, point.epoch)
            for point in training.curve
            for measure, value in _measures(point).items()
        ]
        for points in _slices(curve, _METRICS_A_CALL):
            self._client.log_batch(run_id, metrics=points)
        for path in sorted(training.directory.iterdir()):
            if path.is_file() and not path.name.startswith("."):
                self._client.log_artifact(run_id, str(path), "training")

    def _log_facts(self, run_id: str, manifest: ReleaseManifest) -> None:
        from mlflow.entities import Metric, RunTag  # noqa: PLC0415 - a package of an extra

        now_ms = time.time_ns() // 1_000_000
        metrics = [Metric(name, value, now_ms, 0) for name, value in manifest.metrics.items()]
        tags = [RunTag(name, text) for name, text in _tags(manifest).items()]
        self._client.log_batch(run_id, metrics=metrics, tags=tags)

    def _experiment(self) -> str:
        """Return the id of the experiment of all trainings of the model."""
        found = self._client.get_experiment_by_name(self._name)
        if found is not None:
            return str(found.experiment_id)
        return str(self._client.create_experiment(self._name, artifact_location=_artifact_location(self._uri)))

    def _version_of(self, digest: str) -> Any:
        from mlflow.exceptions import MlflowException  # noqa: PLC0415 - a package of an extra

        try:
            self._client.create_registered_model(self._name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        found = self._client.search_model_versions(f"name='{self._name}' and tags.{_MANIFEST_TAG} = '{digest}'")
        return next(iter(found), None)

    def _aliases(self) -> dict[Alias, int]:
        model = self._client.get_registered_model(self._name)
        known = {alias.value for alias in Alias}
        return {Alias(name): int(number) for name, number in model.aliases.items() if name in known}

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Explain what goes wrong between here and the registry."""
        try:
            yield
        except ImportError as error:
            raise UsageError("MLflow's registry needs its client: pip install 'insession[registry]'") from error
        except InsessionError:
            raise
        except Exception as error:  # of MLflow, SQLAlchemy, requests or a cloud's client, none of which we depend on
            if not _is_of_registry(error):
                raise
            line = str(error).strip().partition("\n")[0][:300]
            raise InsessionError(
                f"the registry {masked(self._uri)} refused or did not answer ({masked(line)}). Nothing that serves "
                "needs it; see that it runs and can be reached, then run this again"
            ) from error


def _client(uri: str) -> "MlflowClient":
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient  # noqa: PLC0415 - a package of an extra, and seconds

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _is_of_registry(error: Exception) -> bool:
    rooms = ("mlflow", "sqlalchemy", "requests", "urllib3", "botocore", "google", "azure")
    return isinstance(error, OSError) or type(error).__module__.partition(".")[0] in rooms


def _artifact_location(uri: str) -> str | None:
    """Return where artefacts lie: beside a SQLite file, as the server says elsewhere."""
    scheme, _, path = uri.partition(":///")
    return (Path(path).resolve().parent / "artifacts").as_uri() if scheme == "sqlite" else None


def _slices(values: Sequence[_Value], most: int) -> Iterator[Sequence[_Value]]:
    for begin in range(0, len(values), most):
        yield values[begin : begin + most]


def _tags(manifest: ReleaseManifest) -> dict[str, str]:
    """Return what run and version are found by."""
    return {
        _RELEASE_TAG: str(manifest.version),
        _DATA_TAG: manifest.training_data_sha256,
        "code_version": manifest.code_version,
    }


def _measures(point: CurvePoint) -> Mapping[str, float]:
    values = {"loss": point.loss, "recall_at_20": point.recall_at_20, "mrr_at_20": point.mrr_at_20}
    return {name: value for name, value in values.items() if value is not None}


def _registered(found: Any, aliases: Mapping[Alias, int]) -> RegisteredRelease:
    number = int(found.version)
    return RegisteredRelease(
        number=number,
        version=ModelVersion(int(found.tags.get(_RELEASE_TAG, 0))),
        aliases=tuple(alias for alias, named in aliases.items() if named == number),
        run_id=found.run_id or "",
        source=found.source,
        registered_at_ms=int(found.creation_timestamp),
        training_data_sha256=found.tags.get(_DATA_TAG, ""),
    )
