import numpy as np
import pytest

from session_model.networks.sampling import NegativeSampler

COUNTS = np.array([0, 100, 30, 10, 5, 5, 0, 50], np.int64)
CLICKS = np.array([1, 1, 7], np.int32)


def test_candidates_are_the_clicks_and_the_negatives_each_once() -> None:
    """The candidates are unique, ascending, never padding, and hold every click."""
    sampler = NegativeSampler(COUNTS, n_negatives=4, power=0.5)
    candidates = sampler.candidates(CLICKS, np.random.default_rng(0))
    assert not sampler.is_full
    assert np.all(np.diff(candidates.items) > 0)
    assert candidates.items[0] > 0
    assert set(CLICKS) <= set(candidates.items)


def test_log_inclusion_is_the_observed_frequency() -> None:
    """Over many batches each item is a candidate as often as the correction says."""
    n_negatives, n_clicks, rounds = 4, 3, 20_000
    sampler = NegativeSampler(COUNTS, n_negatives=n_negatives, power=0.5)
    rng = np.random.default_rng(1)
    seen = np.zeros(8)
    for clicks in rng.choice(8, (rounds, n_clicks), p=COUNTS / COUNTS.sum()).astype(np.int32):
        seen[sampler.candidates(clicks, rng).items] += 1
    expected = np.exp(sampler.log_inclusion(np.arange(1, 8), n_clicks))
    assert seen[1:] / rounds == pytest.approx(expected, abs=0.015)


def test_log_inclusion_by_hand() -> None:
    """The probability is one minus that of being neither drawn nor clicked."""
    sampler = NegativeSampler(np.array([0, 3, 0, 8]), n_negatives=2, power=0.5)
    draw, share = 3 / (2 + 1 + 3), 8 / 11
    expected = np.log(1 - (1 - draw) ** 2 * (1 - share) ** 5)
    assert sampler.log_inclusion(np.array([3]), 5)[0] == pytest.approx(expected, abs=1e-6)


def test_a_small_catalogue_is_scored_in_full() -> None:
    """Where the negatives would cover the catalogue, every item is a candidate and nothing is corrected."""
    sampler = NegativeSampler(COUNTS, n_negatives=7, power=0.5)
    candidates = sampler.candidates(CLICKS, np.random.default_rng(0))
    assert candidates.items.tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert not candidates.log_inclusion.any()


def test_a_catalogue_of_one_item_is_always_scored_in_full() -> None:
    """Its item is drawn for certain, which has no logarithm of not being drawn; that is no matter."""
    sampler = NegativeSampler(np.array([0, 5]), n_negatives=8, power=0.75)
    assert sampler.candidates(np.array([1, 1], np.int32), np.random.default_rng(0)).items.tolist() == [1]
