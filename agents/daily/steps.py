"""What each step of a day does: a command of ours, what it came to, and whether that lets the day go on."""

import hashlib
import re
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from agents.artifact_bus import open_bus
from agents.batch.ingest_job import days_until, read_day
from agents.batch.parts import MANIFEST, Part
from agents.daily.children import Commands
from agents.daily.day_files import link_or_copy
from agents.daily.plan import key_of
from agents.daily.records import Result, StepName
from agents.daily.store import Damage, Store
from agents.daily.verdicts import is_on_trial, other_trial, taken_back, too_few, too_little
from agents.durations import duration_text
from agents.reports.check_files import CheckReports
from agents.settings import PipelineSettings, Settings
from schemas.bus import ArtifactBus, BusError, FolderUrl, parse_bus_url
from schemas.errors import InsessionError
from schemas.events import unix_ms
from schemas.ids import ModelVersion
from schemas.release_folder import ReleaseError, look_at_release
from schemas.secret import masked
from schemas.topic_url import SCHEME, parse_topic_url
from session_model.checks.admission import objection
from session_model.data.tfrecords import SCHEMA, FileFacts, TfrecordSchema
from session_model.release.files import newest_release
from session_model.release.rollout_log import RolloutLog
from session_model.release.versions import HIGHEST_VERSION_FILE, claim_above

BY: Final = "insession pipeline"
_LOOK_SECONDS: Final = 5.0

_Made = TypeVar("_Made")
Count = Callable[[int], int]
"""Counts the answers of a shadow since a time, Unix milliseconds."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """The time of day, which may go back, a clock that does not, and waiting in seconds."""

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step came to; the fields of `Result` of the same names say what each means. paths: files and folders."""

    outputs: dict[str, Any]
    paths: Iterable[Path] = ()
    message: str = ""
    failed: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """What a step works on. done: what the steps before came to. is_anew: though it was done."""

    day: date
    inputs: Mapping[str, Any]
    done: Mapping[StepName, Result]
    is_anew: bool = False


class Steps:
    """The steps of one deployment.

    config: the settings file, which the commands read, too. count: of answers, asked where a trial must have some.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        commands: Commands,
        *,
        config: Path | None = None,
        count: Count,
        clocks: Clocks,
    ) -> None:
        self._settings = settings
        self._store = store
        self._commands = commands
        self._config = [] if config is None else ["--config", str(config)]
        self._count = count
        self._clocks = clocks
        self._acts: Mapping[StepName, Callable[[Place, Path], Outcome]] = {
            "ingest": self._ingest,
            "sessions": self._sessions,
            "features": self._features,
            "tfrecords": self._tfrecords,
            "train": self._train,
            "evaluate": self._evaluate,
            "checks": self._checks,
            "register": self._register,
            "shadow": self._shadow,
            "promote": self._promote,
        }

    def act(self, step: StepName, place: Place, folder: Path) -> Outcome:
        """Do a step, or go on with it, in its folder. Raises InsessionError where it cannot be done, and OSError."""
        return self._acts[step](place, folder)

    def champion(self) -> ModelVersion | None:
        """Ask which release serves by a promotion; raises BusError and RolloutError."""
        rollout = self._rollouts().in_force()
        return None if rollout is None else rollout.champion

    @property
    def _pipeline(self) -> PipelineSettings:
        return self._settings.pipeline

    @property
    def _model(self) -> str:
        return self._settings.serving.model_name

    @property
    def _models(self) -> str:
        return str(parse_bus_url(self._pipeline.models))

    def _bus(self) -> ArtifactBus:
        if isinstance(url := parse_bus_url(self._pipeline.models), FolderUrl):
            url.path.mkdir(parents=True, exist_ok=True)
        return open_bus(self._models)

    def _rollouts(self) -> RolloutLog:
        return RolloutLog(self._bus(), self._model)

    def _ingest(self, place: Place, folder: Path) -> Outcome:
        settings = self._pipeline
        assert settings.source is not None
        clicks = self._store.clicks(settings.source, settings.source_format)
        arguments = ["ingest", settings.source, "--day", place.day.isoformat(), "--days", str(settings.history_days)]
        arguments += ["--format", settings.source_format, "--out", str(clicks)]
        arguments += ["--overwrite"] if place.is_anew else []
        self._commands([*arguments, *self._spark(), *self._config], folder / "log")
        names = [day.isoformat() for day in days_until(place.day, settings.history_days)]
        found = {name: manifest for name in names if (manifest := read_day(clicks / name)) is not None}
        outputs = {
            "days": {name: sha256_of_parts(manifest.parts) for name, manifest in found.items()},
            "records": sum(manifest.records for manifest in found.values()),
        }
        told = f"{outputs['records']:,} records of {len(found)} days"
        lost = sum(part.lost for manifest in found.values() for part in manifest.partitions.values())
        if lost:
            told += f"; {lost:,} were deleted by the topic's retention before they were read"
        paths = [clicks / name for name in found]
        return Outcome(outputs, paths, told, too_little(place.day, found, settings.min_sessions))

    def _sessions(self, place: Place, folder: Path) -> Outcome:
        settings = self._pipeline
        assert settings.source is not None
        days = self._store.clicks(settings.source, settings.source_format)
        source = folder / "clicks"
        shutil.rmtree(source, ignore_errors=True)
        source.mkdir()
        for name in place.done["ingest"].outputs["days"]:
            manifest = read_day(days / name)
            for part in () if manifest is None else manifest.parts:
                link_or_copy(days / name / part.name, source / f"{name}-{part.name}")
        arguments = ["sessions", str(source), "--out", str(folder / "out"), "--format", settings.source_format]
        arguments += ["--exact-ticks"] if settings.exact_ticks else []
        if settings.source.startswith(SCHEME):
            arguments += ["--topic", parse_topic_url(settings.source).topic]
        self._commands([*arguments, *self._spark(), *self._config, "--overwrite"], folder / "log")
        shutil.rmtree(source)
        made = _read(folder / "out" / MANIFEST, _SessionsMade)
        outputs = {"sha256": sha256_of_parts(made.parts), "sessions": made.sessions}
        return Outcome(outputs, [folder / "out"], f"{made.sessions:,} sessions of {made.records:,} records")

    def _features(self, place: Place, folder: Path) -> Outcome:
        sql = self._pipeline.sql
        arguments = ["features", str(self._out("sessions", place)), "--out", str(folder / "out")]
        arguments += [] if sql is None else ["--sql", str(sql)]
        self._commands([*arguments, *self._spark(), "--overwrite"], folder / "log")
        tables = _read(folder / "out" / MANIFEST, _FeaturesMade).tables
        outputs = {"rows": {name: table["rows"] for name, table in tables.items()}}
        return Outcome(
            outputs, [folder / "out"], ", ".join(f"{rows:,} {name}" for name, rows in outputs["rows"].items())
        )

    def _tfrecords(self, place: Place, folder: Path) -> Outcome:
        arguments = ["tfrecords", str(self._out("sessions", place)), "--out", str(folder / "out")]
        arguments += ["--split-at", f"{place.day.isoformat()}T00:00Z"]
        self._commands([*arguments, *self._spark(), "--overwrite"], folder / "log")
        schema = _read(folder / "out" / SCHEMA, TfrecordSchema)
        train, test = schema.splits["train"], schema.splits["test"]
        outputs = {
            "train_sha256": sha256_of_parts(train.files, schema.vocabulary_sha256),
            "test_sha256": sha256_of_parts(test.files, schema.vocabulary_sha256),
            "train_sessions": train.sessions,
            "test_sessions": test.sessions,
        }
        told = f"{train.sessions:,} sessions to learn from, {test.sessions:,} of the day as the test"
        return Outcome(outputs, [folder / "out"], told, too_few(place.day, test.sessions, self._pipeline.min_sessions))

    def _out(self, step: StepName, place: Place) -> Path:
        return self._store.folder(step, key_of(step, place.done[step].inputs)) / "out"

    def _spark(self) -> list[str]:
        conf = [text for one in self._pipeline.spark_conf for text in ("--spark-conf", one)]
        return ["--master", self._pipeline.master, *conf]

    def _train(self, place: Place, folder: Path) -> Outcome:
        staging = folder / "models"
        release = whole_release(staging / self._model)
        if release is None:
            claim_above(staging / self._model, self._highest_version())
            self._commands(self._train_arguments(place, staging), folder / "log")
            release = newest_release(staging / self._model)
        look = look_at_release(release)
        manifest = look.manifest
        outputs = {
            "version": manifest.version,
            "release": release.relative_to(self._store.work).as_posix(),
            "release_sha256": look.digest,
            "metrics": manifest.metrics,
            "data_until": None if manifest.training_data_until is None else manifest.training_data_until.isoformat(),
        }
        recall = manifest.metrics.get("validation_blend_recall_at_20")
        told = f"version {manifest.version}" + ("" if recall is None else f", recall@20 {recall:.3f} when trained")
        return Outcome(outputs, [release], told)

    def _train_arguments(self, place: Place, staging: Path) -> list[str]:
        settings = self._pipeline
        arguments = [
            "train",
            str(self._out("tfrecords", place) / "train"),
            "--format",
            "tfrecord",
            "--out",
            str(staging),
        ]
        arguments += ["--preset", settings.preset, "--time-budget", duration_text(settings.time_budget)]
        arguments += ["--workers", str(settings.workers), "--max-restarts", str(settings.max_restarts)]
        for event_type in settings.input_events:
            arguments += ["--input-event", event_type]
        given = {
            "--epochs": settings.epochs,
            "--catalog": settings.catalog,
            "--item-vectors": settings.item_vectors,
            "--sign-key": settings.sign_key,
        }
        arguments += [text for name, value in given.items() if value is not None for text in (name, str(value))]
        return [*arguments, *self._config]

    def _highest_version(self) -> int:
        """Return the highest number that a release or a claim on the Bus has, or another training here."""
        pattern = re.compile(rf"{re.escape(self._model)}/(?:\.claims/|checks/)?([1-9][0-9]{{0,18}})(?:[/.].*)?")
        taken = [0]
        taken += [int(match[1]) for found in self._bus().find(self._model) if (match := pattern.fullmatch(found.name))]
        for path in self._store.work.glob(f"train/*/models/{self._model}/{HIGHEST_VERSION_FILE}"):
            with suppress(ValueError):
                taken.append(int(path.read_text()))
        return max(taken)

    def _evaluate(self, place: Place, folder: Path) -> Outcome:
        files = {form: folder / f"evaluation.{form}" for form in ("html", "markdown")}
        arguments = ["evaluate", str(self._release(place)), str(self._out("tfrecords", place) / "test")]
        arguments += ["--format", "tfrecord", *self._catalog(), *self._config]
        arguments += [text for form, path in files.items() for text in (f"--{form}", str(path))]
        self._commands(arguments, folder / "log")
        page = files["html"].relative_to(self._store.work).as_posix()
        return Outcome({"page": page}, files.values(), f"see {files['html']}")

    def _checks(self, place: Place, folder: Path) -> Outcome:
        version, against = self._version(place), place.inputs["against"]
        arguments = ["release", "check", str(self._release(place)), str(self._out("tfrecords", place) / "test")]
        arguments += ["--format", "tfrecord", "--out", self._models, "--model-name", self._model]
        arguments += [] if against is None else ["--against", f"{self._models}/{self._model}/{against}"]
        arguments += [*self._key(), *self._seen_live(place.day)]
        reports = CheckReports(self._bus(), self._model)
        before = reports.of(version)
        try:
            self._commands([*arguments, *self._catalog(), *self._config], folder / "log")
        except InsessionError:
            report = reports.of(version)
            if report is None or report == before:  # it could not be made
                raise
        report = reports.of(version)
        page = f"{self._models}/{self._model}/checks/{version}.html"
        why = objection(report, version, against)
        failed = [] if report is None else list(report.failed)
        outputs = {"failed": failed, "page": page}
        if why is not None:
            stays = "nothing is published" if against is None else f"champion {against} goes on serving"
            return Outcome(outputs, (), failed=f"{why}; {stays}; see {page}")
        return Outcome(outputs, (), f"passed; see {page}")

    def _register(self, place: Place, folder: Path) -> Outcome:
        release, settings = str(self._release(place)), self._pipeline
        common = ["--model-name", self._model, *self._key()]
        self._commands(["release", "publish", release, "--out", self._models, *common], folder / "log")
        if settings.registry is not None:
            registered = ["release", "register", release, "--registry", settings.registry, "--candidate"]
            self._commands([*registered, *common], folder / "log")
        where = self._models if settings.registry is None else f"{self._models} and {masked(settings.registry)}"
        return Outcome({"url": f"{self._models}/{self._model}/{self._version(place)}"}, (), f"in {where}")

    def _shadow(self, place: Place, folder: Path) -> Outcome:
        version, least = self._version(place), int(place.inputs["answers"])
        rollouts = self._rollouts()
        rollout = rollouts.in_force()
        if (why := taken_back(rollout, version)) is not None:
            return Outcome({}, (), failed=why)
        if not is_on_trial(rollout, version):
            if (why := other_trial(rollout)) is not None:
                raise InsessionError(why)
            self._commands(["release", "shadow", str(version), *self._change(place)], folder / "log")
        began = _trial_began(rollouts, version) or self._clocks.now()
        if (why := self._wait(rollouts, version, began, float(place.inputs["seconds"]))) is not None:
            return Outcome({}, (), failed=why)
        n_answers = self._count(unix_ms(began)) if least else 0
        if n_answers < least:
            raise InsessionError(
                f"version {version} has given {n_answers:,} answers as a shadow, {least:,} are asked for "
                "(pipeline.shadow_answers); are workers up, and do they see its release? It stays on trial, the "
                "champion serves, and the same command looks again"
            )
        return Outcome({"answers": n_answers}, (), f"{n_answers:,} answers, and nobody took it back")

    def _wait(self, rollouts: RolloutLog, version: ModelVersion, began: datetime, seconds: float) -> str | None:
        """Wait for the end of a trial; return why it was taken back, if it was.

        A Bus that does not answer meanwhile is asked again. Raises InsessionError where another trial took its place,
        and at the end BusError.
        """
        elapsed = max(0.0, (self._clocks.now() - began).total_seconds())  # the clock may have gone back
        end = self._clocks.monotonic() + max(0.0, seconds - elapsed)
        while True:
            left = end - self._clocks.monotonic()
            with nullcontext() if left <= 0 else suppress(BusError):
                rollout = rollouts.in_force()
                if (why := taken_back(rollout, version)) is not None:
                    return why
                if not is_on_trial(rollout, version):
                    raise InsessionError(f"the trial of version {version} gave way to another; run this again")
            if left <= 0:
                return None
            self._clocks.sleep(min(_LOOK_SECONDS, left))

    def _promote(self, place: Place, folder: Path) -> Outcome:
        version, rollouts = self._version(place), self._rollouts()
        rollout = rollouts.in_force()
        why = taken_back(rollout, version)
        if why is not None:
            return Outcome({}, (), failed=why)
        if rollout is None or rollout.champion != version:  # else it was killed over its last write
            self._commands(["release", "promote", str(version), *self._change(place)], folder / "log")
        return Outcome({"version": version}, (), f"version {version} is the champion")

    def _change(self, place: Place) -> list[str]:
        registry = self._pipeline.registry
        common = ["--models", self._models, "--model-name", self._model, "--by", BY]
        common += ["--reason", f"clicks of {place.day.isoformat()}: checks passed"]
        return common if registry is None else [*common, "--registry", registry]

    def _release(self, place: Place) -> Path:
        return self._store.work / str(place.done["train"].outputs["release"])

    def _version(self, place: Place) -> ModelVersion:
        return ModelVersion(place.done["train"].outputs["version"])

    def _seen_live(self, day: date) -> list[str]:
        """Name the records of the workers: outcomes of the week that the day ends, recommendations of the day."""
        stop, settings = day + timedelta(days=1), self._pipeline
        since = {
            "--outcomes": (settings.outcomes, stop - timedelta(weeks=1)),
            "--recommendations": (settings.recommendations, day),
        }
        return [
            text
            for option, (topic, first) in since.items()
            if topic is not None
            for text in (option, f"{topic}?from={first}T00:00Z&to={stop}T00:00Z")
        ]

    def _key(self) -> list[str]:
        key = self._pipeline.sign_key
        return [] if key is None else ["--key-file", str(key)]

    def _catalog(self) -> list[str]:
        catalog = self._pipeline.catalog
        return [] if catalog is None else ["--catalog", catalog]


class _SessionsMade(msgspec.Struct):
    sessions: int
    records: int
    parts: list[Part]


class _FeaturesMade(msgspec.Struct):
    tables: dict[str, dict[str, Any]]


def _read(path: Path, kind: type[_Made]) -> _Made:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (FileNotFoundError, msgspec.DecodeError) as error:
        raise InsessionError(
            f"{path} cannot be read ({error}); run this again, with --from the step that makes it"
        ) from error


def sha256_of_parts(parts: Iterable[Part | FileFacts], *more: str) -> str:
    """Hash what files hold, by their own hashes, whatever their names; more: hashes of what belongs to it."""
    return hashlib.sha256(" ".join([*(part.sha256 for part in parts), *more]).encode()).hexdigest()


def whole_release(folder: Path) -> Path | None:
    """Return the newest release in the folder of a model, if it is whole; one that is not is removed."""
    try:
        release = newest_release(folder)
    except ReleaseError:
        return None
    if release_damage(release) is None:
        return release
    shutil.rmtree(release)
    return None


def damage_below(work: Path) -> Damage:
    """Return what says of a result why its release is not as it was made, if it has one."""

    def damage(result: Result) -> str | None:
        return release_damage(work / str(result.outputs["release"])) if result.step == "train" else None

    return damage


def release_damage(release: Path) -> str | None:
    """Say what of a release is not as it was made."""
    try:
        look_at_release(release).verify()
    except ReleaseError as error:
        return str(error)
    return None


def _trial_began(rollouts: RolloutLog, version: ModelVersion) -> datetime | None:
    """Return since when a release is on trial; later records may be of other changes."""
    began = None
    for record in rollouts.records(newest_first=True):
        if not is_on_trial(record, version):
            break
        began = record.changed_at
    return began
