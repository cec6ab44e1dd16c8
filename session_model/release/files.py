"""A model release on disk: its parts beside the SavedModel, a manifest that names every file, and their verification.

`models/session_gru/<version>/` is what TF Serving loads; the parts lie in `assets.extra/`, which it leaves alone.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TypeVar
from zipfile import BadZipFile

import msgspec
import numpy as np

from schemas.ids import ItemId, ModelVersion
from schemas.release import MANIFEST_PATH, RELEASE_FORMAT, ReleaseManifest, TrainingSource
from schemas.release_folder import ReleaseError, ReleaseFolder, look_at_release
from schemas.release_signature import SIGNATURE_PATH, signature_of
from schemas.rollout import read_rollout
from schemas.secret import Secret
from schemas.servable import ASSETS, DEFAULT_MODEL_NAME, version_directories
from session_model.data.training_overlap import TrainedSessions
from session_model.data.vocabulary import Vocabulary
from session_model.files import file_sha256, write_whole
from session_model.intent.categories import Categories
from session_model.intent.model import IntentModel
from session_model.intent.prefix_features import FEATURE_NAMES
from session_model.ranking.blend import BlendWeights
from session_model.ranking.cold_items import ColdItems
from session_model.ranking.cold_start import ColdStart
from session_model.ranking.content import ContentIndex
from session_model.ranking.content_voice import ContentVoice
from session_model.ranking.item_search import ItemSearch
from session_model.ranking.item_vectors import ItemVectors
from session_model.ranking.knn import SessionKnn
from session_model.ranking.popularity import Popularity
from session_model.ranking.reranker import Reranker, feature_names
from session_model.ranking.transitions import Transitions
from session_model.release.memory import check_memory
from session_model.release.release import Parts, Release

PARTS_DIRECTORY = ASSETS
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
ITEM_VECTORS_FOLDER = "item_vectors"
CONTENT_VOICE_FILE = "content_voice.npz"
ITEM_SEARCH_FOLDER = "item_search"
ITEM_SEARCH_VECTORS = f"{ITEM_SEARCH_FOLDER}/vectors.npy"
TRAINED_SESSIONS_FILE = "trained_sessions.npz"

_BESIDE = frozenset({MANIFEST_PATH, SIGNATURE_PATH})
_Part = TypeVar("_Part")


@dataclass(frozen=True, slots=True)
class ReleaseFacts:
    """What only the training knows; the manifest's fields of the same names say what each means.

    sessions: what an evaluation compares its test with.
    """

    version: ModelVersion
    created_at: datetime
    code_version: str
    training_data_sha256: str
    max_length: int
    candidate_count: int
    input_event_types: tuple[str, ...]
    metrics: dict[str, float]
    sessions: TrainedSessions | None = None
    model: str = DEFAULT_MODEL_NAME
    training_source: TrainingSource | None = None
    training_data_until: datetime | None = None


def write_parts(directory: Path, parts: Parts, facts: ReleaseFacts, key: Secret | None = None) -> ReleaseManifest:
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
        if parts.cold_start.vectors is not None:
            parts.cold_start.vectors.save(folder / ITEM_VECTORS_FOLDER)
    if parts.content_voice is not None:
        parts.content_voice.save(folder / CONTENT_VOICE_FILE)
    if parts.categories.names:
        parts.categories.save(folder / CATEGORIES_FILE)
    if parts.item_search is not None:
        parts.item_search.save(folder / ITEM_SEARCH_FOLDER)
    if facts.sessions is not None:
        facts.sessions.save(folder / TRAINED_SESSIONS_FILE)
    manifest = _manifest(directory, facts, has_intent=parts.intent is not None)
    write_manifest(directory, manifest, key)
    return manifest


def write_manifest(directory: Path, manifest: ReleaseManifest, key: Secret | None) -> None:
    """Write the manifest, and its signature where there is a key; an older signature would be wrong and goes."""
    content = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    write_whole(directory / MANIFEST_PATH, lambda file: file.write(content))
    if key is None:
        (directory / SIGNATURE_PATH).unlink(missing_ok=True)
    else:
        signature = signature_of(content, key)
        write_whole(directory / SIGNATURE_PATH, lambda file: file.write(signature))


def read_release(copy: Path, manifest: ReleaseManifest, *, directory: Path, max_memory_bytes: int) -> Release:
    """Read the parts from a verified copy, and map the large ones.

    directory: of what it is the copy. Raises ReleaseError naming the file and the remedy, before it takes more memory
    than `max_memory_bytes`; OSError where the disk failed and a retry may succeed.
    """
    folder = copy / PARTS_DIRECTORY
    check_memory(
        folder,
        max_memory_bytes,
        mapped=(KNN_FOLDER, ITEM_VECTORS_FOLDER, ITEM_SEARCH_VECTORS),
        apart=TRAINED_SESSIONS_FILE,
    )
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
        parts = replace(parts, cold_start=_read_cold_start(folder, manifest, len(parts.vocabulary)))
    if parts.blend_weights.content > 0:
        voice = _read(folder / CONTENT_VOICE_FILE, lambda path: ContentVoice.load(path, len(parts.vocabulary)))
        parts = replace(parts, content_voice=voice)
    if _is_part(manifest, CATEGORIES_FILE):
        parts = replace(parts, categories=_read(folder / CATEGORIES_FILE, Categories.load))
    if _has_folder(manifest, ITEM_SEARCH_FOLDER):
        search = _read(folder / ITEM_SEARCH_FOLDER, lambda path: ItemSearch.load(path, len(parts.vocabulary)))
        parts = replace(parts, item_search=search)
    if not len(parts.vocabulary) == parts.knn.n_items == len(parts.popularity.counts) - 1:
        raise ReleaseError(f"release {directory}: vocabulary, kNN and popularity differ in size; train it again")
    return Release(directory, manifest, parts)


def trained_sessions(release: Release) -> TrainedSessions | None:
    """Read which sessions a verified release was trained on; None where it was made before that was kept."""
    if not _is_part(release.manifest, TRAINED_SESSIONS_FILE):
        return None
    return _read(release.directory / PARTS_DIRECTORY / TRAINED_SESSIONS_FILE, TrainedSessions.load)


def verify_release(directory: Path, key: Secret | None = None) -> ReleaseManifest:
    """Check signature (where there is a `key`), format, version and the SHA-256 of every file, in constant memory.

    Raises ReleaseError with the remedy. What is read from `directory` afterwards may be something else.
    """
    folder = look_at_parts(directory, key)
    folder.verify()
    return folder.manifest


def look_at_parts(directory: Path, key: Secret | None) -> ReleaseFolder:
    """Look at a release of the features that this code makes; raises ReleaseError."""
    folder = look_at_release(directory, key)
    if tuple(folder.manifest.feature_names) != FEATURE_NAMES:
        raise ReleaseError(
            f"release {directory} reads other prefix features than this insession makes; train it again, or run "
            f"insession {folder.manifest.code_version}"
        )
    return folder


def newest_release(folder: Path) -> Path:
    """Return the directory of the highest version in the folder of a model; names that are no number are not it.

    Raises ReleaseError where there is none.
    """
    versions = version_directories(folder) if folder.is_dir() else {}
    if not versions:
        raise ReleaseError(f"no release in {folder}; make one with `insession train DATA --out {folder.parent}`")
    return versions[max(versions)]


def serving_release(folder: Path) -> Path:
    """Return the directory of the champion in the folder of a model; the newest where nothing was promoted.

    Raises ReleaseError where there is none, RolloutError for a rollout that cannot be read.
    """
    rollout = read_rollout(folder)
    if rollout is None:
        return newest_release(folder)
    champion = version_directories(folder).get(rollout.champion)
    if champion is None:
        raise ReleaseError(f"champion {rollout.champion} is not in {folder}; fetch it, or promote another release")
    return champion


def _manifest(directory: Path, facts: ReleaseFacts, *, has_intent: bool) -> ReleaseManifest:
    paths = sorted(path for path in directory.rglob("*") if path.is_file())
    names = {path.relative_to(directory).as_posix(): path for path in paths}
    return ReleaseManifest(
        format=RELEASE_FORMAT,
        model=facts.model,
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
        files={name: _read(path, file_sha256) for name, path in names.items() if name not in _BESIDE},
        sizes_bytes={name: path.stat().st_size for name, path in names.items() if name not in _BESIDE},
        training_source=facts.training_source,
        training_data_until=facts.training_data_until,
    )


def _read(path: Path, reader: Callable[[Path], _Part]) -> _Part:
    try:
        return reader(path)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise ReleaseError(f"release file {path} is missing; copy the release again") from error
    except (EOFError, KeyError, ValueError, MemoryError, RecursionError, BadZipFile) as error:
        raise ReleaseError(f"release file {path} cannot be read ({error}); copy the release again") from error


def _read_vocabulary(path: Path) -> Vocabulary:
    return Vocabulary(msgspec.json.decode(path.read_bytes(), type=list[ItemId]))


def _read_blend_weights(path: Path) -> BlendWeights:
    return msgspec.json.decode(path.read_bytes(), type=BlendWeights)


def _read_reranker(path: Path) -> Reranker:
    reranker = msgspec.json.decode(path.read_bytes(), type=Reranker)
    if reranker.feature_names != feature_names(reranker.shares):
        raise ValueError("it weighs other features than this insession makes")
    n_features = len(reranker.feature_names)
    reranker.scores(np.zeros((1, n_features), np.float32))  # raises ValueError where the weights do not fit together
    return reranker


def _read_cold_start(folder: Path, manifest: ReleaseManifest, n_known: int) -> ColdStart:
    has_vectors = _has_folder(manifest, ITEM_VECTORS_FOLDER)
    return ColdStart(
        _read(folder / CONTENT_FILE, ContentIndex.load),
        _read(folder / COLD_ITEMS_FOLDER, lambda path: ColdItems.load(path, n_known)),
        _read(folder / ITEM_VECTORS_FOLDER, lambda path: ItemVectors.load(path, n_known)) if has_vectors else None,
    )


def _is_part(manifest: ReleaseManifest, name: str) -> bool:
    return f"{PARTS_DIRECTORY}/{name}" in manifest.files


def _has_folder(manifest: ReleaseManifest, name: str) -> bool:
    return any(file.startswith(f"{PARTS_DIRECTORY}/{name}/") for file in manifest.files)
