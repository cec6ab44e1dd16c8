"""Training batches of nearly equal session lengths: padding costs next to nothing."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from session_model.csr import flat_positions
from session_model.data.item_sequences import ItemSequences


@dataclass(frozen=True, slots=True)
class Batch:
    """Some sessions side by side, padded at the end.

    inputs: (n_sessions, length) int32 `ItemIndex`, 0 is padding.
    positions: (n_targets,) int32, where in the flattened `inputs` each target is asked for.
    targets: (n_targets,) int32 `ItemIndex`, the item after that position.
    """

    inputs: NDArray[np.int32]
    positions: NDArray[np.int32]
    targets: NDArray[np.int32]

    @property
    def clicks(self) -> NDArray[np.int32]:
        """All items that are read or asked for, each click once, (n_sessions + n_targets,)."""
        return np.concatenate([self.inputs[:, 0], self.targets])

    def share(self, index: int, n_shares: int) -> "Batch":
        """Return every `n_shares`-th session from `index` on, padded as before; of few sessions that may be none."""
        sessions = np.arange(index, len(self.inputs), n_shares)
        targets = np.zeros(self.inputs.size, np.int32)  # 0 where nothing is asked for: no target is padding
        targets[self.positions] = self.targets
        mine = targets.reshape(self.inputs.shape)[sessions].ravel()
        positions = np.flatnonzero(mine)
        return Batch(self.inputs[sessions], positions.astype(np.int32), mine[positions])


class BatchPlan:
    """Cuts sessions into batches of about `batch_targets` targets; a session gives its last `max_length` ones.

    Sessions are drawn in random order, sorted by length, cut, and the batches shuffled: each epoch mixes anew.
    recency_decay: sessions are drawn with weight exp(-age / it), age in shares of all sessions, and may come again;
    None: each session once an epoch.
    """

    def __init__(
        self, sequences: ItemSequences, *, max_length: int, batch_targets: int, recency_decay: float | None = None
    ) -> None:
        n_targets = np.minimum(np.diff(sequences.starts) - 1, max_length)
        usable = n_targets > 0
        self._items = sequences.items
        self._n_targets = n_targets[usable]
        self._first = (sequences.starts[1:] - 1 - n_targets)[usable]
        self._batch_targets = batch_targets
        self._draw = None if recency_decay is None else _recent_first(len(self._first), recency_decay)

    @property
    def n_batches(self) -> int:
        """Count the batches of an epoch; about, where sessions are drawn."""
        return -(-self.n_targets // self._batch_targets)

    @property
    def n_targets(self) -> int:
        """Count the targets of an epoch."""
        return int(self._n_targets.sum())

    def click_counts(self, n_items: int) -> NDArray[np.int64]:
        """Count how often each item is among the clicks of an epoch, (n_items + 1,)."""
        n_clicks = self._n_targets + 1
        clicks = self._items[flat_positions(self._first, n_clicks)]
        if self._draw is None:
            return np.bincount(clicks, minlength=n_items + 1)
        expected = np.repeat(self._draw * len(self._draw), n_clicks)
        return np.rint(np.bincount(clicks, expected, minlength=n_items + 1)).astype(np.int64)

    def epoch(self, rng: np.random.Generator, n_done: int = 0) -> Iterator[Batch]:
        """Return every target once, or as often as its session is drawn, but for the first `n_done` batches.

        All chance is drawn at once, not as the batches are taken.
        """
        order = rng.permutation(len(self._first))
        if self._draw is not None:
            order = rng.choice(len(self._first), len(self._first), p=self._draw)
        order = order[np.argsort(self._n_targets[order], kind="stable")]
        group = (np.cumsum(self._n_targets[order]) - 1) // self._batch_targets
        cuts = np.flatnonzero(np.diff(group)) + 1
        parts = np.split(order, cuts)
        return (self._batch(parts[part]) for part in rng.permutation(len(parts))[n_done:])

    def _batch(self, sessions: NDArray[np.int64]) -> Batch:
        n_targets = self._n_targets[sessions]
        length = int(n_targets.max(initial=0))
        real = np.arange(length) < n_targets[:, None]
        rows = self._first[sessions][:, None] + np.arange(length)
        inputs = np.where(real, self._items[np.where(real, rows, 0)], 0)
        return Batch(
            inputs.astype(np.int32), np.flatnonzero(real).astype(np.int32), self._items[rows[real] + 1].astype(np.int32)
        )


def _recent_first(n_sessions: int, decay: float) -> NDArray[np.float64]:
    """Return the probability of each session, oldest first, to be drawn."""
    weights = np.exp(-np.arange(n_sessions, 0, -1) / max(1, n_sessions) / decay)
    return np.asarray(weights / weights.sum())
