"""The bugs that Hidasi & Czapp (RecSys 2023) found in re-implementations of GRU4Rec, by their numbers in that order.

Each test fails where the bug is: in our GRU, in the GRU4Rec baseline, or in the evaluation, wherever it can live. What
tests of single parts hold anyway is not here again:

| bug | held by, in networks/ |
|---|---|
| 1, in serving | test_next_item_networks: `no_state_is_carried_to_the_next_session`, `rows_do_not_see_each_other` |
| 3 | test_losses: `bpr_max_is_the_formula_of_the_paper`, `bpr_max_of_extreme_scores_is_finite` |
| 4 | test_next_item_networks: `one_table_is_input_and_output` |
| 10, in batches | test_session_parallel: `a_slot_takes_the_next_session_at_once`, and test_batches |
| 12 | test_next_item_networks: `the_served_scores_are_those_of_the_network` |
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from schemas.ids import ItemId, ItemIndex, SessionId
from schemas.ranking import Candidates
from session_model.data.item_sequences import ItemSequences
from session_model.data.sessions import EVENT_TYPE_CODES, Sessions
from session_model.data.training_data import split_later
from session_model.evaluation.ranking import EvaluationPlan, targets
from session_model.metrics.ranking import target_rank
from session_model.networks.cosine_network import unit_rows
from session_model.networks.export import Servable, ServableParts
from session_model.networks.gru import SessionGru
from session_model.networks.gru4rec import Gru4Rec
from session_model.networks.gru4rec_training import _TrainingRun as BaselineRun
from session_model.networks.losses import bpr_max, sampled_cross_entropy
from session_model.networks.optimizer import RowSparseAdagrad
from session_model.networks.sampling import NegativeSampler
from session_model.networks.settings import GRU4REC, Gru4RecSettings, GruSettings, TrainingSettings
from session_model.networks.training_run import TrainingRun as OwnRun
from session_model.networks.training_task import TrainingTask
from session_model.release.release import Release
from session_model.runs.progress import NoProgress
from tests.builders.releases import release_parts, written_release

N_ITEMS = 40
SHAPE = GruSettings(units=8, dimension=8, item_dropout=0.0, state_dropout=0.0, max_length=6)
BASELINE = Gru4RecSettings("cross-entropy", 8, 2, 0.05, 0.0, 0.5, negatives=6, epochs=1)
ROWS = ([1, 2, 3, 4], [5, 6], [7, 8, 9], [3, 2])


def sequences_of(*rows: list[int]) -> ItemSequences:
    """Lay out rows of items."""
    starts = np.cumsum([0, *map(len, rows)])
    return ItemSequences(starts.astype(np.int64), np.array([item for row in rows for item in row], np.int32))


def whole_sessions(model: Gru4Rec, *rows: list[int]) -> list[np.ndarray]:
    """Return the state behind each whole row, each computed alone from zero."""
    vectors = tf.constant(model.item_vectors())
    return [model.read(tf.gather(vectors, [row]), [len(row) - 1]).vectors.numpy()[0, :-1] for row in rows]


class Spy(RowSparseAdagrad):
    """Keeps the weights as they are, so that the states of a whole epoch can be compared."""

    def apply(self, rows: tf.Tensor, gradients: list[tf.Tensor]) -> None:
        """Move nothing."""


def frozen_run(settings: Gru4RecSettings, *rows: list[int]) -> BaselineRun:
    """Prepare training whose steps change no weight."""
    run = BaselineRun(TrainingTask(sequences_of(*rows), N_ITEMS), settings)
    run._optimizer = Spy(run.model.item_table, run.model.dense_variables, learning_rate=0.1, momentum=0.0)
    return run


# --- 1: the hidden state is not reset, reset one step late, or by a stale mask ---------------------------------------


def test_bug_1_training_starts_each_session_at_zero_exactly_where_it_starts() -> None:
    """After each step of training, the state of a slot is that of its own session so far and of nothing before."""
    run = frozen_run(BASELINE, *ROWS)
    begun = {0: list[int](), 1: list[int]()}
    for step in run.batches.epoch():
        run.train(step)
        for slot, item, is_first in zip(step.slots.tolist(), step.inputs.tolist(), step.is_first, strict=True):
            begun[slot] = [item] if is_first else [*begun[slot], item]
            assert begun[slot] in [row[: len(begun[slot])] for row in ROWS]
            assert run._states.numpy()[slot] == pytest.approx(whole_sessions(run.model, begun[slot])[0], abs=1e-5)


# --- 2: softmax before sampling, or twice ----------------------------------------------------------------------------


def test_bug_2_the_loss_reads_raw_scores_once() -> None:
    """A certain prediction has no loss and one more constant changes nothing; of a second softmax neither is true."""
    scores, labels, full = np.array([[30.0, 0.0, -5.0]], np.float32), np.zeros(1, np.int32), np.zeros(3, np.float32)
    assert float(sampled_cross_entropy(scores, labels, full)) == pytest.approx(0.0, abs=1e-6)
    assert float(bpr_max(scores, labels, 0.0)) == pytest.approx(0.0, abs=1e-6)
    shifted = float(sampled_cross_entropy(scores[:, 1:] + 7, labels, full[1:]))
    assert shifted == pytest.approx(np.log1p(np.exp(-5)), abs=1e-5)


def test_bug_2_training_hands_over_scores_and_no_probabilities() -> None:
    """What reaches the loss of the baseline is state . vector + bias, of no sign and no sum."""
    run, seen = frozen_run(BASELINE, *ROWS), list[tf.Tensor]()
    run.model.item_table[:, -1].assign(np.full(N_ITEMS + 1, -3.0, np.float32))
    loss = run.model.loss
    run.model.loss = lambda *given: (seen.append(given[0]), loss(*given))[1]  # type: ignore[method-assign]
    run._train_step = run._train_step_graph
    run.train(next(run.batches.epoch()))
    assert (seen[0].numpy() < -2).all()


# --- 5: no extra shared negatives, no logQ ---------------------------------------------------------------------------


def test_bug_5_negatives_beyond_the_batch_come_by_popularity_and_are_corrected() -> None:
    """Candidates are more than the targets, popular ones come more often, and the frequency is taken off the score."""
    counts = np.concatenate([[0], np.full(20, 400), np.full(80, 1)])
    sampler, rng = NegativeSampler(counts, n_negatives=10, power=0.75), np.random.default_rng(0)
    shown = np.zeros(101)
    for _ in range(500):
        candidates = sampler.candidates(np.array([1], np.int32), rng)
        assert len(candidates.items) > 1
        shown[candidates.items] += 1
    assert shown[2:21].mean() > 5 * shown[21:].mean() > 0
    rare, popular = sampler.log_inclusion(np.array([50, 2]), 1)
    assert rare < popular < 0
    scores = np.zeros((1, 2), np.float32)
    corrected = sampled_cross_entropy(scores, np.array([0], np.int32), np.array([popular, rare]))
    assert float(corrected) == pytest.approx(np.log1p(np.exp(popular - rare)), rel=1e-5)


def test_bug_5_both_trainings_ask_for_their_negatives() -> None:
    """The sampler is made of the setting, and its correction reaches the loss of each step."""
    own = OwnRun(TrainingTask(sequences_of(*ROWS), N_ITEMS), SHAPE, TrainingSettings(negatives=6))
    for run in (own, frozen_run(BASELINE, *ROWS)):
        batch = next(iter(run.plan.epoch(run._rng) if isinstance(run, OwnRun) else run.batches.epoch()))
        drawn = run._sampler.candidates(batch.targets, np.random.default_rng(0))
        assert len(drawn.items) > len(np.unique(batch.targets))
        handed: list[tuple[np.ndarray, ...]] = []
        run._train_step = lambda *given, kept=handed: (kept.append(given), 0.0)[1]
        run.train(batch)
        corrections = [given for given in handed[0] if np.ndim(given) == 1 and np.asarray(given).dtype == np.float32]
        assert len(corrections) == 1
        assert (corrections[0] < 0).all()


# --- 6: all items are scored, then sampled ---------------------------------------------------------------------------


def test_bug_6_a_step_reads_and_moves_only_the_sampled_rows() -> None:
    """Rows of items that are neither input nor candidate stay as they were, and are handed to no step."""
    n_items = 3_000
    run = BaselineRun(TrainingTask(sequences_of(*ROWS), n_items), BASELINE)
    table, step = run.model.item_table.numpy(), next(run.batches.epoch())
    handed: list[np.ndarray] = []
    inner = run._train_step
    run._train_step = lambda *given: (handed.extend(given), inner(*given))[1]
    run.train(step)
    touched = np.flatnonzero((run.model.item_table.numpy() != table).any(axis=1))
    assert set(step.targets) <= set(touched) <= set(handed[0])
    assert len(handed[0]) <= len(step.inputs) + len(step.targets) + BASELINE.negatives
    assert max(np.size(given) for given in handed) < n_items


# --- 7: Adagrad without momentum, with a large initial accumulator, or with a learning rate that decays --------------


def test_bug_7_the_first_step_is_the_whole_rate_and_momentum_looks_ahead() -> None:
    """The first step of a weight is rate * sign whenever it comes; the second has momentum of Nesterov's kind."""
    for late in (0, 50):
        table, other = tf.Variable(tf.zeros((2, 1))), tf.constant([[0.01]])
        adagrad = RowSparseAdagrad(table, [], learning_rate=0.1, momentum=0.4)
        for _ in range(late):
            adagrad.apply(tf.constant([0]), [other])
        adagrad.apply(tf.constant([1]), [other])
        assert table.numpy()[1, 0] == pytest.approx(-0.1 * (1 + 0.4), rel=1e-2)
        adagrad.apply(tf.constant([1]), [other])
        second = -0.4 * (0.4 * 0.1 + 0.1 / np.sqrt(2)) - 0.1 / np.sqrt(2)
        assert table.numpy()[1, 0] == pytest.approx(-0.1 * 1.4 + second, rel=1e-2)


def test_bug_7_the_baseline_is_trained_by_it() -> None:
    """Rate and momentum of the recipe are what the first step shows in the bias of a target."""
    run = BaselineRun(TrainingTask(sequences_of([1, 2]), N_ITEMS), replace(BASELINE, momentum=0.4))
    run.train(next(run.batches.epoch()))
    assert run.model.item_table.numpy()[2, -1] == pytest.approx(0.05 * 1.4, rel=1e-3)


# --- 8: keep and drop probability swapped, embedding dropout missing -------------------------------------------------


def test_bug_8_rates_are_shares_that_are_dropped_of_items_and_of_states() -> None:
    """Of items at .2 and states at .6: a fifth of what the cell reads is 0, three fifths of what is scored."""
    model = Gru4Rec(N_ITEMS, replace(BASELINE, item_dropout=0.2, state_dropout=0.6))
    read, cell = list[np.ndarray](), model.gru.cell
    model.gru.cell = lambda items, states: (read.append(items.numpy()), cell(items, states))[1]
    _, scored = model.step(tf.ones((500, 8)), tf.zeros((500, 8)), tf.constant([3, 4]))
    assert np.mean(read[0] == 0) == pytest.approx(0.2, abs=0.04)
    assert np.mean(scored.numpy()[:, :-1] == 0) == pytest.approx(0.6, abs=0.04)
    model.gru.cell = cell


@pytest.mark.parametrize(("item", "state"), [(0.5, 0.0), (0.0, 0.5)])
def test_bug_8_our_gru_has_both_dropouts_and_serves_without(item: float, state: float) -> None:
    """Each rate alone changes what training sees by the seed; without a seed, as served, nothing is dropped."""
    model = SessionGru(N_ITEMS, replace(SHAPE, item_dropout=item, state_dropout=state), seed=1)
    inputs, at = tf.gather(unit_rows(model.item_table), [[3, 1, 7]]), tf.constant([2])
    served, again = (model.read(inputs, at).vectors.numpy() for _ in range(2))
    trained = model.read(inputs, at, dropout_seed=tf.constant([1, 2])).vectors.numpy()
    assert np.array_equal(served, again)
    assert not np.allclose(served, trained, atol=1e-3)


# --- 9: hard-coded sizes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_items", "units", "slots"), [(3, 2, 1), (61, 7, 5)])
def test_bug_9_every_size_is_a_setting(n_items: int, units: int, slots: int) -> None:
    """Odd sizes, fewer items than negatives and fewer sessions than slots train, are served, and have their shape."""
    settings = replace(BASELINE, units=units, batch_sessions=slots)
    run = BaselineRun(TrainingTask(sequences_of([1, 2, 3], [2, 3]), n_items), settings)
    assert np.isfinite(run.epoch(NoProgress()))
    own = OwnRun(
        TrainingTask(sequences_of([1, 2, 3], [2, 3]), n_items),
        replace(SHAPE, units=units, dimension=units + 1),
        TrainingSettings(epochs=1, batch_targets=slots),
    )
    assert np.isfinite(own.epoch(0, NoProgress()).loss)
    for gru in (run.model, own.model):
        recommend = Servable(ServableParts(gru, None, 2)).recommend
        answer = recommend(np.ones((3, 4), np.int32), np.full(3, 4, np.int32), np.zeros((3, 2), np.float32))
        assert answer["items"].shape == (3, n_items)
    assert len({one.units for one in GRU4REC.values()}) == len(GRU4REC)


# --- 10: a batch waits for all its sessions to end; unknown test items crash -----------------------------------------


def test_bug_10_unknown_items_are_asked_and_answered(release: Release) -> None:
    """An unseen item is a target that counts as a miss, and is left out of the prefix behind it."""
    asked = list(targets(release, held_out("1 never 2"), EvaluationPlan()))
    assert [(target.prefix.items.tolist(), target.item_index) for target in asked] == [([1], 0), ([1], 2)]
    assert target_rank(Candidates(np.array([1, 2], np.int32), np.ones(2, np.float32)), asked[0].item_index) is None


# --- 11: another GRU cell or other first weights than the paper's ----------------------------------------------------


def test_bug_11_the_cell_of_the_baseline_resets_the_state_before_it_is_weighed() -> None:
    """Cho et al. 2014 weigh r * h, the variant of cuDNN scales the weighed h; with a wide recurrence they differ."""
    model = Gru4Rec(N_ITEMS, BASELINE)
    rng = np.random.default_rng(0)
    kernel, recurrent, bias = (rng.normal(0, 1, one.shape).astype(np.float32) for one in model.gru.get_weights())
    model.gru.set_weights([kernel, recurrent, bias])
    item, state = rng.normal(size=8), rng.normal(size=8)
    update, reset, candidate = np.split(item @ kernel + bias, 3)
    weights = np.split(recurrent, 3, axis=1)
    update, reset = (1 / (1 + np.exp(-x - state @ w)) for x, w in ((update, weights[0]), (reset, weights[1])))
    expected = update * state + (1 - update) * np.tanh(candidate + (reset * state) @ weights[2])
    states, _ = model.step(
        tf.constant([item], tf.float32), tf.constant([state], tf.float32), dropout_seed=tf.constant([1, 2])
    )
    assert states.numpy()[0] == pytest.approx(expected, abs=1e-4)


def test_bug_11_first_weights_are_uniform_within_the_bound_of_glorot() -> None:
    """Fullest where a uniform draw is, at a third of the bound's square in variance; a normal draw passes the bound."""
    model = Gru4Rec(2_000, replace(BASELINE, units=32))
    kernel, recurrent, _ = model.gru.get_weights()
    bounds = ((kernel, 6 / 64), (recurrent, 6 / 64), (model.item_vectors()[1:], 6 / 2_032))
    for matrix, square in bounds:
        assert np.abs(matrix).max() <= np.sqrt(square)
        assert np.var(matrix) == pytest.approx(square / 3, rel=0.1)


# --- 13: evaluation with sampled negatives, leave-one-out, or random splits ------------------------------------------


def test_bug_13_the_rank_is_among_the_whole_catalogue_and_ties_count_against_it() -> None:
    """A model that scores all alike ranks last and not first; the list has every item that was trained on."""
    alike = Candidates(np.arange(1, N_ITEMS + 1, dtype=np.int32), np.ones(N_ITEMS, np.float32))
    assert {target_rank(alike, ItemIndex(item)) for item in range(1, N_ITEMS + 1)} == {N_ITEMS}


def test_bug_13_every_position_is_a_target_and_reads_only_what_came_before(release: Release) -> None:
    """Not the last item alone is asked for, and no prefix holds its target or what follows."""
    asked = [
        (target.prefix.items.tolist(), target.item_index)
        for target in targets(release, held_out("1 2 4"), EvaluationPlan())
    ]
    assert asked == [([1], 2), ([1, 2], 4)]


def test_bug_13_what_chooses_is_later_than_what_is_learned() -> None:
    """The validation slice is the latest sessions, whole, and nothing of them is among the earlier ones."""
    earlier, later = split_later(sequences_of(*ROWS), 1)
    assert (earlier.items.tolist(), later.items.tolist()) == ([1, 2, 3, 4, 5, 6, 7, 8, 9], [3, 2])


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """Release the items 1 to 5 of two sessions."""
    directory: Path = tmp_path_factory.mktemp("release")
    parts = release_parts("12345", items=np.array([1, 2, 3, 4, 5], np.int32))
    return written_release(directory, parts, max_length=9)


def held_out(*rows: str) -> Sessions:
    """Make sessions of viewed items."""
    words = [word for row in rows for word in row.split()]
    item_ids = sorted(set(words))
    return Sessions(
        session_ids=[SessionId(str(n)) for n in range(len(rows))],
        starts=np.cumsum([0, *(len(row.split()) for row in rows)]),
        items=np.array([item_ids.index(word) for word in words], np.int32),
        item_ids=[ItemId(item) for item in item_ids],
        times_ms=None,
        event_types=np.full(len(words), EVENT_TYPE_CODES.index("view"), np.uint8),
        prices=np.full(len(words), np.nan, np.float32),
    )
