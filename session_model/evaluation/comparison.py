"""Models side by side on the same targets: intervals, paired differences, and where each is good.

Ranks are (n_targets,) int32 by model, from 1; 0 = not in the list.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from session_model.metrics.bootstrap import Interval, session_intervals
from session_model.metrics.ranking import LIST_CUT_OFF, recall, reciprocal_rank
from session_model.ranking.popularity import Popularity

REFERENCE = "blend"
"""The model that the others are compared with."""
POPULARITY_DECILES = 10
_MEASURES = {f"recall_at_{LIST_CUT_OFF}": recall, f"mrr_at_{LIST_CUT_OFF}": reciprocal_rank}
_LENGTH_PARTS = ((2, 2), (3, 3), (4, 5), (6, 10), (11, 20), (21, None))
_CLICK_PARTS = ((1, 4), (5, 19), (20, 99), (100, None))
_AGE_PARTS = ((0, 1), (1, 5), (5, 20), (20, 50), (50, 100))
"""In percent of the training's clicks."""
KNOWN, BY_CONTENT, NOTHING_KNOWN = range(3)


class Slice(msgspec.Struct, frozen=True):
    """Some of the targets: how many, and recall_at_20 and mrr_at_20 by model."""

    targets: int
    models: dict[str, dict[str, float]]


@dataclass(frozen=True, slots=True)
class TargetFacts:
    """What is known of each target, (n_targets,) int64 each.

    session: its number. position: in its session, from 1. session_length: all of it. item: `ItemIndex`, 0 = nothing is
    known of it. prefix: `KNOWN` where an item before it is read as itself, `BY_CONTENT` where all are read as what is
    like them, else `NOTHING_KNOWN`.
    """

    session: NDArray[np.int64]
    position: NDArray[np.int64]
    session_length: NDArray[np.int64]
    item: NDArray[np.int64]
    prefix: NDArray[np.int64]


def compare(
    facts: TargetFacts, ranks: Mapping[str, NDArray[np.int32]]
) -> tuple[dict[str, dict[str, Interval]], dict[str, dict[str, Interval]]]:
    """Return the 95 % intervals of each model, and of the reference minus each other one, paired."""
    values = {name: np.stack([measure(r, LIST_CUT_OFF) for measure in _MEASURES.values()]) for name, r in ranks.items()}
    minus = {name: values[REFERENCE] - own for name, own in values.items() if name != REFERENCE}
    columns = np.concatenate([*values.values(), *minus.values()]).T
    found = iter(session_intervals(facts.session, columns))
    intervals = {name: {measure: next(found) for measure in _MEASURES} for name in values}
    return intervals, {name: {measure: next(found) for measure in _MEASURES} for name in minus}


def slices(
    facts: TargetFacts, ranks: Mapping[str, NDArray[np.int32]], popularity: Popularity
) -> dict[str, dict[str, Slice]]:
    """Return how each model does on each part of the targets; empty parts are left out."""
    return {
        name: {part: _slice(ranks, rows) for part, rows in parts.items() if rows.any()}
        for name, parts in target_parts(facts, popularity).items()
    }


def target_parts(facts: TargetFacts, popularity: Popularity) -> dict[str, dict[str, NDArray[np.bool_]]]:
    """Part the targets by position, session length, popularity and age of the item, and by what is known of the prefix.

    Returns the rows of each part, (n_targets,) bool; they may be none. Decile 10 has the most clicked tenth of
    the catalogue. An item's age is the share of the training's clicks since the first one of it: not every format has
    times, all have an order.
    """
    clicks = np.where(facts.item == 0, 0, popularity.counts[facts.item])
    percentiles = popularity.percentiles()[facts.item]
    deciles = np.minimum(np.floor(percentiles * POPULARITY_DECILES), POPULARITY_DECILES - 1) + 1
    by_decile = {f"decile {n}": (clicks > 0) & (deciles == n) for n in range(1, POPULARITY_DECILES + 1)}
    ages = np.where(facts.item == 0, 0, popularity.ages[facts.item]) * 100 / max(int(popularity.counts.sum()), 1)
    by_age = {f"{low}-{high} %": (ages > low) & (ages <= high) for low, high in _AGE_PARTS}
    unseen = {"0, unknown": facts.item == 0, "0, by content": (facts.item > 0) & (clicks == 0)}
    return {
        "position": _by_range(facts.position, _LENGTH_PARTS),
        "session length": _by_range(facts.session_length, _LENGTH_PARTS),
        "popularity": by_decile | {"unseen": clicks == 0},
        "item clicks in training": unseen | _by_range(clicks, _CLICK_PARTS),
        "item age": {"never clicked": clicks == 0} | by_age,
        "prefix": {
            "known": facts.prefix == KNOWN,
            "by content": facts.prefix == BY_CONTENT,
            "nothing known": facts.prefix == NOTHING_KNOWN,
        },
    }


def _by_range(values: NDArray[np.int64], ranges: Sequence[tuple[int, int | None]]) -> dict[str, NDArray[np.bool_]]:
    parts = {}
    for low, high in ranges:
        name = f"{low}+" if high is None else f"{low}" if low == high else f"{low}-{high}"
        parts[name] = (values >= low) & (values <= (np.inf if high is None else high))
    return parts


def _slice(ranks: Mapping[str, NDArray[np.int32]], rows: NDArray[np.bool_]) -> Slice:
    return Slice(
        int(rows.sum()),
        {
            name: {measure: float(of(own[rows], LIST_CUT_OFF).mean()) for measure, of in _MEASURES.items()}
            for name, own in ranks.items()
        },
    )
