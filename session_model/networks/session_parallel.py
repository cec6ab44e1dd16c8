"""Session-parallel mini-batches: each slot of a batch walks through a session of its own (Hidasi et al., ICLR 2016).

A slot whose session has ended takes the next session at once, so no slot waits for the others:

    slot 0: a1 a2 a3 | d1 d2 | ...     the state of a slot starts at zero behind each |
    slot 1: b1 b2 | c1 c2 c3 c4 | ...
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from session_model.data.item_sequences import ItemSequences


@dataclass(frozen=True, slots=True)
class ParallelStep:
    """One click of each slot that still has a session; all (n_slots,).

    slots: int32, the slot's number. inputs, targets: int32 `ItemIndex`, a click and the one after it.
    is_first: bool, true where a session begins with this input: what the slot remembers is of another shopper.
    """

    slots: NDArray[np.int32]
    inputs: NDArray[np.int32]
    targets: NDArray[np.int32]
    is_first: NDArray[np.bool_]


class SessionParallelBatches:
    """Deals out sessions, oldest first, to `n_slots` slots; sessions of one click are left out."""

    def __init__(self, sequences: ItemSequences, n_slots: int) -> None:
        usable = np.diff(sequences.starts) > 1
        self._items = sequences.items
        self._first = sequences.starts[:-1][usable]
        self._last = sequences.starts[1:][usable] - 1
        self._n_slots = min(n_slots, len(self._first))

    @property
    def n_targets(self) -> int:
        """Count the targets of an epoch."""
        return int((self._last - self._first).sum())

    @property
    def n_steps(self) -> int:
        """Count the steps of an epoch."""
        ends = [0] * self._n_slots
        for length in (self._last - self._first).tolist():
            heapq.heapreplace(ends, ends[0] + length)
        return max(ends, default=0)

    def target_counts(self, n_items: int) -> NDArray[np.int64]:
        """Count how often each item is a target, (n_items + 1,)."""
        is_target = np.zeros(len(self._items) + 1, np.int64)
        np.add.at(is_target, self._first + 1, 1)
        np.add.at(is_target, self._last + 1, -1)
        return np.bincount(self._items[np.cumsum(is_target[:-1]) > 0], minlength=n_items + 1).astype(np.int64)

    def epoch(self) -> Iterator[ParallelStep]:
        """Return every target once; at the end, when no session is left to deal out, steps have fewer slots."""
        slots = np.arange(self._n_slots, dtype=np.int32)
        dealt = self._n_slots
        place, last = self._first[slots].copy(), self._last[slots].copy()
        is_first = np.ones(self._n_slots, np.bool_)
        while len(slots):
            yield ParallelStep(slots, self._items[place], self._items[place + 1], is_first)
            place = place + 1
            is_first = place == last
            ended = np.flatnonzero(is_first)
            refilled, emptied = np.split(ended, [max(0, len(self._first) - dealt)])
            fresh = np.arange(dealt, dealt + len(refilled))
            place[refilled], last[refilled] = self._first[fresh], self._last[fresh]
            dealt += len(refilled)
            if len(emptied):
                slots, place, last, is_first = (np.delete(one, emptied) for one in (slots, place, last, is_first))
