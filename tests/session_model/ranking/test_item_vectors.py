"""Vectors in a release: what is asked for is what was kept."""

from pathlib import Path

import numpy as np
import pytest

from schemas.ids import ItemId, ItemIndex
from session_model.ranking.item_vectors import ItemVectors

VECTORS = np.array([[1, 0], [0, 0], [0.6, 0.8]], np.float16)
"""Of the items 1 and 2 of the vocabulary, the second of which has none, and of `new`."""


def test_what_is_loaded_is_what_was_saved(tmp_path: Path) -> None:
    """In half precision, without a pickle; what has none says so."""
    ItemVectors(VECTORS, [ItemId("new")], 0.5).save(tmp_path / "vectors")
    found = ItemVectors.load(tmp_path / "vectors", 2)
    assert (found.item_ids, found.share) == (("new",), 0.5)
    new, first = found.of(ItemId("new"), None), found.of(ItemId("first"), ItemIndex(1))
    assert new is not None
    assert first is not None
    assert (new.tolist(), first.tolist()) == (VECTORS[2].tolist(), [1.0, 0.0])
    assert found.of(ItemId("second"), ItemIndex(2)) is found.of(ItemId("other"), None) is None


@pytest.mark.parametrize(
    ("vectors", "item_ids", "share"),
    [
        (VECTORS, ["new", "newer"], 0.5),
        (VECTORS.astype(np.float32), ["new"], 0.5),
        (VECTORS.ravel(), ["new"], 0.5),
        (np.ones((3, 65), np.float16), ["new"], 0.5),
        (VECTORS * np.float16(np.nan), ["new"], 0.5),
        (VECTORS, ["new"], 1.5),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, vectors: np.ndarray, item_ids: list[str], share: float) -> None:
    """Another vocabulary, another type, another shape, no numbers."""
    ItemVectors(vectors, [ItemId(name) for name in item_ids], share).save(tmp_path / "vectors")
    with pytest.raises(ValueError, match="do not fit together, or belong to another vocabulary"):
        ItemVectors.load(tmp_path / "vectors", 2)
