import random

import pytest

from tests.chaos.flatness import Bound, creep, growth, quantile

BOUND = Bound(ratio=0.1, floor=1.0)
MINUTES = 180


def noisy(slope: float) -> list[float]:
    """Make samples around 100 that grow by `slope` each, with noise, a warm-up and an outlier."""
    choose = random.Random(1)
    samples = [100 + slope * number + choose.gauss(0, 3) for number in range(MINUTES)]
    samples[:20] = [5.0 * number for number in range(20)]
    samples[MINUTES - 5] = 1000
    return samples


def test_noise_warm_up_and_an_outlier_are_no_creep() -> None:
    """Busy moments of a shared machine fail nothing."""
    assert creep(noisy(0.0), BOUND) is None


def test_a_slow_leak_is_found() -> None:
    """By a quarter over what counts, a tenth is allowed."""
    assert "may by" in (creep(noisy(0.2), BOUND) or "")


def test_what_is_below_the_floor_is_noise() -> None:
    """A lag of half a record on none is no growth without end."""
    assert creep([0.0] * 10 + [0.5] * 10, BOUND) is None


def test_the_growth_of_a_line_is_its_slope_times_its_length() -> None:
    """In the figure's own unit."""
    assert growth([2.0 * number for number in range(100)]) == pytest.approx(200)


def test_a_quantile_is_of_what_came_between_two_looks() -> None:
    """Of 100 that came, 90 took up to 10 ms and the rest up to 50."""
    bounds = (0.01, 0.05, float("inf"))
    assert quantile((5, 5, 5), (95, 105, 105), bounds, 0.5) == pytest.approx(0.01 * 50 / 90)
    assert quantile((5, 5, 5), (95, 105, 105), bounds, 0.99) == pytest.approx(0.01 + 0.04 * 9 / 10)
    assert quantile((5, 5, 5), (5, 5, 5), bounds, 0.99) == 0
