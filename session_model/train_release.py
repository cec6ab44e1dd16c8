"""From a file of clicks to a published release: the one place that knows the order of the steps."""

import hashlib
import math
import platform
import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from importlib import metadata
from pathlib import Path

import msgspec
import numpy as np

from schemas.errors import InsessionError
from schemas.events import EventType
from schemas.ids import ModelVersion
from schemas.records import CatalogItem
from session_model.blend import MODEL_ONLY, BlendWeights
from session_model.catalogs import published_catalog, read_catalog
from session_model.categories import learn_categories
from session_model.cold_items import Discounts
from session_model.cold_start import DEFAULT_DISCOUNTS, Described
from session_model.datasets import DataFormat, read_sessions
from session_model.export import DEFAULT_CANDIDATES, ServableParts, export_servable
from session_model.gru4rec_training import TrainedGru4Rec, train_gru4rec
from session_model.intent import fit_intent
from session_model.item_sequences import ItemSequences, item_sequences
from session_model.journal import Journal
from session_model.knn import SHORT_MEMORY, KnnSettings, SessionKnn
from session_model.popularity import Popularity
from session_model.prefix_features import FEATURE_NAMES
from session_model.presets import Preset, Recipe
from session_model.recipe_choice import Tried, try_recipes
from session_model.release import Parts
from session_model.release_files import ReleaseFacts, write_parts
from session_model.reranker import Reranker
from session_model.run_folder import RunConfig, RunFolder, open_run
from session_model.sessions import EVENT_TYPE_CODES, Sessions
from session_model.time_budget import TimeBudget
from session_model.training import GruTask, TrainedGru, train_gru
from session_model.training_curve import CurveRecorder
from session_model.training_progress import EpochReport, TrainingProgress, clicks_per_second
from session_model.transitions import Transitions
from session_model.tuning import SearchBounds, Tuning, TuningTask, tune
from session_model.versions import draft_version
from session_model.vocabulary import Vocabulary

DEFAULT_INPUT_EVENT_TYPES: tuple[EventType, ...] = ("view",)
RUNS = "runs"
"""Folder of the runs in the models directory; no model server looks into it."""
VALIDATION_SHARE = 0.1
MAX_VALIDATION_SESSIONS = 13_000
MIN_VALIDATION_SESSIONS = 20


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """What to train from and where to put it.

    input_event_types: events whose items the GRU and kNN read and predict.
    catalog: what the shop says of its items; None: what is published beside `data`, if anything.
    time_budget_seconds: see `TimeBudget`; it counts what earlier processes spent on the same run. None: no bound.
    is_fresh: begin anew, even where the same training was interrupted.
    loading_seconds: what was spent before; counts against the budget.
    """

    data: Path
    data_format: DataFormat
    models_dir: Path
    preset: Preset
    input_event_types: tuple[EventType, ...] = DEFAULT_INPUT_EVENT_TYPES
    time_budget_seconds: float | None = None
    catalog: Path | None = None
    is_fresh: bool = False
    loading_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class TrainResult:
    """The release that was published; `metrics` are those of its manifest.

    phase_seconds: by phase, those of earlier processes that worked on the run included.
    left_out: what there was no time for.
    """

    version: ModelVersion
    directory: Path
    run_directory: Path
    metrics: dict[str, float]
    reports: list[EpochReport]
    phase_seconds: dict[str, float]
    left_out: list[str]


@dataclass(frozen=True, slots=True)
class _Learned:
    """What the choice on the validation slice came to, and the model that is released."""

    trained: TrainedGru | TrainedGru4Rec
    knn_settings: KnnSettings
    blend_weights: BlendWeights
    metrics: dict[str, float]
    reranker: Reranker | None = None
    discounts: Discounts = DEFAULT_DISCOUNTS
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What is read of a file or folder; `digest` is its SHA-256, hex."""

    digest: str
    sessions: Sessions
    vocabulary: Vocabulary
    sequences: ItemSequences


def read_training_data(path: Path, data_format: DataFormat, input_event_types: Collection[str]) -> TrainingData:
    """Read and number the items; raises InsessionError where there is nothing to learn from."""
    sessions = read_sessions(path, data_format)
    vocabulary = popular_first(sessions, input_event_types)
    sequences = item_sequences(sessions, vocabulary, input_event_types)
    if not np.any(np.diff(sequences.starts) > 1):
        raise InsessionError(
            f"{path}: no session has two {' or '.join(input_event_types)} events; nothing to learn from"
        )
    return TrainingData(_sha256(path), sessions, vocabulary, sequences)


def train_release(request: TrainRequest, progress: TrainingProgress) -> TrainResult:
    """Read, choose on the latest sessions, train on all, publish; raises InsessionError where the data do not do.

    A run that was interrupted goes on where it stopped, and gives what it would have given undisturbed.
    """
    began = time.monotonic()
    data = read_training_data(request.data, request.data_format, request.input_event_types)
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
    catalog = Described(_catalog(request), data.vocabulary)
    learned = _learn(request, data, catalog, run, progress)
    popularity = Popularity.fit(sequences.items, n_items)
    categories = learn_categories(catalog.records, data.sessions)
    with run.phase("publishing"):
        parts = Parts(
            vocabulary=data.vocabulary,
            knn=SessionKnn.fit(sequences.starts, sequences.items, n_items, learned.knn_settings),
            transitions=Transitions.fit(sequences.starts, sequences.items, n_items),
            popularity=popularity,
            blend_weights=learned.blend_weights,
            reranker=learned.reranker,
            intent=fit_intent(data.sessions, categories.of_session),
            cold_start=catalog.cold_start(popularity.counts, learned.discounts),
            categories=categories.all,
        )
        speed = {
            "training_seconds": round(run.seconds, 1),
            "clicks_per_second": round(clicks_per_second(learned.trained.reports), 1),
        }
        version, directory = _publish(request, data.digest, replace(learned, metrics=learned.metrics | speed), parts)
    result = TrainResult(
        version=version,
        directory=directory,
        run_directory=run.directory,
        metrics=learned.metrics | speed,
        reports=learned.trained.reports,
        phase_seconds=dict(run.phase_seconds),
        left_out=list(learned.left_out),
    )
    run.finish(
        {
            "version": version,
            "directory": str(directory),
            "seconds": round(run.seconds, 1),
            "phase_seconds": {name: round(seconds, 1) for name, seconds in run.phase_seconds.items()},
            "left_out": result.left_out,
            "metrics": result.metrics,
        }
    )
    return result


def _catalog(request: TrainRequest) -> list[CatalogItem]:
    if request.catalog is not None:
        return read_catalog(request.catalog)
    return published_catalog(request.data, request.data_format)


def _config(request: TrainRequest, data: TrainingData) -> RunConfig:
    essence = {
        "data_sha256": data.digest,
        "data_format": request.data_format,
        "input_event_types": request.input_event_types,
        "catalog_sha256": None if request.catalog is None else _sha256(request.catalog),
        "preset": msgspec.to_builtins(request.preset),
        "versions": code_versions(),
    }
    return RunConfig(essence, {"data": str(request.data), "time_budget_seconds": request.time_budget_seconds})


def code_versions() -> dict[str, str]:
    """Name the versions of everything that weights depend on."""
    versions = {name: metadata.version(name) for name in ("insession", "tensorflow", "keras", "numpy")}
    return versions | {"python": platform.python_version()}


def _publish(request: TrainRequest, digest: str, learned: _Learned, parts: Parts) -> tuple[ModelVersion, Path]:
    gru = learned.trained.model
    with draft_version(request.models_dir) as draft:
        export_servable(ServableParts(gru, parts.intent, len(FEATURE_NAMES)), draft.directory)
        facts = ReleaseFacts(
            version=draft.version,
            created_at=datetime.now(UTC),
            code_version=metadata.version("insession"),
            training_data_sha256=digest,
            max_length=gru.settings.max_length,
            candidate_count=min(DEFAULT_CANDIDATES, gru.n_items),
            input_event_types=request.input_event_types,
            metrics=learned.metrics,
        )
        write_parts(draft.directory, parts, facts)
    return draft.version, draft.published


def popular_first(sessions: Sessions, input_event_types: Collection[str]) -> Vocabulary:
    """List the items of the input events by falling count: on equal scores the more popular one wins."""
    codes = [code for code, name in enumerate(EVENT_TYPE_CODES) if name in input_event_types]
    used = sessions.items[(sessions.items >= 0) & np.isin(sessions.event_types, codes)]
    counts = Counter(used.tolist())
    ranked = sorted(counts, key=lambda item: (-counts[item], item))
    return Vocabulary(sessions.item_ids[item] for item in ranked)


def _learn(
    request: TrainRequest, data: TrainingData, catalog: Described, run: RunFolder, progress: TrainingProgress
) -> _Learned:
    sequences, n_items, preset = data.sequences, len(data.vocabulary), request.preset
    bound = request.time_budget_seconds
    budget = TimeBudget(time.monotonic() - run.seconds, math.inf if bound is None else bound)
    if preset.gru4rec is not None:
        with run.phase("final training"):
            # It keeps no checkpoints: a run that goes on begins anew, with all of the time.
            task = GruTask(sequences, n_items, deadline=time.monotonic() + budget.end - budget.started)
            published = train_gru4rec(task, preset.gru4rec, progress)
        epochs = range(published.best_epoch + 1, preset.gru4rec.epochs + 1)
        missing = tuple(f"epoch {epoch} of GRU4Rec" for epoch in epochs)
        return _Learned(published, SHORT_MEMORY, MODEL_ONLY, {"epochs": published.best_epoch}, left_out=missing)
    everything = GruTask(sequences, n_items, phase="training on all sessions", checkpoints=run.checkpoints)
    earlier, later = hold_out(sequences)
    if later is None:
        recipe = preset.recipes[0]
        with run.phase("final training"):
            trained = train_gru(everything, recipe.gru, recipe.training, progress)
        return _Learned(trained, SHORT_MEMORY, MODEL_ONLY, {"epochs": trained.best_epoch})
    with run.phase("choosing"):
        choice = replace(everything, sequences=earlier, validation=later, deadline=budget.choice_deadline)
        tried = _tried(choice, preset.recipes, run.journal, progress)
    best = max(tried, key=lambda one: one.gain)
    chosen, seconds = preset.recipes.index(best.recipe), best.seconds * len(sequences) / len(earlier)
    with run.phase("tuning"):
        until = run.journal.once(
            "search until", float, lambda: budget.search_deadline(time.monotonic(), seconds) - budget.started
        )
        bounds = SearchBounds(run.journal, budget.started + until)
        make = partial(tune, TuningTask(best.trained.model, earlier, later, preset, catalog), progress, bounds)
        tuning = run.journal.once(f"tuning of recipe {chosen}", Tuning, make)
    metrics = tuning.metrics | {"epochs": best.trained.best_epoch, "recipe": chosen}
    reports, trained = [report for one in tried for report in one.trained.reports], best.trained
    left_out = [f"epochs of recipe {place}" for place, one in enumerate(tried, 1) if one.is_shortened]
    left_out += [f"recipe {place}" for place in range(len(tried) + 1, len(preset.recipes) + 1)]
    if run.journal.once("final training fits", bool, lambda: time.monotonic() + seconds <= budget.end):
        with run.phase("final training"):
            planned = best.trained.planned_epochs
            final = replace(everything, planned_epochs=planned, stop_after=best.trained.best_epoch)
            trained = train_gru(final, best.recipe.gru, best.recipe.training, progress)
        reports += trained.reports
    else:
        left_out.append("the final training on all sessions")
    trained = replace(trained, reports=reports)
    return _Learned(
        trained=trained,
        knn_settings=tuning.knn_settings,
        blend_weights=tuning.blend_weights,
        metrics=metrics,
        reranker=tuning.reranker,
        discounts=tuning.discounts,
        left_out=tuple(left_out),
    )


def _tried(choice: GruTask, recipes: Sequence[Recipe], journal: Journal, progress: TrainingProgress) -> Sequence[Tried]:
    """Try recipes in the time there is; a run that goes on takes those that were tried, however late it has become."""
    n_before = journal.once("recipes tried", int, lambda: 0)
    if n_before:
        return try_recipes(replace(choice, deadline=math.inf), recipes[:n_before], progress)
    tried = try_recipes(choice, recipes, progress)
    journal.note("recipes tried", len(tried))
    return tried


def hold_out(sequences: ItemSequences) -> tuple[ItemSequences, ItemSequences | None]:
    """Part the validation slice, the latest sessions, from the earlier ones.

    None where there are too few for one, or where one of both parts has no session of two items.
    """
    n_later = min(MAX_VALIDATION_SESSIONS, int(len(sequences) * VALIDATION_SHARE))
    if n_later < MIN_VALIDATION_SESSIONS:
        return sequences, None
    parts = split_later(sequences, n_later)
    return parts if all(np.any(np.diff(part.starts) > 1) for part in parts) else (sequences, None)


def split_later(sequences: ItemSequences, n_later: int) -> tuple[ItemSequences, ItemSequences]:
    """Part the sessions by time: all but the last `n_later`, and those."""
    cut = len(sequences) - n_later
    row = sequences.starts[cut]
    earlier = ItemSequences(sequences.starts[: cut + 1], sequences.items[:row])
    return earlier, ItemSequences(sequences.starts[cut:] - row, sequences.items[row:])


def _sha256(path: Path) -> str:
    """Hash a file, or the hashes of a folder's files in the order of their names."""
    if path.is_dir():
        hashes = [_sha256(file) for file in sorted(path.iterdir()) if file.is_file()]
        return hashlib.sha256("".join(hashes).encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
