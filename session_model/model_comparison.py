"""Models side by side on the same targets: intervals, paired differences, and where each is good.

Ranks are (n_targets,) int32 by model, from 1; 0 = not in the list.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from session_model.bootstrap import Interval, session_intervals
from session_model.ranking_metrics import LIST_CUT_OFF, recall, reciprocal_rank

REFERENCE = "blend"
"""The model that the others are compared with."""
POPULARITY_DECILES = 10
_MEASURES = {f"recall_at_{LIST_CUT_OFF}": recall, f"mrr_at_{LIST_CUT_OFF}": reciprocal_rank}
_LENGTH_PARTS = ((2, 2), (3, 3), (4, 5), (6, 10), (11, 20), (21, None))


class Slice(msgspec.Struct, frozen=True):
    """Some of the targets: how many, and recall_at_20 and mrr_at_20 by model."""

    targets: int
    models: dict[str, dict[str, float]]


@dataclass(frozen=True, slots=True)
class TargetFacts:
    """What is known of each target, (n_targets,) int64 each.

    session: its number. position: in its session, from 1. session_length: all of it. item: `ItemIndex`, 0 = unseen.
    """

    session: NDArray[np.int64]
    position: NDArray[np.int64]
    session_length: NDArray[np.int64]
    item: NDArray[np.int64]


def compare(
    facts: TargetFacts, ranks: Mapping[str, NDArray[np.int32]]
) -> tuple[dict[str, dict[str, Interval]], dict[str, dict[str, Interval]]]:
    """Give the 95 % intervals of each model, and of the reference minus each other one, paired."""
    values = {name: np.stack([measure(r, LIST_CUT_OFF) for measure in _MEASURES.values()]) for name, r in ranks.items()}
    minus = {name: values[REFERENCE] - own for name, own in values.items() if name != REFERENCE}
    columns = np.concatenate([*values.values(), *minus.values()]).T
    found = iter(session_intervals(facts.session, columns))
    intervals = {name: {measure: next(found) for measure in _MEASURES} for name in values}
    return intervals, {name: {measure: next(found) for measure in _MEASURES} for name in minus}


def slices(
    facts: TargetFacts, ranks: Mapping[str, NDArray[np.int32]], percentiles: NDArray[np.float64]
) -> dict[str, dict[str, Slice]]:
    """Part the targets by position, by session length and by popularity of the item; empty parts are left out.

    percentiles: (n_items + 1,) share of the catalogue that is clicked less; decile 10 has the most popular tenth.
    """
    unseen = facts.item == 0
    deciles = np.minimum(np.floor(percentiles[facts.item] * POPULARITY_DECILES), POPULARITY_DECILES - 1) + 1
    popularity = {f"decile {n}": ~unseen & (deciles == n) for n in range(1, POPULARITY_DECILES + 1)}
    by = {
        "position": _by_length(facts.position),
        "session length": _by_length(facts.session_length),
        "popularity": popularity | {"unseen": unseen},
    }
    return {
        name: {part: _slice(ranks, rows) for part, rows in parts.items() if rows.any()} for name, parts in by.items()
    }


def _by_length(values: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
    parts = {}
    for low, high in _LENGTH_PARTS:
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
