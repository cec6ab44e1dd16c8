"""From a file of vectors to what a release keeps of it."""

import numpy as np
import pytest

from schemas.errors import InsessionError
from schemas.ids import ItemId, ItemIndex
from session_model.data.vector_files import VectorFile
from session_model.data.vocabulary import Vocabulary
from session_model.fitting import item_vectors
from session_model.fitting.item_vectors import fit_item_vectors
from session_model.ranking.item_vectors import DIMENSIONS
from session_model.runs.progress import NoProgress
from tests.session_model.training.test_train_release import Interrupting

N = 300
RNG = np.random.default_rng(1)
PLACES = RNG.normal(size=(N, 8)).astype(np.float32)
FILE = VectorFile([ItemId(f"i{n}") for n in range(N)], (PLACES @ RNG.normal(size=(8, 200)) + 50.0).astype(np.float32))
"""Items in eight directions that differ, of two hundred, with much in common."""


def test_what_differs_is_kept_in_few_dimensions() -> None:
    """Cosines are those of the vectors without what all have in common; the rows are those of the vocabulary."""
    vocabulary = Vocabulary([ItemId("i7"), ItemId("unknown"), ItemId("i3"), ItemId("i9")])
    kept = fit_item_vectors(FILE, vocabulary, [ItemId("i5"), ItemId("none")], NoProgress())
    centred = FILE.vectors - FILE.vectors.mean(axis=0)
    expected = [centred[n] / np.linalg.norm(centred[n]) for n in (7, 3)]
    first, third = (kept.of(ItemId(""), ItemIndex(index)) for index in (1, 3))
    assert first is not None
    assert third is not None
    assert len(first) == DIMENSIONS
    assert float(first @ first) == pytest.approx(1, abs=2e-3)
    assert float(first @ third) == pytest.approx(float(expected[0] @ expected[1]), abs=5e-3)
    assert kept.of(ItemId("unknown"), ItemIndex(2)) is None
    assert kept.item_ids[0] == "i5"
    assert len(kept.item_ids) == N - 3
    assert kept.of(ItemId("i5"), None) is not None


def test_only_so_many_items_without_clicks_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that the shop describes come first, and what is left out is said."""
    monkeypatch.setattr(item_vectors, "MAX_UNCLICKED", 2)
    progress = Interrupting()
    kept = fit_item_vectors(FILE, Vocabulary([ItemId("i7")]), [ItemId("i99")], progress)
    assert kept.item_ids == ("i99", "i0")
    assert progress.notes == ["item vectors: 1 of 1 clicked items have one, 2 others are kept, 297 more are not"]


def test_vectors_of_other_items_are_refused() -> None:
    """Ids of another system would change nothing, silently."""
    with pytest.raises(InsessionError, match="they name items like 'i0', the clicks '4711'; give the vectors the ids"):
        fit_item_vectors(FILE, Vocabulary([ItemId("4711")]), [], NoProgress())


def test_equal_vectors_say_nothing() -> None:
    """Without any difference there is no direction, and no division by zero."""
    file = VectorFile([ItemId("a"), ItemId("b")], np.ones((2, 4), np.float32))
    kept = fit_item_vectors(file, Vocabulary([ItemId("a")]), [], NoProgress())
    assert kept.of(ItemId("a"), ItemIndex(1)) is kept.of(ItemId("b"), None) is None
