"""The rule by which a long run has not crept: what a worker uses at its end is what it used when it was warm."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median


@dataclass(frozen=True, slots=True)
class Bound:
    """How much a figure may grow over a run: by `ratio` of its early value, or by `floor` where that is more.

    floor: in the figure's own unit; what is below it is noise.
    """

    ratio: float
    floor: float


def warm(samples: Sequence[float]) -> Sequence[float]:
    """Leave out the first third: caches fill, the first sessions close, memory pools reach their size."""
    return samples[len(samples) // 3 :]


def growth(samples: Sequence[float]) -> float:
    """Return the growth over all samples, as Theil's slope (the median of those between halves) times their number.

    An outlier, as of a machine that was busy for a moment, does not move it.
    """
    half = len(samples) // 2
    slopes = [(later - early) / half for early, later in zip(samples[:half], samples[-half:], strict=True)]
    return median(slopes) * len(samples)


def creep(samples: Sequence[float], bound: Bound) -> str | None:
    """Return how far the warm samples grow beyond the bound; None where they do not."""
    kept = warm(samples)
    early, grown = median(kept[: max(1, len(kept) // 4)]), growth(kept)
    allowed = max(bound.ratio * early, bound.floor)
    return None if grown <= allowed else f"grew by {grown:.4g} from {early:.4g}, and may by {allowed:.4g}"


def quantile(before: Sequence[float], now: Sequence[float], bounds: Sequence[float], share: float) -> float:
    """Return a quantile of what a Prometheus histogram took in between two looks, linear within its bucket.

    before, now: its cumulative counts by upper bound; 0 where nothing came.
    """
    counts = [late - early for early, late in zip(before, now, strict=True)]
    rank = share * counts[-1]
    if not rank:
        return 0.0
    for (lower, below), (upper, up_to) in pairwise([(0.0, 0.0), *zip(bounds, counts, strict=True)]):
        if up_to >= rank:
            finite = upper if upper != float("inf") else lower
            return lower + (finite - lower) * (rank - below) / (up_to - below)
    raise AssertionError("a histogram's last bucket holds all")
