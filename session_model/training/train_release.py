"""From a file of clicks to a published release: the one place that knows the order of the steps."""

import math
import platform
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import msgspec

from schemas.events import EventType, from_unix_ms
from schemas.ids import ModelVersion
from schemas.records import CatalogItem
from schemas.release import TrainingSource
from schemas.secret import Secret
from schemas.servable import DEFAULT_MODEL_NAME
from session_model.data.catalogs import published_catalog, read_catalog
from session_model.data.formats import AS_IT_IS, DataFormat, ReadOptions
from session_model.data.item_sequences import ItemSequences
from session_model.data.prefixes import draw_prefixes
from session_model.data.sessions import Sessions
from session_model.data.training_data import TrainingData, read_training_data, sha256_of
from session_model.data.training_overlap import TrainedSessions
from session_model.data.vector_files import read_vectors, vectors_sha256
from session_model.fitting.categories import learn_categories
from session_model.fitting.cold_start import Described
from session_model.fitting.content_voice import fit_voice
from session_model.fitting.intent import fit_intent
from session_model.fitting.item_search import RECALL_SESSIONS, fit_item_search
from session_model.fitting.item_vectors import fit_item_vectors
from session_model.intent.prefix_features import FEATURE_NAMES
from session_model.networks.export import DEFAULT_CANDIDATES, ServableParts, export_servable
from session_model.networks.next_item import NextItemNetwork
from session_model.networks.trainer import Effort, OneProcess, Trainer
from session_model.networks.training_task import DEFAULT_CHECKPOINT_EVERY_SECONDS
from session_model.ranking.item_search import ItemSearch
from session_model.ranking.knn import SessionKnn
from session_model.ranking.popularity import Popularity
from session_model.ranking.transitions import Transitions
from session_model.release.copies import load_release
from session_model.release.files import ReleaseFacts, write_parts
from session_model.release.release import Parts
from session_model.release.versions import draft_version
from session_model.runs.curve import CurveRecorder
from session_model.runs.folder import RUNS, RunConfig, RunFolder, open_run
from session_model.runs.progress import EpochReport, TrainingProgress, clicks_per_second
from session_model.runs.time_budget import TimeBudget
from session_model.training.presets import Preset
from session_model.training.steps import Learned, Means, learn

DEFAULT_INPUT_EVENT_TYPES: tuple[EventType, ...] = ("view",)


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """What to train from and where to put it.

    options: what else `data` is read by.
    input_event_types: events whose items network and kNN read and predict.
    catalog: what the shop says of its items; None: what is published beside `data`, if anything.
    item_vectors: of the shop's own model of texts or pictures; see `read_vectors`.
    time_budget_seconds: see `TimeBudget`; it counts what earlier processes spent on the same run. None: no bound.
    is_fresh: begin anew, even where the same training was interrupted.
    loading_seconds: what was spent before; counts against the budget.
    sign_key: signs the release; None: it is not signed.
    trainer: who trains the networks; their weights depend on how many workers it has, and on nothing else of it.
    checkpoint_every_seconds: within an epoch; changes no weight.
    training_source: where `data` was copied from, for the manifest.
    """

    data: Path
    data_format: DataFormat
    models_dir: Path
    preset: Preset
    options: ReadOptions = AS_IT_IS
    input_event_types: tuple[EventType, ...] = DEFAULT_INPUT_EVENT_TYPES
    time_budget_seconds: float | None = None
    catalog: Path | None = None
    item_vectors: Path | None = None
    is_fresh: bool = False
    loading_seconds: float = 0.0
    sign_key: Secret | None = None
    model_name: str = DEFAULT_MODEL_NAME
    trainer: Trainer = field(default_factory=OneProcess)
    checkpoint_every_seconds: float = DEFAULT_CHECKPOINT_EVERY_SECONDS
    training_source: TrainingSource | None = None


@dataclass(frozen=True, slots=True)
class TrainResult:
    """The release that was published; `metrics` are those of its manifest.

    phase_seconds: by phase, those of earlier processes that worked on the run included.
    left_out: what there was no time for. effort: of the workers, in this process alone.
    """

    version: ModelVersion
    directory: Path
    run_directory: Path
    metrics: dict[str, float]
    reports: list[EpochReport]
    phase_seconds: dict[str, float]
    left_out: list[str]
    effort: Effort
    training_source: TrainingSource | None = None


def train_release(request: TrainRequest, progress: TrainingProgress) -> TrainResult:
    """Read, choose on the latest sessions, train on all, publish; raises InsessionError where the data do not do.

    A run that was interrupted goes on where it stopped, and gives what it would have given undisturbed.
    """
    began = time.monotonic()
    data = read_training_data(request.data, request.data_format, request.input_event_types, request.options)
    with open_run(request.models_dir / RUNS, _config(request, data), is_fresh=request.is_fresh) as run:
        if run.is_resumed:
            progress.noted(
                f"goes on with run {run.number}, which was interrupted after {run.seconds:.0f} s; --fresh begins anew"
            )
        run.spent("loading", request.loading_seconds)
        run.spent("reading", time.monotonic() - began)
        try:
            return _in_run(request, data, run, CurveRecorder(progress, run.drew))
        finally:
            run.draw()


def _in_run(request: TrainRequest, data: TrainingData, run: RunFolder, progress: TrainingProgress) -> TrainResult:
    sequences, n_items = data.sequences, len(data.vocabulary)
    with run.phase("reading"):
        catalog = _described(request, data, progress)
    bound = request.time_budget_seconds
    budget = TimeBudget(time.monotonic() - run.seconds, math.inf if bound is None else bound)
    means = Means(budget, request.trainer, request.checkpoint_every_seconds)
    learned = learn(data, request.preset, means, catalog, run, progress)
    popularity = Popularity.fit(sequences.items, n_items)
    catalog = catalog.with_vector_share(learned.vector_share)
    with run.phase("publishing"):
        categories = learn_categories(catalog.records, data.sessions)
        parts = Parts(
            vocabulary=data.vocabulary,
            knn=SessionKnn.fit(sequences.starts, sequences.items, n_items, learned.knn_settings),
            transitions=Transitions.fit(sequences.starts, sequences.items, n_items),
            popularity=popularity,
            blend_weights=learned.blend_weights,
            reranker=learned.reranker,
            intent=fit_intent(data.sessions, categories.of_session),
            cold_start=catalog.cold_start(popularity.counts, learned.discounts),
            categories=categories.for_serving,
            content_voice=fit_voice(catalog, popularity.counts) if learned.blend_weights.content > 0 else None,
            item_search=_item_search(learned.trained.model, sequences, progress),
        )
        metrics = learned.metrics | {
            "training_seconds": round(run.seconds, 1),
            "clicks_per_second": round(clicks_per_second(learned.trained.reports), 1),
        }
        if parts.item_search is not None:
            metrics["search_recall_at_100"] = parts.item_search.settings.recall
        version, directory = _publish(request, data, replace(learned, metrics=metrics), parts)
    result = TrainResult(
        version=version,
        directory=directory,
        run_directory=run.directory,
        metrics=metrics,
        reports=learned.trained.reports,
        phase_seconds=dict(run.phase_seconds),
        left_out=list(learned.left_out),
        effort=request.trainer.effort,
        training_source=request.training_source,
    )
    run.finish(
        {
            "version": version,
            "directory": str(directory),
            "seconds": round(run.seconds, 1),
            "phase_seconds": {name: round(seconds, 1) for name, seconds in run.phase_seconds.items()},
            "left_out": result.left_out,
            "metrics": result.metrics,
            "effort": msgspec.to_builtins(result.effort),
        }
    )
    return result


def _described(request: TrainRequest, data: TrainingData, progress: TrainingProgress) -> Described:
    records = _catalog(request)
    if request.item_vectors is None:
        return Described(records, data.vocabulary)
    ids = (record.item_id for record in records)
    vectors = fit_item_vectors(read_vectors(request.item_vectors), data.vocabulary, ids, progress)
    return Described(records, data.vocabulary, vectors)


def _catalog(request: TrainRequest) -> list[CatalogItem]:
    if request.catalog is not None:
        return read_catalog(request.catalog, request.options.catalog_mapping)
    return published_catalog(request.data, request.data_format)


def _config(request: TrainRequest, data: TrainingData) -> RunConfig:
    essence = {
        "data_sha256": data.digest,
        "data_format": request.data_format,
        "read_options": msgspec.to_builtins(request.options),
        "input_event_types": request.input_event_types,
        "catalog_sha256": None if request.catalog is None else sha256_of(request.catalog),
        "item_vectors_sha256": request.item_vectors and vectors_sha256(request.item_vectors),
        "preset": msgspec.to_builtins(request.preset),
        "workers": request.trainer.effort.workers,
        "versions": code_versions(),
    }
    return RunConfig(essence, {"data": str(request.data), "time_budget_seconds": request.time_budget_seconds})


def code_versions() -> dict[str, str]:
    """Return the versions of everything that weights depend on."""
    versions = {name: metadata.version(name) for name in ("insession", "tensorflow", "keras", "numpy")}
    return versions | {"python": platform.python_version()}


def _item_search(network: NextItemNetwork, sequences: ItemSequences, progress: TrainingProgress) -> ItemSearch | None:
    drawn = draw_prefixes(sequences, network.max_length, RECALL_SESSIONS)
    return fit_item_search(network, [prefix.items for prefix in drawn], progress)


def _latest_event(sessions: Sessions) -> datetime | None:
    return None if sessions.times_ms is None else from_unix_ms(int(sessions.times_ms.max()))


def _publish(request: TrainRequest, data: TrainingData, learned: Learned, parts: Parts) -> tuple[ModelVersion, Path]:
    network, search = learned.trained.model, parts.item_search
    servable = ServableParts(
        network, parts.intent, len(FEATURE_NAMES), model_name=request.model_name, is_searched=search is not None
    )
    with draft_version(request.models_dir / request.model_name) as draft:
        export_servable(servable, draft.directory)
        facts = ReleaseFacts(
            version=draft.version,
            created_at=datetime.now(UTC),
            code_version=metadata.version("insession"),
            training_data_sha256=data.digest,
            max_length=network.max_length,
            candidate_count=min(DEFAULT_CANDIDATES, network.n_items),
            input_event_types=request.input_event_types,
            metrics=learned.metrics,
            sessions=TrainedSessions.fit(data.sessions, request.input_event_types),
            model=request.model_name,
            training_source=request.training_source,
            training_data_until=_latest_event(data.sessions),
        )
        write_parts(draft.directory, parts, facts, request.sign_key)
        load_release(draft.directory, request.sign_key)  # what no worker can read is not published
    return draft.version, draft.published
