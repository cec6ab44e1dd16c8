"""Releases that nobody trained."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.ids import ItemId, ModelVersion
from schemas.release import MANIFEST_PATH
from session_model.data.vocabulary import Vocabulary
from session_model.files import file_sha256
from session_model.intent.categories import NO_CATEGORIES, Categories
from session_model.intent.model import IntentModel
from session_model.ranking.blend import MODEL_ONLY, BlendWeights
from session_model.ranking.cold_start import ColdStart
from session_model.ranking.content_voice import ContentVoice
from session_model.ranking.knn import SessionKnn
from session_model.ranking.popularity import Popularity
from session_model.ranking.reranker import Reranker
from session_model.ranking.transitions import Transitions
from session_model.release.copies import load_release
from session_model.release.files import ReleaseFacts, write_parts
from session_model.release.release import Parts, Release
from tests.session_model.intents import purchase_only

STARTS = np.array([0, 3, 5])
"""Of the two sessions that the parts are fitted on, int64 (3,)."""
ITEMS = np.array([1, 2, 3, 2, 4], np.int32)
"""Their items as ItemIndex."""
SHARES = BlendWeights(0.4, 0.1)
INTENT = purchase_only(-2.0)
CATEGORIES = Categories(["hats", "boots"], [0.5, -0.25], {ItemId("a"): 0, ItemId("b"): 1})


def release_parts(
    item_ids: Sequence[str], starts: NDArray[np.int64] = STARTS, items: NDArray[np.int32] = ITEMS, **parts: Any
) -> Parts:
    """Fit the parts on the sessions at `starts` of `items`, with names `item_ids`; `parts` are taken as they are."""
    n_items = len(item_ids)
    fitted: dict[str, Any] = {
        "vocabulary": Vocabulary(map(ItemId, item_ids)),
        "knn": SessionKnn.fit(starts, items, n_items),
        "transitions": Transitions.fit(starts, items, n_items),
        "popularity": Popularity.fit(items, n_items),
        "blend_weights": MODEL_ONLY,
        "intent": None,
    }
    return Parts(**{**fitted, **parts})


def release_facts(version: int = 1, **facts: Any) -> ReleaseFacts:
    """Make what a release says of itself, but for `facts`."""
    made: dict[str, Any] = {
        "version": ModelVersion(version),
        "created_at": datetime(2026, 1, 1, tzinfo=UTC),
        "code_version": "0.1.0",
        "training_data_sha256": "0" * 64,
        "max_length": 10,
        "candidate_count": 5,
        "input_event_types": ("view",),
        "metrics": {},
    }
    return ReleaseFacts(**{**made, **facts})


def written_release(directory: Path, parts: Parts, **facts: Any) -> Release:
    """Write the parts to `directory`, and load them as a worker does."""
    write_parts(directory, parts, release_facts(**facts))
    return load_release(directory)


def two_session_parts(
    intent: IntentModel | None = INTENT,
    reranker: Reranker | None = None,
    cold_start: ColdStart | None = None,
    content_voice: ContentVoice | None = None,
) -> Parts:
    """Fit on two sessions of the items a, b, c and b, d."""
    return release_parts(
        ["a", "b", "c", "d\n"],
        cold_start=cold_start,
        categories=NO_CATEGORIES if cold_start is None else CATEGORIES,
        blend_weights=SHARES if content_voice is None else BlendWeights(0.4, 0.1, 0.3),
        intent=intent,
        reranker=reranker,
        content_voice=content_voice,
    )


def write_release(
    directory: Path,
    version: int = 3,
    intent: IntentModel | None = INTENT,
    reranker: Reranker | None = None,
    cold_start: ColdStart | None = None,
    content_voice: ContentVoice | None = None,
) -> Path:
    """Write a release with a stand-in for the SavedModel."""
    release = directory / "session_gru" / str(version)
    release.mkdir(parents=True)
    (release / "saved_model.pb").write_bytes(b"graph")
    facts = release_facts(version, max_length=2, candidate_count=3, metrics={"recall_at_20": 0.5})
    write_parts(release, two_session_parts(intent, reranker, cold_start, content_voice), facts)
    return release


def edit_manifest(release: Path, edit: Callable[[dict[str, object]], None]) -> None:
    """Change the manifest as JSON."""
    manifest = json.loads((release / MANIFEST_PATH).read_bytes())
    edit(manifest)
    (release / MANIFEST_PATH).write_text(json.dumps(manifest))


def seal(release: Path) -> None:
    """Give the manifest the checksums and sizes of what lies there now, as whoever makes a release can."""
    names = {path.relative_to(release).as_posix(): path for path in release.rglob("*") if path.is_file()}
    del names[MANIFEST_PATH]
    files = {name: file_sha256(path) for name, path in names.items()}
    sizes = {name: path.stat().st_size for name, path in names.items()}
    edit_manifest(release, lambda manifest: manifest.update(files=files, sizes_bytes=sizes))
