from collections import Counter

import numpy as np
import pytest

from session_model.data.item_sequences import ItemSequences
from session_model.networks.batches import Batch, BatchPlan


def sequences_of(*rows: list[int]) -> ItemSequences:
    """Lay out rows of items."""
    starts = np.cumsum([0, *map(len, rows)])
    return ItemSequences(starts.astype(np.int64), np.array([item for row in rows for item in row], np.int32))


def pairs(plan: BatchPlan, seed: int) -> Counter[tuple[tuple[int, ...], int]]:
    """Count each (prefix, target) of an epoch."""
    found: Counter[tuple[tuple[int, ...], int]] = Counter()
    for batch in plan.epoch(np.random.default_rng(seed)):
        length = batch.inputs.shape[1]
        for position, target in zip(batch.positions.tolist(), batch.targets.tolist(), strict=True):
            row, place = divmod(position, length)
            found[tuple(batch.inputs[row, : place + 1].tolist()), target] += 1
    return found


def test_every_target_comes_once_behind_its_own_prefix() -> None:
    """No prefix crosses into another session, and sessions of one click give nothing."""
    plan = BatchPlan(sequences_of([1, 2, 3], [9], [], [4, 5], [6, 7, 8, 6]), max_length=20, batch_targets=3)
    expected = [((1,), 2), ((1, 2), 3), ((4,), 5), ((6,), 7), ((6, 7), 8), ((6, 7, 8), 6)]
    assert pairs(plan, 0) == Counter(expected)
    assert pairs(plan, 1) == Counter(expected)


def test_a_long_session_gives_its_last_targets() -> None:
    """`max_length` bounds what is read and learned of one session."""
    plan = BatchPlan(sequences_of([1, 2, 3, 4, 5]), max_length=2, batch_targets=8)
    assert pairs(plan, 0) == Counter([((3,), 4), ((3, 4), 5)])


def test_sessions_of_a_batch_are_about_equally_long() -> None:
    """Padding is a small part of the input cells."""
    rng = np.random.default_rng(0)
    rows = [[1] * int(length) for length in rng.integers(2, 21, 2_000)]
    plan = BatchPlan(sequences_of(*rows), max_length=20, batch_targets=256)
    batches = list(plan.epoch(rng))
    cells = sum(batch.inputs.size for batch in batches)
    assert sum(len(batch.targets) for batch in batches) == plan.n_targets
    assert plan.n_targets / cells > 0.95
    assert len(batches) <= plan.n_batches


def test_an_epoch_depends_on_the_generator_only() -> None:
    """The same generator state gives the same batches, another one other batches."""
    plan = BatchPlan(sequences_of(*([i, i + 1] for i in range(1, 50))), max_length=20, batch_targets=4)
    first, same, other = (
        np.concatenate([batch.targets for batch in plan.epoch(np.random.default_rng(seed))]) for seed in (0, 0, 1)
    )
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


def test_clicks_are_counted_as_batches_have_them() -> None:
    """Every click that is read or asked for counts once; what is too old and what stands alone never."""
    plan = BatchPlan(sequences_of([1, 2, 2], [3], [3, 1, 3, 1]), max_length=2, batch_targets=99)
    (batch,) = plan.epoch(np.random.default_rng(0))
    assert plan.click_counts(3).tolist() == [0, 3, 2, 1]
    assert np.bincount(batch.clicks, minlength=4).tolist() == [0, 3, 2, 1]


def test_recent_sessions_are_drawn_more_often() -> None:
    """With a recency decay an epoch draws as many sessions, later ones more often; the counts expect that."""
    plan = BatchPlan(
        sequences_of(*([i, 200 + i] for i in range(1, 101))), max_length=20, batch_targets=10, recency_decay=0.2
    )
    drawn = Counter[int]()
    rng = np.random.default_rng(0)
    for _ in range(200):
        for batch in plan.epoch(rng):
            drawn.update(batch.targets.tolist())
    assert drawn.total() == 200 * 100
    counts = plan.click_counts(300)
    assert counts[300] > 3 * counts[270] > 0
    assert drawn[300] / 200 == pytest.approx(counts[300], abs=0.7)


def test_shares_of_a_batch_are_the_batch() -> None:
    """Every session is in one of them, with its targets; of two sessions a third share is empty."""
    plan = BatchPlan(sequences_of([1, 2, 3], [4, 5], [6, 7, 8, 6]), max_length=20, batch_targets=100)
    (batch,) = plan.epoch(np.random.default_rng(0))
    shares = [batch.share(index, 2) for index in range(2)]
    assert [len(share.inputs) for share in shares] == [2, 1]
    found = sorted(pair for share in shares for pair in asked(share))
    assert found == sorted(asked(batch))
    empty = batch.share(3, 4)
    assert (len(empty.inputs), len(empty.targets)) == (0, 0)


def asked(batch: Batch) -> list[tuple[list[int], int]]:
    """Return the row and the target of each position."""
    rows = batch.inputs[batch.positions // batch.inputs.shape[1]].tolist()
    return list(zip(rows, batch.targets.tolist(), strict=True))


def test_an_epoch_may_begin_later() -> None:
    """What is left are the same batches, and the generator stands where it stood at the begin."""
    plan = BatchPlan(sequences_of(*[[1, 2, 3]] * 9, [4, 5]), max_length=20, batch_targets=2)
    whole = list(plan.epoch(np.random.default_rng(3)))
    rng = np.random.default_rng(3)
    rest = plan.epoch(rng, 4)
    drawn = rng.random()
    assert [batch.targets.tolist() for batch in rest] == [batch.targets.tolist() for batch in whole[4:]]
    other = np.random.default_rng(3)
    plan.epoch(other)
    assert drawn == other.random()
