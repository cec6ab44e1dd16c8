"""From a file of clicks to a published release: the one place that knows the order of the steps."""

import hashlib
import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from schemas.errors import InsessionError
from schemas.events import EventType
from schemas.ids import ModelVersion
from schemas.records import CatalogItem
from session_model.blend import MODEL_ONLY, BlendWeights
from session_model.catalogs import published_catalog, read_catalog
from session_model.cold_items import Discounts
from session_model.cold_start import DEFAULT_DISCOUNTS, Described
from session_model.datasets import DataFormat, read_sessions
from session_model.export import DEFAULT_CANDIDATES, ServableParts, export_servable
from session_model.intent import fit_intent
from session_model.item_sequences import ItemSequences, item_sequences
from session_model.knn import SHORT_MEMORY, KnnSettings, SessionKnn
from session_model.popularity import Popularity
from session_model.prefix_features import FEATURE_NAMES
from session_model.presets import Preset, Recipe
from session_model.release import Parts, ReleaseFacts, write_parts
from session_model.reranker import Reranker
from session_model.sessions import EVENT_TYPE_CODES, Sessions
from session_model.training import GruTask, TrainedGru, train_gru
from session_model.training_progress import EpochReport, TrainingProgress
from session_model.transitions import Transitions
from session_model.tuning import Tuning, tune
from session_model.versions import draft_version
from session_model.vocabulary import Vocabulary

DEFAULT_INPUT_EVENT_TYPES: tuple[EventType, ...] = ("view",)
VALIDATION_SHARE = 0.1
MAX_VALIDATION_SESSIONS = 13_000
MIN_VALIDATION_SESSIONS = 20


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """What to train from and where to put it.

    input_event_types: events whose items the GRU and kNN read and predict.
    catalog: what the shop says of its items; None: what is published beside `data`, if anything.
    time_budget_seconds: half of it bounds the choice of epochs, and the final training on all sessions is left out
    where it would not fit; looked at between epochs, so an epoch can overrun it. None: no bound.
    """

    data: Path
    data_format: DataFormat
    models_dir: Path
    preset: Preset
    input_event_types: tuple[EventType, ...] = DEFAULT_INPUT_EVENT_TYPES
    time_budget_seconds: float | None = None
    catalog: Path | None = None


@dataclass(frozen=True, slots=True)
class TrainResult:
    """The release that was published; `metrics` are those of its manifest."""

    version: ModelVersion
    directory: Path
    metrics: dict[str, float]
    reports: list[EpochReport]


@dataclass(frozen=True, slots=True)
class _Learned:
    """What the choice on the validation slice came to, and the model that is released."""

    trained: TrainedGru
    knn_settings: KnnSettings
    blend_weights: BlendWeights
    metrics: dict[str, float]
    reranker: Reranker | None = None
    discounts: Discounts = DEFAULT_DISCOUNTS


def train_release(request: TrainRequest, progress: TrainingProgress) -> TrainResult:
    """Read, choose on the latest sessions, train on all, publish; raises InsessionError where the data do not do."""
    started = time.monotonic()
    sessions = read_sessions(request.data, request.data_format)
    digest = _sha256(request.data)
    vocabulary = popular_first(sessions, request.input_event_types)
    sequences = item_sequences(sessions, vocabulary, request.input_event_types)
    if not np.any(np.diff(sequences.starts) > 1):
        raise InsessionError(
            f"{request.data}: no session has two {' or '.join(request.input_event_types)} events; nothing to learn from"
        )
    catalog = Described(_catalog(request), vocabulary)
    learned = _learn(request, sequences, catalog, started, progress)
    popularity = Popularity.fit(sequences.items, len(vocabulary))
    parts = Parts(
        vocabulary=vocabulary,
        knn=SessionKnn.fit(sequences.starts, sequences.items, len(vocabulary), learned.knn_settings),
        transitions=Transitions.fit(sequences.starts, sequences.items, len(vocabulary)),
        popularity=popularity,
        blend_weights=learned.blend_weights,
        reranker=learned.reranker,
        intent=fit_intent(sessions),
        cold_start=catalog.cold_start(popularity.counts, learned.discounts),
    )
    metrics = learned.metrics | {"training_seconds": round(time.monotonic() - started, 1)}
    return _publish(request, replace(learned, metrics=metrics), parts, digest)


def _catalog(request: TrainRequest) -> list[CatalogItem]:
    if request.catalog is not None:
        return read_catalog(request.catalog)
    return published_catalog(request.data, request.data_format)


def _publish(request: TrainRequest, learned: _Learned, parts: Parts, digest: str) -> TrainResult:
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
    return TrainResult(draft.version, draft.published, learned.metrics, learned.trained.reports)


def popular_first(sessions: Sessions, input_event_types: Collection[str]) -> Vocabulary:
    """List the items of the input events by falling count: on equal scores the more popular one wins."""
    codes = [code for code, name in enumerate(EVENT_TYPE_CODES) if name in input_event_types]
    used = sessions.items[(sessions.items >= 0) & np.isin(sessions.event_types, codes)]
    counts = Counter(used.tolist())
    ranked = sorted(counts, key=lambda item: (-counts[item], item))
    return Vocabulary(sessions.item_ids[item] for item in ranked)


def _learn(
    request: TrainRequest, sequences: ItemSequences, catalog: Described, started: float, progress: TrainingProgress
) -> _Learned:
    preset, n_items = request.preset, len(catalog.vocabulary)
    n_later = min(MAX_VALIDATION_SESSIONS, int(len(sequences) * VALIDATION_SHARE))
    if n_later < MIN_VALIDATION_SESSIONS:
        recipe = preset.recipes[0]
        trained = train_gru(GruTask(sequences, n_items), recipe.gru, recipe.training, progress)
        return _Learned(trained, SHORT_MEMORY, MODEL_ONLY, {"epochs": trained.best_epoch})
    earlier, later = split_later(sequences, n_later)
    budget = float("inf") if request.time_budget_seconds is None else request.time_budget_seconds
    choice = GruTask(earlier, n_items, validation=later, deadline=started + budget / 2)
    tried = _try_recipes(choice, preset.recipes, progress)
    recipe, trained, seconds = max(tried, key=lambda one: one.gain)
    tuning: Tuning = tune(trained.model, earlier, later, preset, progress)
    metrics = tuning.metrics | {"epochs": trained.best_epoch, "recipe": preset.recipes.index(recipe)}
    reports = [report for one in tried for report in one.trained.reports]
    if time.monotonic() + seconds <= started + budget:
        final = GruTask(sequences, n_items, stop_after=trained.best_epoch)
        trained = train_gru(final, recipe.gru, recipe.training, progress)
        reports += trained.reports
    trained = replace(trained, reports=reports)
    discounts = DEFAULT_DISCOUNTS
    if catalog.records:
        earlier_counts = Popularity.fit(earlier.items[: earlier.starts[-1]], n_items).counts
        discounts = catalog.choose_discounts(earlier_counts, tuning.ranked(), progress)
        metrics |= {f"discount_{name}": value for name, value in msgspec.structs.asdict(discounts).items()}
    return _Learned(trained, tuning.knn_settings, tuning.blend_weights, metrics, tuning.reranker, discounts)


class _Tried(NamedTuple):
    """A recipe, the model it gave without the validation slice, and the seconds that its best epochs took."""

    recipe: Recipe
    trained: TrainedGru
    seconds: float

    @property
    def gain(self) -> float:
        """Recall@20 + MRR@20 on the validation slice."""
        best = self.trained.reports[self.trained.best_epoch - 1]
        return (best.recall_at_20 or 0.0) + (best.mrr_at_20 or 0.0)


def _try_recipes(choice: GruTask, recipes: Sequence[Recipe], progress: TrainingProgress) -> list[_Tried]:
    """Train by each recipe, as long as there is time for another one."""
    tried = list[_Tried]()
    for recipe in recipes:
        begun = time.monotonic()
        if tried and begun + tried[-1].seconds > choice.deadline:
            break
        trained = train_gru(choice, recipe.gru, recipe.training, progress)
        seconds = (time.monotonic() - begun) * trained.best_epoch / len(trained.reports)
        tried.append(_Tried(recipe, trained, seconds))
    return tried


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
