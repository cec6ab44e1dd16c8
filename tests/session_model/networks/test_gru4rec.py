from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from session_model.networks.gru4rec import Gru4Rec, elu
from session_model.networks.losses import bpr_max, sampled_cross_entropy
from session_model.networks.settings import GRU4REC, Gru4RecSettings

N_ITEMS, UNITS = 9, 4
SETTINGS = Gru4RecSettings("cross-entropy", UNITS, 2, 0.1, 0.0, 0.5, item_dropout=0.25, state_dropout=0.5)
WHOLE = replace(SETTINGS, item_dropout=0.0, state_dropout=0.0)
SEED = tf.constant([1, 2])


@pytest.fixture(scope="module")
def model() -> Gru4Rec:
    """Return an untrained model with biases that differ."""
    model = Gru4Rec(N_ITEMS, WHOLE)
    model.gru.set_weights([*model.gru.get_weights()[:2], np.linspace(-1, 1, 3 * UNITS, dtype=np.float32)])
    model.item_table[:, -1].assign(np.linspace(0, 1, N_ITEMS + 1, dtype=np.float32))
    return model


def sigmoid(array: np.ndarray) -> np.ndarray:
    """Squash to (0, 1)."""
    return 1 / (1 + np.exp(-array))


def state_by_hand(model: Gru4Rec, items: list[int]) -> np.ndarray:
    """Write the GRU of the paper out: update and reset gate, candidate from the reset state."""
    kernel, recurrent, bias = (weight.astype(np.float64) for weight in model.gru.get_weights())
    of_update, of_reset, of_candidate = np.split(recurrent, 3, axis=1)
    state = np.zeros(UNITS)
    for item in items:
        update, reset, candidate = np.split(model.item_table.numpy()[item, :-1] @ kernel + bias, 3)
        update, reset = sigmoid(update + state @ of_update), sigmoid(reset + state @ of_reset)
        state = update * state + (1 - update) * np.tanh(candidate + (reset * state) @ of_candidate)
    return state


def session_vectors(model: Gru4Rec, items: list[list[int]], positions: list[int]) -> np.ndarray:
    """Return session vectors of rows of items, as served."""
    table = tf.constant(model.item_vectors())
    return model.read(tf.gather(table, items), tf.constant(positions)).vectors.numpy()


def test_scores_are_those_of_the_paper_written_out(model: Gru4Rec) -> None:
    """State . item vector + bias over all items, with one table for input and output."""
    scores = session_vectors(model, [[3, 1, 7]], [2]) @ model.item_matrix()
    table = model.item_table.numpy()[1:]
    assert scores[0] == pytest.approx(table[:, :-1] @ state_by_hand(model, [3, 1, 7]) + table[:, -1], abs=1e-5)


def test_steps_of_training_are_the_sequence_that_is_served(model: Gru4Rec) -> None:
    """Click by click with the state carried on, or the whole session at once: the same vectors."""
    states, stepped = tf.zeros((1, UNITS)), []
    for item in (3, 1, 7):
        states, vectors = model.step(model.item_table[item : item + 1, :-1], states, SEED)
        stepped.append(vectors.numpy()[0])
    assert np.stack(stepped) == pytest.approx(session_vectors(model, [[3, 1, 7]], [0, 1, 2]), abs=1e-6)


def test_the_state_that_is_carried_stays_whole() -> None:
    """Dropout thins the inputs and what is scored, by the share that is stated, and scales up what stays."""
    model = Gru4Rec(N_ITEMS, replace(SETTINGS, item_dropout=0.0))
    items = tf.random.stateless_normal((400, UNITS), (1, 2))
    states, vectors = model.step(items, tf.zeros((400, UNITS)), SEED)
    kept = vectors.numpy()[:, :-1]
    assert (states.numpy() != 0).all()
    assert np.mean(kept == 0) == pytest.approx(SETTINGS.state_dropout, abs=0.05)
    assert kept[kept != 0] == pytest.approx(2 * states.numpy()[kept != 0], rel=1e-5)
    assert (vectors.numpy()[:, -1] == 1).all()


def test_weights_start_uniform_and_small() -> None:
    """Glorot's bound for each matrix on its own, the table's by its full size; biases start at zero."""
    model = Gru4Rec(999, WHOLE)
    table = model.item_table.numpy()
    assert np.abs(table[1:, :-1]).max() == pytest.approx(np.sqrt(6 / (999 + UNITS)), rel=0.01)
    kernel, recurrent, bias = model.gru.get_weights()
    for matrix in (kernel, recurrent):
        assert 0.7 < np.abs(matrix).max() / np.sqrt(6 / (2 * UNITS)) <= 1
    assert not np.any(table[:, -1])
    assert not np.any(bias)
    assert not np.any(table[0])


def test_the_loss_is_the_one_that_was_named() -> None:
    """Cross entropy takes raw scores with logQ; BPR-max takes elu scores and the penalty."""
    scores = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    labels, log_inclusion = np.array([0, 4, 2], np.int32), np.linspace(-2, 0, 5, dtype=np.float32)
    own = Gru4Rec(5, WHOLE).loss(scores, labels, log_inclusion)
    assert float(own) == pytest.approx(float(sampled_cross_entropy(scores, labels, log_inclusion)))
    own = Gru4Rec(5, replace(WHOLE, loss="bpr-max", elu=0.5, penalty=1.95)).loss(scores, labels, log_inclusion)
    by_hand = np.where(scores > 0, scores, 0.5 * (np.exp(scores) - 1))
    assert float(own) == pytest.approx(float(bpr_max(by_hand, labels, 1.95)), rel=1e-5)


def test_elu_of_extreme_scores_has_a_slope() -> None:
    """Neither side overflows: the branch that is not taken does not poison the gradient."""
    scores = tf.constant([-200.0, -1.0, 0.0, 1.0, 200.0])
    with tf.GradientTape() as tape:
        tape.watch(scores)
        values = elu(scores, 0.5)
    assert values.numpy() == pytest.approx([-0.5, 0.5 * np.expm1(-1), 0.0, 1.0, 200.0])
    assert tape.gradient(values, scores).numpy() == pytest.approx([0.0, 0.5 * np.exp(-1), 0.5, 1.0, 1.0], abs=1e-6)


def test_the_recipes_are_those_that_are_published() -> None:
    """2048 shared negatives and ten epochs each; BPR-max comes with its penalty, cross entropy without."""
    for settings in GRU4REC.values():
        assert (settings.negatives, settings.epochs) == (2048, 10)
        assert (settings.penalty > 0) == (settings.loss == "bpr-max")
