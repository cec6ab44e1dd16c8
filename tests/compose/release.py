"""A release that nobody trained: as good as any where only the way of an answer counts."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from schemas.ids import ItemId, ModelVersion
from schemas.servable import DEFAULT_MODEL_NAME
from session_model.data.vocabulary import Vocabulary
from session_model.intent.prefix_features import FEATURE_NAMES
from session_model.ranking.blend import BlendWeights
from session_model.ranking.knn import SessionKnn
from session_model.ranking.popularity import Popularity
from session_model.ranking.transitions import Transitions
from session_model.release.files import ReleaseFacts, write_parts
from session_model.release.release import Parts
from tests.session_model.intents import purchase_only

SESSION_LENGTH = 4
CANDIDATES = 50


def write_untrained(models: Path, item_ids: Sequence[ItemId], version: int = 1) -> None:
    """Write a release of `item_ids`, fitted on random sessions of them; it appears at once and whole."""
    from session_model.networks.export import ServableParts, export_servable
    from session_model.networks.gru import GruSettings, SessionGru

    n_items, n_features = len(item_ids), len(FEATURE_NAMES)
    items = np.random.default_rng(version).integers(1, n_items + 1, 50 * SESSION_LENGTH, dtype=np.int32)
    starts = np.arange(0, len(items) + 1, SESSION_LENGTH)
    intent = purchase_only(-2.0)
    parts = Parts(
        vocabulary=Vocabulary(list(item_ids)),
        knn=SessionKnn.fit(starts, items, n_items),
        transitions=Transitions.fit(starts, items, n_items),
        popularity=Popularity.fit(items, n_items),
        blend_weights=BlendWeights(0.4, 0.1),
        intent=intent,
    )
    settings = GruSettings(units=8, dimension=6, max_length=10)
    facts = ReleaseFacts(
        version=ModelVersion(version),
        created_at=datetime.now(UTC),
        code_version="0",
        training_data_sha256="0" * 64,
        max_length=settings.max_length,
        candidate_count=CANDIDATES,
        input_event_types=("view", "cart", "purchase"),
        metrics={},
    )
    release = models / DEFAULT_MODEL_NAME / f".{version}"
    release.mkdir(parents=True)
    export_servable(ServableParts(SessionGru(n_items, settings, seed=version), intent, n_features, CANDIDATES), release)
    write_parts(release, parts, facts)
    release.rename(models / DEFAULT_MODEL_NAME / f"{version}")
