"""A search is made as wide as its recall on real prefixes asks for, or not at all."""

import tracemalloc

import numpy as np
import pytest

from session_model.fitting import item_search
from session_model.fitting.item_search import LEAST_RECALL, LEAST_RECALL_IN_CELLS, fit_item_search
from session_model.networks.gru import SessionGru
from session_model.networks.next_item import NextItemNetwork
from session_model.networks.settings import GruSettings
from session_model.ranking.item_search import ItemSearch
from session_model.runs.progress import NoProgress

N_ITEMS, MAX_LENGTH = 3_000, 4
PREFIXES = [row[: 1 + n % MAX_LENGTH] for n, row in enumerate(np.arange(1, 401, dtype=np.int32).reshape(100, 4))]


class Notes(NoProgress):
    """Keeps what was said."""

    def __init__(self) -> None:
        self.texts = list[str]()

    def noted(self, text: str) -> None:
        """Keep it."""
        self.texts.append(text)


def network(n_items: int = N_ITEMS) -> SessionGru:
    """Make one of an odd width, so that the last pair of columns is half empty."""
    return SessionGru(n_items, GruSettings(units=8, dimension=7, max_length=MAX_LENGTH), seed=1)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Search small catalogues."""
    monkeypatch.setattr(item_search, "SEARCHED_ITEMS", N_ITEMS)


def exact_recall(made: ItemSearch, model: NextItemNetwork) -> float:
    """Return the mean share of the 100 best of each prefix that is ranked."""
    vectors = np.concatenate(list(item_search._session_vectors(model, PREFIXES)))
    best = np.argsort(-(vectors @ model.item_matrix()), axis=1)[:, :100]
    found = made.shortlist(vectors)
    return float(np.mean([np.isin(one, rows).mean() for one, rows in zip(best, found, strict=True)]))


def test_its_recall_is_what_it_says() -> None:
    """Measured again, by hand."""
    model = network()
    made = fit_item_search(model, PREFIXES, NoProgress())
    assert made is not None
    assert made.settings.recall >= LEAST_RECALL
    assert made.settings.recall == pytest.approx(exact_recall(made, model), abs=1e-4)
    assert np.array_equal(made.arrays.vectors, model.item_matrix().T)
    assert (len(made.arrays.cells), made.settings.probes) == (1, 1)


def test_a_large_catalogue_lies_in_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of which so many are probed as its recall asks for."""
    monkeypatch.setattr(item_search, "CELLED_ITEMS", N_ITEMS)
    monkeypatch.setattr(item_search, "PROBED_SHARES", (1 / 64, 1.0))
    model = network()
    made = fit_item_search(model, PREFIXES, NoProgress())
    assert made is not None
    assert (len(made.arrays.cells), made.settings.probes) == (64, 64)
    assert made.settings.recall >= LEAST_RECALL_IN_CELLS
    assert made.settings.recall == pytest.approx(exact_recall(made, model), abs=1e-4)


def test_the_same_network_gives_the_same_search() -> None:
    """To the bit, so that a training can be repeated."""
    one, other = (fit_item_search(network(), PREFIXES, NoProgress()) for _ in range(2))
    assert one is not None
    assert other is not None
    for name in ("codes", "centroids", "cells", "cell_of"):
        assert np.array_equal(getattr(one.arrays, name), getattr(other.arrays, name))


def test_what_is_best_of_all_items_is_found_a_batch_at_a_time() -> None:
    """What is kept of each batch are its best, not a column an item: of 3 million items 12 GB for 512 sessions."""
    items, sessions = np.zeros((N_ITEMS, 2), np.float32), np.zeros((512, 2), np.float32)
    tracemalloc.start()
    question = item_search._asked(items, sessions)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert question.best.shape == (512, 100)
    assert peak_bytes < len(sessions) * N_ITEMS * 8 / 3


def test_a_search_that_finds_too_little_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what happens instead is said."""
    monkeypatch.setattr(item_search, "SHORTLISTS", (100, 101))
    notes = Notes()
    assert fit_item_search(network(), PREFIXES, notes) is None
    (text,) = notes.texts
    assert "below 0.99: the model server scores every item" in text


def test_a_small_catalogue_is_not_searched() -> None:
    """Nor one of which no prefix is known."""
    assert fit_item_search(network(N_ITEMS - 1), PREFIXES, NoProgress()) is None
    assert fit_item_search(network(), [], NoProgress()) is None
