"""Which items a training batch is scored against, and how likely each was to be among them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class CandidateSet:
    """The items that share one softmax.

    items: (n_candidates,) int32 `ItemIndex`, ascending, unique.
    log_inclusion: (n_candidates,) float32, log of the probability that a batch like this contains the item.
    """

    items: NDArray[np.int32]
    log_inclusion: NDArray[np.float32]


class NegativeSampler:
    """Adds shared negatives, drawn from popularity^power, to the clicks of a batch.

    counts: (n_items + 1,) int64, how often each item is among what batches hold; entry 0 is padding and must be 0.
    A catalogue that `n_negatives` would cover anyway is scored in full: then nothing is drawn or corrected.
    """

    def __init__(self, counts: NDArray[np.int64], *, n_negatives: int, power: float) -> None:
        self._n_items = len(counts) - 1
        self._n_negatives = n_negatives
        draw = np.power(counts[1:] + 1.0, power)
        draw /= draw.sum()
        self._cumulative = np.cumsum(draw)
        share = counts[1:] / max(1, counts.sum())
        # The only item of a catalogue is always there.
        self._log_not_drawn, self._log_not_clicked = (np.log1p(-np.minimum(p, 1 - 1e-7)) for p in (draw, share))

    @property
    def is_full(self) -> bool:
        """Return whether every batch is scored against the whole catalogue."""
        return self._n_items <= self._n_negatives

    def candidates(self, clicks: NDArray[np.int32], rng: np.random.Generator) -> CandidateSet:
        """Join `clicks` (n_clicks,) int32 with fresh negatives."""
        if self.is_full:
            return CandidateSet(np.arange(1, self._n_items + 1, dtype=np.int32), np.zeros(self._n_items, np.float32))
        places = np.searchsorted(self._cumulative, rng.random(self._n_negatives))
        drawn = np.minimum(places, self._n_items - 1).astype(np.int32) + 1
        items = np.unique(np.concatenate([clicks, drawn]))
        return CandidateSet(items, self.log_inclusion(items, len(clicks)))

    def log_inclusion(self, items: NDArray[np.int32], n_clicks: int) -> NDArray[np.float32]:
        """Return log(1 - (1 - draw)^n_negatives (1 - share)^n_clicks) of each item.

        Subtracted from the logits it makes the sampled softmax an estimate of the full one (Bengio & Senecal 2008),
        here for the union of drawn negatives and clicks, each item once.
        """
        rows = items - 1
        log_absent = self._n_negatives * self._log_not_drawn[rows] + n_clicks * self._log_not_clicked[rows]
        return np.asarray(np.log(-np.expm1(log_absent)), np.float32)
