from collections import defaultdict

import numpy as np
import pytest

from session_model.data.item_sequences import ItemSequences
from session_model.networks.session_parallel import ParallelStep, SessionParallelBatches

ROWS = ([1, 2, 3], [9], [4, 5], [6, 7, 8, 6], [], [2, 4], [5, 5])


def sequences_of(*rows: list[int]) -> ItemSequences:
    """Lay out rows of items."""
    starts = np.cumsum([0, *map(len, rows)])
    return ItemSequences(starts.astype(np.int64), np.array([item for row in rows for item in row], np.int32))


def lists(step: ParallelStep) -> tuple[list[int], list[int], list[int], list[bool]]:
    """Return a step as lists."""
    return step.slots.tolist(), step.inputs.tolist(), step.targets.tolist(), step.is_first.tolist()


def test_a_slot_takes_the_next_session_at_once() -> None:
    """By hand: slot 1 goes on to the third session while slot 0 is still in its first; the last one walks alone."""
    steps = [lists(step) for step in SessionParallelBatches(sequences_of(*ROWS), 2).epoch()]
    assert steps == [
        ([0, 1], [1, 4], [2, 5], [True, True]),
        ([0, 1], [2, 6], [3, 7], [False, True]),
        ([0, 1], [2, 7], [4, 8], [True, False]),
        ([0, 1], [5, 8], [5, 6], [True, False]),
    ]


@pytest.mark.parametrize("n_slots", [1, 2, 3, 100])
def test_every_session_is_walked_once_in_one_slot(n_slots: int) -> None:
    """Cut where a session begins, the clicks of the slots are the sessions of two and more."""
    batches = SessionParallelBatches(sequences_of(*ROWS), n_slots)
    walked = defaultdict[int, list[list[int]]](list)
    n_steps = 0
    for step in batches.epoch():
        n_steps += 1
        for slot, item, target, is_first in zip(*lists(step), strict=True):
            if is_first:
                walked[slot].append([item])
            assert walked[slot][-1][-1] == item
            walked[slot][-1].append(target)
    assert sorted(row for rows in walked.values() for row in rows) == sorted(row for row in ROWS if len(row) > 1)
    assert n_steps == batches.n_steps


def test_counts_are_those_of_the_targets() -> None:
    """First items are no targets; sessions of one click have none."""
    batches = SessionParallelBatches(sequences_of(*ROWS), 2)
    assert batches.n_targets == 8
    assert batches.target_counts(9).tolist() == [0, 0, 1, 1, 1, 2, 1, 1, 1, 0]


def test_without_usable_sessions_there_is_no_step() -> None:
    """Nothing to walk."""
    batches = SessionParallelBatches(sequences_of([1], []), 4)
    assert (list(batches.epoch()), batches.n_steps, batches.n_targets) == ([], 0, 0)
