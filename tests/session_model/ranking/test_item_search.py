"""A search lists what scoring every item would list, with the same probabilities."""

import importlib
import os
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from schemas.ranking import Candidates, SessionReading
from session_model.ranking import item_search_numpy
from session_model.ranking.item_search import CODES, ItemSearch, SearchArrays, SearchSettings

N_ITEMS, WIDTH, K = 500, 5, 20
RNG = np.random.default_rng(3)
VECTORS = (4 * RNG.standard_normal((N_ITEMS, WIDTH))).astype(np.float32)
NO_RETURNS = np.zeros(3, np.float32)


def arrays(vectors: np.ndarray = VECTORS, n_cells: int = 1) -> SearchArrays:
    """Quantize coarsely: each pair of columns by 16 of its rows, each item to the nearest of the first cells."""
    padded = np.pad(vectors, ((0, 0), (0, vectors.shape[1] % 2)))
    pairs = padded.reshape(len(padded), -1, 2).swapaxes(0, 1)
    centroids = pairs[:, :CODES]
    nearest = ((pairs[:, :, np.newaxis] - centroids[:, np.newaxis]) ** 2).sum(axis=3).argmin(axis=2)
    nearest = np.pad(nearest, ((0, len(pairs) % 2), (0, 0)))
    codes = (nearest[::2] | nearest[1::2] << 4).T.astype(np.uint8)
    cells = vectors[:n_cells]
    cell_of = ((vectors[:, np.newaxis] - cells) ** 2).sum(axis=2).argmin(axis=1).astype(np.int32)
    return SearchArrays(vectors, codes, centroids, cells, cell_of)


def search(shortlist: int = 200, n_cells: int = 1, probes: int = 1) -> ItemSearch:
    """Search `VECTORS`."""
    return ItemSearch(arrays(n_cells=n_cells), SearchSettings(probes=probes, shortlist=shortlist))


def readings(number: int) -> list[SessionReading]:
    """Draw session vectors."""
    drawn = np.random.default_rng(5).standard_normal((number, WIDTH)).astype(np.float32)
    return [SessionReading(vector, NO_RETURNS) for vector in drawn]


def prefix(*items: int) -> np.ndarray:
    """Return a prefix."""
    return np.array(items, np.int32)


def exact(reading: SessionReading, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Score every item: give all by falling score, and their probabilities."""
    logits = (VECTORS @ reading.vector).astype(np.float64)
    for place, item in enumerate(items.tolist()):
        logits[item - 1] += reading.returns[place]
    shares = np.exp(logits - logits.max())
    order = np.argsort(-logits, kind="stable")
    return order + 1, (shares / shares.sum())[order]


def recall(found: list[Candidates], asked: list[SessionReading], prefixes: list[np.ndarray]) -> float:
    """Return the share of the `K` best that was found."""
    best = [exact(*row)[0][:K] for row in zip(asked, prefixes, strict=True)]
    return float(np.mean([np.isin(one, got.item_indices).mean() for one, got in zip(best, found, strict=True)]))


def test_nearly_all_of_the_best_are_found_and_in_their_order() -> None:
    """Codes of four bits are coarse: the shortlist makes up for them."""
    asked, prefixes = readings(64), [prefix(7, 8)] * 64
    found = search().rank(asked, prefixes, K)
    assert recall(found, asked, prefixes) > 0.97
    for one, reading in zip(found, asked, strict=True):
        logits = VECTORS[one.item_indices - 1] @ reading.vector
        assert np.array_equal(np.argsort(-logits, kind="stable"), np.arange(K))
        assert len(set(one.item_indices.tolist())) == K


def test_a_longer_shortlist_finds_more() -> None:
    """Which is how recall is bought."""
    asked, prefixes = readings(64), [prefix(7)] * 64
    short, longer = (recall(search(one).rank(asked, prefixes, K), asked, prefixes) for one in (K, 4 * K))
    assert short < longer


def test_only_the_likeliest_cells_are_looked_into() -> None:
    """All of them find what no cells find."""
    asked, prefixes = readings(32), [prefix(7)] * 32
    one, half, whole = (search(200, 16, probes).rank(asked, prefixes, K) for probes in (1, 8, 16))
    assert recall(one, asked, prefixes) < recall(half, asked, prefixes)
    uncelled = search().rank(asked, prefixes, K)
    assert [got.item_indices.tolist() for got in whole] == [got.item_indices.tolist() for got in uncelled]


def test_the_probabilities_are_of_the_whole_catalogue() -> None:
    """To the bit where the sample of what is not listed holds every item."""
    asked, prefixes = readings(16), [prefix(7)] * 16
    for one, *row in zip(search(N_ITEMS).rank(asked, prefixes, K), asked, prefixes, strict=True):
        items, probabilities = exact(*row)
        assert one.item_indices.tolist() == items[:K].tolist()
        assert one.scores == pytest.approx(probabilities[:K], rel=1e-5)


def test_of_a_larger_catalogue_a_sample_tells_the_rest() -> None:
    """Some percent off, alike for all items of a row."""
    vectors = np.random.default_rng(1).standard_normal((20_000, WIDTH)).astype(np.float32)
    reading = SessionReading(readings(1)[0].vector / 2, NO_RETURNS)
    searched = ItemSearch(arrays(vectors), SearchSettings(probes=1, shortlist=2_000))
    (found,) = searched.rank([reading], [prefix(1)], K)
    shares = np.exp((vectors @ reading.vector).astype(np.float64))
    expected = (shares / shares.sum())[found.item_indices - 1]
    assert found.scores == pytest.approx(expected, rel=0.15)
    assert np.std(np.log(found.scores / expected)) < 1e-4


def test_an_item_of_the_prefix_is_listed_once_with_all_its_returns() -> None:
    """Wherever it stands in the shortlist, if it stands there at all."""
    (plain,) = readings(1)
    items, _ = exact(plain, prefix())
    best, worst = int(items[0]), int(items[-1])
    reading = SessionReading(plain.vector, np.array([30, 30, -90, 0], np.float32))
    asked = prefix(worst, worst, best)
    (found,) = search().rank([reading], [asked], K)
    expected, probabilities = exact(reading, asked)
    assert found.item_indices.tolist() == expected[:K].tolist()
    assert int(found.item_indices[0]) == worst
    assert best not in found.item_indices
    assert found.scores[:2] == pytest.approx(probabilities[:2], rel=1e-4)


def test_a_row_is_ranked_alike_whatever_is_asked_with_it() -> None:
    """To the bit: so it is in a replay."""
    asked = [replace(one, returns=np.arange(3, dtype=np.float32)) for one in readings(32)]
    prefixes = [prefix(*range(1, 1 + n % 4)) for n in range(32)]
    together = search(n_cells=16, probes=4).rank(asked, prefixes, K)
    for one, *row in zip(together, asked, prefixes, strict=True):
        (alone,) = search(n_cells=16, probes=4).rank(row[:1], row[1:], K)
        assert np.array_equal(one.item_indices, alone.item_indices)
        assert np.array_equal(one.scores, alone.scores)


def test_what_cannot_be_ranked_is_not_listed() -> None:
    """A vector that is no number, and a row for which nothing was found."""
    vectors = VECTORS.copy()
    vectors[3] = np.inf
    (reading,) = readings(1)
    searched = ItemSearch(arrays(VECTORS), SearchSettings(probes=1, shortlist=N_ITEMS))
    searched._vectors = vectors
    (found,) = searched.rank([reading], [prefix(4)], K)
    assert 4 not in found.item_indices
    assert np.isfinite(found.scores).all()
    cells = arrays(n_cells=2).cells
    elsewhere = replace(arrays(n_cells=2), cell_of=np.ones(N_ITEMS, np.int32))
    empty = ItemSearch(elsewhere, SearchSettings(probes=1, shortlist=5))
    (nothing,) = empty.rank([SessionReading(cells[0] - cells[1], NO_RETURNS)], [prefix()], K)
    assert not len(nothing)


def test_a_session_of_another_width_is_an_error() -> None:
    """Whatever model it is of."""
    with pytest.raises((AssertionError, ValueError)):
        search().rank([SessionReading(np.ones(WIDTH - 1, np.float32), NO_RETURNS)], [prefix(1)], K)


def test_a_list_is_as_long_as_what_was_found() -> None:
    """In cells that hold less than was asked for, and of a small catalogue."""
    few = ItemSearch(arrays(VECTORS[:40]), SearchSettings(probes=1, shortlist=40))
    (found,) = few.rank(readings(1), [prefix(2, 3)], 100)
    assert sorted(found.item_indices.tolist()) == list(range(1, 41))
    assert found.scores.sum() == pytest.approx(1.0, abs=1e-5)
    n_found = len(search(200, 100, 1).rank(readings(1), [prefix(2, 3)], 100)[0])
    assert 2 <= n_found < 100


def compiled_kernel() -> ModuleType:
    """Return the compiled kernel; there is none where the install found no C compiler."""
    name = "session_model.ranking.item_search_kernel"
    if os.environ.get("INSESSION_REQUIRE_TOOLS"):
        return importlib.import_module(name)
    kernel: ModuleType = pytest.importorskip(name, reason="the install found no C compiler")
    return kernel


@pytest.mark.parametrize("width", [1, 15, 16, 17, 100, 128])
@pytest.mark.parametrize("longest", [0, 1, 5])
def test_both_kernels_score_alike(width: int, longest: int) -> None:
    """Repeats, items of the prefix in the shortlist, and places without an item."""
    rng = np.random.default_rng(width)
    vectors, sessions = (rng.standard_normal((n, width)).astype(np.float32) for n in (30, 6))
    found = np.stack([rng.permutation(30)[:12] for _ in sessions])
    found[1, 8:] = -1
    own = rng.integers(-1, 6, (6, longest)).astype(np.int32)
    returns = rng.standard_normal(own.shape).astype(np.float32)
    (rows, logits), (expected_rows, expected) = (
        kernel.scored(vectors, sessions, found, own, returns) for kernel in (compiled_kernel(), item_search_numpy)
    )
    assert np.array_equal(rows, expected_rows)
    assert logits == pytest.approx(expected, abs=1e-4)


def test_what_is_loaded_ranks_as_what_was_saved(tmp_path: Path) -> None:
    """From mapped arrays, without a pickle."""
    saved = search(n_cells=16, probes=4)
    saved.save(tmp_path / "search")
    loaded = ItemSearch.load(tmp_path / "search", N_ITEMS)
    assert loaded.settings == saved.settings
    for one, other in zip(*(each.rank(readings(8), [prefix(4)] * 8, K) for each in (saved, loaded)), strict=True):
        assert np.array_equal(one.item_indices, other.item_indices)
        assert np.array_equal(one.scores, other.scores)


GOOD = arrays(n_cells=16)


@pytest.mark.parametrize(
    ("wrong", "settings"),
    [
        ({"vectors": VECTORS[:-1]}, {}),
        ({"vectors": VECTORS.astype(np.float64)}, {}),
        ({"vectors": VECTORS.ravel()}, {}),
        ({"vectors": np.asfortranarray(VECTORS)}, {}),
        ({"centroids": np.concatenate([GOOD.centroids] * 2), "codes": np.concatenate([GOOD.codes] * 2, axis=1)}, {}),
        ({"codes": GOOD.codes[:, :-1]}, {}),
        ({"codes": GOOD.codes[:-1]}, {}),
        ({"centroids": GOOD.centroids[:1]}, {}),
        ({"centroids": GOOD.centroids * np.float32(np.nan)}, {}),
        ({"centroids": GOOD.centroids.ravel()}, {}),
        ({"cells": GOOD.cells[:, :2]}, {}),
        ({"cells": GOOD.cells[:0]}, {}),
        ({"cell_of": GOOD.cell_of + np.int32(16)}, {}),
        ({"cell_of": GOOD.cell_of - np.int32(16)}, {}),
        ({"cell_of": GOOD.cell_of[:-1]}, {}),
        ({}, {"probes": 0}),
        ({}, {"probes": 17}),
        ({}, {"shortlist": 0}),
        ({}, {"shortlist": N_ITEMS + 1}),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, wrong: dict[str, np.ndarray], settings: dict[str, int]) -> None:
    """Before faiss sees it, which would read beyond its arrays."""
    search(n_cells=16).save(tmp_path / "search")
    for name, array in wrong.items():
        np.save(tmp_path / "search" / f"{name}.npy", array)
    if settings:
        changed = SearchSettings(**({"probes": 1, "shortlist": 20} | settings))  # type: ignore[arg-type]
        (tmp_path / "search/settings.json").write_text(
            f'{{"probes": {changed.probes}, "shortlist": {changed.shortlist}}}'
        )
    with pytest.raises(ValueError, match="does not fit together, or belongs to another vocabulary"):
        ItemSearch.load(tmp_path / "search", N_ITEMS)
