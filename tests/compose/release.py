"""A release that nobody trained: as good as any where only the way of an answer counts."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from schemas.ids import ItemId
from schemas.servable import DEFAULT_MODEL_NAME
from session_model.intent.prefix_features import FEATURE_NAMES
from session_model.ranking.blend import BlendWeights
from session_model.release.files import write_parts
from tests.builders.releases import release_facts, release_parts
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
    parts = release_parts(item_ids, starts, items, blend_weights=BlendWeights(0.4, 0.1), intent=intent)
    settings = GruSettings(units=8, dimension=6, max_length=10)
    facts = release_facts(
        version,
        created_at=datetime.now(UTC),
        training_data_until=datetime.now(UTC),
        max_length=settings.max_length,
        candidate_count=CANDIDATES,
        input_event_types=("view", "cart", "purchase"),
    )
    release = models / DEFAULT_MODEL_NAME / f".{version}"
    release.mkdir(parents=True)
    export_servable(ServableParts(SessionGru(n_items, settings, seed=version), intent, n_features, CANDIDATES), release)
    write_parts(release, parts, facts)
    release.rename(models / DEFAULT_MODEL_NAME / f"{version}")
