"""When a release is out of its band, from counted figures alone."""

import random
import re

import pytest

from agents.rollout.bands import Bands
from agents.rollout.figures import SLICE_MS, Figures, LiveFigures

BANDS = Bands()


def figures(
    answers: int = 1000,
    fallbacks: int = 0,
    clicks: int = 1000,
    hits: int = 600,
    delay_ms: int = 20,
    *,
    owed: int = 1000,
    late: int = 0,
    late_ms: int = 600,
) -> Figures:
    """Count what happened within one slice; the first ones are by a lower tier, or owed, or late."""
    live = LiveFigures(kept_ms=60_000)
    for number in range(answers):
        delay = late_ms if number < late else delay_ms
        live.answer(0, "champion", is_fallback=number < fallbacks, delay_ms=delay, is_owed=number < owed)
    for number in range(clicks):
        live.click(0, "champion", is_hit=number < hits)
    return live.between("champion", 0, SLICE_MS)


@pytest.mark.parametrize(
    ("new", "told"),
    [
        (figures(), None),
        (figures(fallbacks=30), None),
        (figures(fallbacks=200), "200 of 1000 answers are by a lower tier, the other's 0 of 1000"),
        (figures(answers=40, fallbacks=40), None),
        (figures(answers=60, fallbacks=60), "60 of 60 answers are by a lower tier"),
        (figures(hits=550), None),
        (figures(hits=300), "300 of 1000 clicks are on an item of the answer, the other's 600 of 1000"),
        (figures(clicks=60, hits=25), None),
        (figures(clicks=60, hits=5), "5 of 60 clicks"),
        (figures(delay_ms=60), None),
        (figures(late=9), None),
        (figures(late=60, late_ms=501), "60 of 1000 answers miss the objective answer-latency, the other's 0 of 1000"),
        (figures(delay_ms=400), r"99 % of the answers come within 39\d ms, the other's within 2\d ms"),
    ],
)
def test_what_is_out_of_its_band_by_more_than_chance_is_said(new: Figures, told: str | None) -> None:
    """Against a release with 1,000 answers by its model within 20 ms, and 60 % of the clicks on one of its items."""
    reason = BANDS.breach(new, figures())
    assert reason is None if told is None else reason is not None and re.search(told, reason)


@pytest.mark.parametrize(
    ("new", "told"),
    [
        (figures(100_000, late=900), None),
        (figures(100_000, late=2_000), "2000 of 100000 answers miss the objective answer-latency, .* than the 1.0%"),
        (figures(100_000, late=400, late_ms=9_900), None),
        (figures(100_000, late=400, late_ms=10_001), "400 of 100000 answers miss the objective freshness"),
        (figures(2_000, 80, owed=500), "80 of 500 answers miss the objective model-share, .* than the 5.0%"),
        (figures(2_000, 80, owed=1_800), None),
        (figures(2_000, 30, owed=30), None),
    ],
)
def test_a_release_that_alone_would_spend_more_than_an_error_budget_is_out(new: Figures, told: str | None) -> None:
    """By the objectives of the alerts, though lower tiers and p99 are within their own bands."""
    reason = BANDS.breach(new, figures(100_000, owed=100_000, late=500, late_ms=600))
    assert reason is None if told is None else reason is not None and re.search(told, reason)


def test_a_release_that_is_as_bad_as_the_other_is_in_its_band() -> None:
    """A server that is away takes the model from both."""
    bad = figures(fallbacks=1000, hits=10, delay_ms=20_000)
    assert BANDS.breach(bad, bad) is None


@pytest.mark.parametrize("seed", range(20))
def test_chance_alone_is_seldom_a_breach(seed: int) -> None:
    """Two samples of the same release: at three sigmas beyond a band none of twenty."""
    dice = random.Random(seed)
    new, other = (
        figures(200, sum(dice.random() < 0.1 for _ in range(200)), 200, sum(dice.random() < 0.5 for _ in range(200)))
        for _ in range(2)
    )
    assert BANDS.breach(new, other) is None


def test_only_what_happened_in_the_time_counts() -> None:
    """To the slice; what is older than is kept is gone."""
    live = LiveFigures(kept_ms=4 * SLICE_MS)
    for place in range(10):
        live.answer(place * SLICE_MS, "candidate", is_fallback=False, delay_ms=None)
    assert live.between("candidate", 7 * SLICE_MS, 9 * SLICE_MS).answers == 2
    assert live.between("champion", 0, 10 * SLICE_MS).answers == 0
    assert live.between("candidate", 0, 10 * SLICE_MS).answers == 5
