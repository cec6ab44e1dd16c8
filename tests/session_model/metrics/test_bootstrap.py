import numpy as np
import pytest

from session_model.metrics.bootstrap import session_intervals


def test_the_interval_is_that_of_the_mean_of_independent_values() -> None:
    """With one target a session the half-width is about 1.96 standard errors, around the mean."""
    values = np.random.default_rng(0).normal(0.3, 1.0, 2_000)
    (interval,) = session_intervals(np.arange(2_000), values[:, np.newaxis])
    error = values.std() / np.sqrt(2_000)
    assert interval.value == pytest.approx(values.mean())
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * error, rel=0.1)
    assert interval.low < interval.value < interval.high


def test_targets_of_one_session_are_drawn_together() -> None:
    """Ten copies of each value in its session tell no more than one: the interval stays as wide."""
    values = np.random.default_rng(1).normal(size=500)
    (alone,) = session_intervals(np.arange(500), values[:, np.newaxis])
    (copied,) = session_intervals(np.repeat(np.arange(500), 10), np.repeat(values, 10)[:, np.newaxis])
    assert copied.high - copied.low == pytest.approx(alone.high - alone.low, rel=0.02)


def test_a_difference_is_paired() -> None:
    """Two models that differ by the same amount at each target differ for certain, however the targets vary."""
    values = np.random.default_rng(2).normal(size=300)
    columns = np.stack([values + 0.01, values, np.full(300, 0.01)], axis=1)
    ours, theirs, difference = session_intervals(np.arange(300), columns)
    assert ours.low < theirs.high
    assert (difference.low, difference.high) == pytest.approx((0.01, 0.01))


def test_a_seed_decides_the_draws() -> None:
    """The same seed gives the same interval, another one nearly the same."""
    values = np.random.default_rng(3).normal(size=(200, 1))
    assert session_intervals(np.arange(200), values) == session_intervals(np.arange(200), values)
    assert session_intervals(np.arange(200), values, seed=1) != session_intervals(np.arange(200), values)


def test_a_single_session_has_no_width() -> None:
    """Nothing can be said of the spread of one."""
    (interval,) = session_intervals(np.zeros(3), np.array([[1.0], [0.0], [0.5]]))
    assert interval.low == interval.high == interval.value == pytest.approx(0.5)
