"""A model release on disk: its parts beside the SavedModel, a manifest that names every file, and their verification.

`models/session_gru/<version>/` is what TF Serving loads; the parts lie in `assets.extra/`, which it leaves alone.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import TypeVar
from zipfile import BadZipFile

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.errors import InsessionError
from schemas.ids import ItemId, ItemIndex, ModelVersion
from schemas.ranking import NO_INTENT, Candidates, IntentProbabilities, ModelInput
from schemas.records import CatalogItem, SessionEvent
from schemas.release import MANIFEST_PATH, RELEASE_FORMAT, ReleaseManifest
from session_model.blend import BlendWeights, blend
from session_model.categories import NO_CATEGORIES, Categories
from session_model.cold_items import ColdItems
from session_model.cold_start import ColdStart
from session_model.content import ContentIndex
from session_model.intent import IntentModel
from session_model.knn import SessionKnn
from session_model.popularity import Popularity
from session_model.prefix_features import FEATURE_NAMES, prefix_features
from session_model.reranker import FEATURE_NAMES as RERANKER_FEATURES
from session_model.reranker import Reranker, Voices, rerank
from session_model.transitions import Transitions
from session_model.vocabulary import Vocabulary

MODEL_NAME = "session_gru"
PARTS_DIRECTORY = "assets.extra"
VOCABULARY_FILE = "vocabulary.json"
KNN_FOLDER = "knn"
TRANSITIONS_FILE = "transitions.npz"
POPULARITY_FILE = "popularity.npy"
BLEND_FILE = "blend.json"
INTENT_FILE = "intent.json"
RERANKER_FILE = "reranker.json"
CONTENT_FILE = "content.npz"
CATEGORIES_FILE = "categories.json"
COLD_ITEMS_FOLDER = "cold_items"

_Part = TypeVar("_Part")


class ReleaseError(InsessionError):
    """A release is missing, damaged or foreign. Nothing of it is used: the worker stays with the one it has."""


@dataclass(frozen=True, slots=True)
class Parts:
    """All of a release but the SavedModel.

    intent: None where the training data had no times. reranker: None where the blend alone ranks better.
    cold_start: None where training saw no catalog. categories: none where it saw none of the items.
    """

    vocabulary: Vocabulary
    knn: SessionKnn
    transitions: Transitions
    popularity: Popularity
    blend_weights: BlendWeights
    intent: IntentModel | None
    reranker: Reranker | None = None
    cold_start: ColdStart | None = None
    categories: Categories = NO_CATEGORIES


@dataclass(frozen=True, slots=True)
class ReleaseFacts:
    """What only the training knows; the manifest's fields of the same names say what each means."""

    version: ModelVersion
    created_at: datetime
    code_version: str
    training_data_sha256: str
    max_length: int
    candidate_count: int
    input_event_types: tuple[str, ...]
    metrics: dict[str, float]


class Release:
    """One verified release without its SavedModel; implements serving.parts.ReleaseParts. Immutable: safe to share."""

    def __init__(self, directory: Path, manifest: ReleaseManifest, parts: Parts) -> None:
        self.directory = directory
        self.manifest = manifest
        self.parts = parts
        self._input_event_types = frozenset(manifest.input_event_types)
        self._popular = parts.popularity.candidates(manifest.candidate_count)

    @property
    def version(self) -> ModelVersion:
        """The version directory's number; named in every Predict."""
        return self.manifest.version

    @property
    def created_at(self) -> datetime:
        """When the release was made."""
        return self.manifest.created_at

    def encode(self, events: Sequence[SessionEvent]) -> ModelInput:
        """Turn a session's events, oldest first, into the model's input; `items` is empty when none is known.

        An item that training has not seen is read as the one most like it, if its content is known.
        """
        names = [
            event.item_id
            for event in events
            if event.item_id is not None and event.event_type in self._input_event_types
        ]
        read = [(index, is_known) for name in names for index, is_known in self._read(name)]
        read = read[-self.manifest.max_length :]
        is_by_content = bool(read) and not any(is_known for _, is_known in read)
        features = prefix_features(events, self.parts.categories)
        return ModelInput(np.array([index for index, _ in read], np.int32), features, is_by_content)

    def with_catalog(self, records: Iterable[CatalogItem]) -> "Release":
        """Give a release that also knows those `records` of which training knew neither clicks nor content.

        Itself where there is none. The records are read once and not kept.
        """
        cold, index_of = self.parts.cold_start, self.index_of
        new = [] if cold is None else [record for record in records if index_of(record.item_id) is None]
        if cold is None or not new:
            return self
        found = ColdItems.fit(cold.content, new, self.parts.vocabulary.index_of, self.parts.popularity.counts)
        categories = self.parts.categories.with_items(new)
        if not found.item_ids and categories is self.parts.categories:
            return self
        cold = replace(cold, items=cold.items.joined_by_new(found))
        parts = replace(self.parts, cold_start=cold, categories=categories)
        return Release(self.directory, self.manifest, parts)

    def index_of(self, item_id: ItemId) -> ItemIndex | None:
        """Give the index under which an item is ranked; None for one of which neither clicks nor content are known."""
        index = self.parts.vocabulary.index_of(item_id)
        if index is None and self.parts.cold_start is not None:
            return self.parts.cold_start.items.index_of(item_id)
        return index

    def popularity(self) -> Popularity:
        """Give the clicks in training of all that may be ranked."""
        cold = self.parts.cold_start
        return self.parts.popularity.with_unclicked(0 if cold is None else len(cold.items.item_ids))

    def _read(self, item_id: ItemId) -> Iterator[tuple[ItemIndex, bool]]:
        """Give the index by which an item of the prefix is read, if any, and whether it is the item's own."""
        index, cold = self.parts.vocabulary.index_of(item_id), self.parts.cold_start
        if index is not None:
            yield index, True
        elif cold is not None and (stand_in := cold.items.stand_in(item_id)) is not None:
            yield stand_in, False

    def neighbours(self, items: NDArray[np.int32]) -> Candidates:
        """Rank by session-kNN for the prefix `items` (length,) int32; may be empty."""
        return self.parts.knn.query(items, self.manifest.candidate_count)

    def blend(self, model: Candidates, neighbours: Candidates, items: NDArray[np.int32]) -> Candidates:
        """Join both rankings and the reminder of the prefix `items` (length,) int32, as was best in training.

        Items with no or few clicks are listed beside those that they are like.
        """
        parts, k = self.parts, self.manifest.candidate_count
        if parts.reranker is None:
            ranking = blend(model, neighbours, items, parts.blend_weights, k)
        else:
            ranking = rerank(parts.reranker, Voices(model, neighbours, items, parts.popularity), k)
        return self.with_cold_items(ranking)

    def with_cold_items(self, ranking: Candidates) -> Candidates:
        """List items with no or few clicks beside those that they are like."""
        cold = self.parts.cold_start
        return ranking if cold is None else cold.items.listed(ranking, self.manifest.candidate_count)

    def popular(self) -> Candidates:
        """Most popular items of the training data, best first."""
        return self._popular

    def intent(self, features: NDArray[np.float32]) -> IntentProbabilities:
        """Calibrated probabilities from the prefix features alone; what the training data could not teach is None."""
        return NO_INTENT if self.parts.intent is None else self.parts.intent.answer(features)

    def item_id(self, index: ItemIndex) -> ItemId:
        """Name the item at `index`; raises IndexError where there is none."""
        if self.parts.cold_start is not None and index > len(self.parts.vocabulary):
            return self.parts.cold_start.items.item_id(index)
        return self.parts.vocabulary.item_id(index)


def write_parts(directory: Path, parts: Parts, facts: ReleaseFacts) -> ReleaseManifest:
    """Write the parts into `assets.extra/` of `directory`, then the manifest with the SHA-256 of every file there.

    Call it last, on the directory's temporary name: the SavedModel and the warm-up requests are in the manifest too.
    """
    folder = directory / PARTS_DIRECTORY
    folder.mkdir(parents=True, exist_ok=True)
    (folder / VOCABULARY_FILE).write_bytes(msgspec.json.encode(parts.vocabulary.item_ids))
    parts.knn.save(folder / KNN_FOLDER)
    parts.transitions.save(folder / TRANSITIONS_FILE)
    parts.popularity.save(folder / POPULARITY_FILE)
    (folder / BLEND_FILE).write_bytes(msgspec.json.encode(parts.blend_weights))
    if parts.intent is not None:
        parts.intent.save(folder / INTENT_FILE)
    if parts.reranker is not None:
        (folder / RERANKER_FILE).write_bytes(msgspec.json.encode(parts.reranker))
    if parts.cold_start is not None:
        parts.cold_start.content.save(folder / CONTENT_FILE)
        parts.cold_start.items.save(folder / COLD_ITEMS_FOLDER)
    if parts.categories.names:
        parts.categories.save(folder / CATEGORIES_FILE)
    manifest = _manifest(directory, facts, has_intent=parts.intent is not None)
    content = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    (directory / MANIFEST_PATH).write_bytes(content)
    return manifest


def load_release(directory: Path) -> Release:
    """Verify every file of the manifest, then read the parts.

    Raises ReleaseError naming the file and the remedy, and OSError where the disk failed and a retry may succeed.
    """
    manifest = verify_release(directory)
    folder = directory / PARTS_DIRECTORY
    parts = Parts(
        vocabulary=_read(folder / VOCABULARY_FILE, _read_vocabulary),
        knn=_read(folder / KNN_FOLDER, SessionKnn.load),
        transitions=_read(folder / TRANSITIONS_FILE, Transitions.load),
        popularity=_read(folder / POPULARITY_FILE, Popularity.load),
        blend_weights=_read(folder / BLEND_FILE, _read_blend_weights),
        intent=_read(folder / INTENT_FILE, IntentModel.load) if manifest.has_intent else None,
        reranker=_read(folder / RERANKER_FILE, _read_reranker) if _is_part(manifest, RERANKER_FILE) else None,
    )
    if _is_part(manifest, CONTENT_FILE):
        parts = replace(parts, cold_start=_read_cold_start(folder, len(parts.vocabulary)))
    if _is_part(manifest, CATEGORIES_FILE):
        parts = replace(parts, categories=_read(folder / CATEGORIES_FILE, Categories.load))
    if not len(parts.vocabulary) == parts.knn.n_items == len(parts.popularity.counts) - 1:
        raise ReleaseError(f"release {directory}: vocabulary, kNN and popularity differ in size; train it again")
    return Release(directory, manifest, parts)


def verify_release(directory: Path) -> ReleaseManifest:
    """Check the format, the version and the SHA-256 of every file, in constant memory; raises ReleaseError."""
    manifest = _read_manifest(directory)
    if directory.name.isdecimal() and int(directory.name) != manifest.version:
        raise ReleaseError(
            f"release {directory} says it is version {manifest.version}; give the directory its own number back"
        )
    if tuple(manifest.feature_names) != FEATURE_NAMES:
        raise ReleaseError(
            f"release {directory} reads other prefix features than this insession makes; train it again, or run "
            f"insession {manifest.code_version}"
        )
    for name, digest in manifest.files.items():
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise ReleaseError(f"release {directory}: the manifest names {name!r}, outside the release; do not use it")
        if _sha256(directory / name) != digest:
            raise ReleaseError(f"release file {directory / name} differs from the manifest; copy the release again")
    return manifest


def newest_release(models_directory: Path) -> Path:
    """Give the directory of the highest version in `models_directory`/session_gru; names that are no number are not it.

    Raises ReleaseError where there is none.
    """
    folder = models_directory / MODEL_NAME
    versions = [path for path in folder.glob("*") if path.name.isdecimal() and path.is_dir()]
    if not versions:
        raise ReleaseError(f"no release in {folder}; make one with `insession train DATA --out {models_directory}`")
    return max(versions, key=lambda path: int(path.name))


def _manifest(directory: Path, facts: ReleaseFacts, *, has_intent: bool) -> ReleaseManifest:
    paths = sorted(path for path in directory.rglob("*") if path.is_file())
    names = {path.relative_to(directory).as_posix(): path for path in paths}
    return ReleaseManifest(
        format=RELEASE_FORMAT,
        model=MODEL_NAME,
        version=facts.version,
        created_at=facts.created_at,
        code_version=facts.code_version,
        training_data_sha256=facts.training_data_sha256,
        max_length=facts.max_length,
        candidate_count=facts.candidate_count,
        feature_names=list(FEATURE_NAMES),
        input_event_types=list(facts.input_event_types),
        has_intent=has_intent,
        metrics=facts.metrics,
        files={name: _sha256(path) for name, path in names.items() if name != MANIFEST_PATH},
    )


class _FormatOnly(msgspec.Struct):
    format: int


def _read_manifest(directory: Path) -> ReleaseManifest:
    path = directory / MANIFEST_PATH
    content = _read(path, Path.read_bytes)
    try:
        found = msgspec.json.decode(content, type=_FormatOnly).format
        if found != RELEASE_FORMAT:
            raise ReleaseError(
                f"release {directory} has format {found}, this insession reads {RELEASE_FORMAT}; "
                "train it again, or run the insession that made it"
            )
        return msgspec.json.decode(content, type=ReleaseManifest)
    except msgspec.DecodeError as error:
        raise ReleaseError(f"release manifest {path} cannot be read ({error}); copy the release again") from error


def _read(path: Path, reader: Callable[[Path], _Part]) -> _Part:
    try:
        return reader(path)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise ReleaseError(f"release file {path} is missing; copy the release again") from error
    except (EOFError, KeyError, ValueError, BadZipFile) as error:
        raise ReleaseError(f"release file {path} cannot be read ({error}); copy the release again") from error


def _read_vocabulary(path: Path) -> Vocabulary:
    return Vocabulary(msgspec.json.decode(path.read_bytes(), type=list[ItemId]))


def _read_blend_weights(path: Path) -> BlendWeights:
    return msgspec.json.decode(path.read_bytes(), type=BlendWeights)


def _read_reranker(path: Path) -> Reranker:
    reranker = msgspec.json.decode(path.read_bytes(), type=Reranker)
    if reranker.feature_names != RERANKER_FEATURES:
        raise ValueError("it weighs other features than this insession makes")
    reranker.scores(np.zeros((1, len(RERANKER_FEATURES))))  # raises ValueError where the weights do not fit together
    return reranker


def _read_cold_start(folder: Path, n_known: int) -> ColdStart:
    return ColdStart(
        _read(folder / CONTENT_FILE, ContentIndex.load),
        _read(folder / COLD_ITEMS_FOLDER, lambda path: ColdItems.load(path, n_known)),
    )


def _is_part(manifest: ReleaseManifest, name: str) -> bool:
    return f"{PARTS_DIRECTORY}/{name}" in manifest.files


def _sha256(path: Path) -> str:
    def digest(file_path: Path) -> str:
        with file_path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    return _read(path, digest)
