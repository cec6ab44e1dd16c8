"""Which half-life and which strength, for places of each depth: those whose lists held the views that then came.

Chosen while it runs, by hits among the first 20 and never by likelihood: on four shops' logs the likelihood chose the
whole shop's shares where the place's own hold more of what comes.
"""

from collections.abc import Sequence
from itertools import product
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.ids import ItemId
from streams.trending.counts import HALF_LIVES_MS, PlaceCounts
from streams.trending.shares import LONGEST, PARENT_ONLY, Setting, Shares

STEP_MS: Final = 300_000
"""Event time between two looks."""
HITS_AT: Final = 20
MAX_HITS: Final = 100_000
"""Of a depth between two looks; what comes beyond them tells no more. Event time may stand still, as in a backfill."""
MAX_TRIED_PLACES: Final = 32
"""Places of a depth by which it is chosen, those with the most views."""
STRENGTHS: Final = (30.0, 100.0, 300.0, 1_000.0, 3_000.0, 10_000.0)
_FADE: Final = 0.993
"""What an older step's hits count after each step: half after eight hours."""
SETTINGS_EVERYWHERE: Final = tuple(Setting(rung, strength) for rung, strength in product(range(LONGEST), STRENGTHS))
SETTINGS: Final = (
    *(Setting(rung, strength) for rung, strength in product(range(len(HALF_LIVES_MS)), STRENGTHS)),
    Setting(LONGEST, PARENT_ONLY),
)
_FIRST: Final = Setting(2, 300.0)
"""Before anything has come."""


def settings_of(depth: int) -> tuple[Setting, ...]:
    """Return what is tried for places of a depth; 0 = everywhere."""
    return SETTINGS if depth else SETTINGS_EVERYWHERE


class Choices:
    """Holds the lists of the last look against what is viewed, for every depth of the places; 0 = everywhere."""

    def __init__(self) -> None:
        self._scores: dict[int, NDArray[np.float64]] = {}
        self._masks: dict[str, dict[ItemId, int]] = {}
        self._hits: dict[int, list[int]] = {}

    def clicked(self, depth: int, place: str, item_id: ItemId) -> None:
        """Take in a view at a place, once for each place that it counts at."""
        masks = self._masks.get(place)
        hits = self._hits.setdefault(depth, [])
        if masks is not None and len(hits) < MAX_HITS:
            hits.append(masks.get(item_id, 0))

    def chosen(self, depth: int) -> Setting:
        """Return the setting whose lists held most of what came."""
        settings, scores = settings_of(depth), self._scores.get(depth)
        if scores is None or not scores.any():
            return _FIRST
        return settings[int(scores.argmax())]

    def learn(self) -> None:
        """Count the hits since the last look; the lists are to be given anew by `look`."""
        for depth, masks in self._hits.items():
            settings = settings_of(depth)
            bits = np.array(masks, np.uint64)[:, None] >> np.arange(len(settings), dtype=np.uint64)
            hits = (bits & np.uint64(1)).sum(axis=0).astype(np.float64)
            self._scores[depth] = _FADE * self._scores.get(depth, np.zeros(len(settings))) + hits
        self._hits.clear()
        self._masks.clear()

    def look(self, depth: int, place: str, counts: PlaceCounts, now_ms: int, prior: Shares) -> None:
        """Note the items that each setting would list at a place; prior: the shares of the place around it."""
        own = set(counts.items)
        outside = [item_id for item_id in prior.top[:HITS_AT] if item_id not in own]
        items: Sequence[ItemId] = [*counts.items, *outside]
        at = np.concatenate([counts.at(now_ms), np.zeros((len(outside), len(HALF_LIVES_MS)))])
        of_prior, totals = prior.of(items), at.sum(axis=0)
        masks: dict[ItemId, int] = {}
        for bit, setting in enumerate(settings_of(depth)):
            if setting.strength == PARENT_ONLY:
                shares = of_prior
            else:
                total = totals[setting.rung] + setting.strength
                shares = (at[:, setting.rung] + setting.strength * of_prior) / total
            best = np.argpartition(-shares, HITS_AT)[:HITS_AT] if len(items) > HITS_AT else np.arange(len(items))
            for row in best.tolist():
                masks[items[row]] = masks.get(items[row], 0) | 1 << bit
        self._masks[place] = masks

    def stored(self) -> dict[int, list[float]]:
        """Return the hits so far, as `restore` takes them."""
        return {depth: scores.tolist() for depth, scores in self._scores.items()}

    def restore(self, stored: dict[int, list[float]]) -> None:
        """Go on from what was stored; what was made for other settings is left out."""
        for depth, scores in stored.items():
            if len(scores) == len(settings_of(depth)):
                self._scores[depth] = np.array(scores, np.float64)
