from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from session_model.networks.cosine_network import unit_rows
from session_model.networks.gru import SessionGru
from session_model.networks.settings import GruSettings

SETTINGS = GruSettings(units=6, dimension=4, item_dropout=0.25, state_dropout=0.5)
N_ITEMS = 9


@pytest.fixture(scope="module")
def model() -> SessionGru:
    """Return an untrained model."""
    return SessionGru(N_ITEMS, SETTINGS, seed=3)


def vectors(model: SessionGru, items: list[list[int]], positions: list[int]) -> np.ndarray:
    """Return session vectors of rows of items."""
    table = unit_rows(model.item_table)
    return model.read(tf.gather(table, items), tf.constant(positions)).vectors.numpy()


def unit(array: np.ndarray) -> np.ndarray:
    """Scale the last axis to length 1."""
    return array / np.linalg.norm(array, axis=-1, keepdims=True)


def sigmoid(array: np.ndarray) -> np.ndarray:
    """Squash to (0, 1)."""
    return 1 / (1 + np.exp(-array))


def test_it_is_the_gru_of_the_paper_written_out(model: SessionGru) -> None:
    """Zero state, update and reset gates, projection of [state; last item], unit length: equal to NumPy by hand."""
    table, kernel, recurrent, bias, readout, *_ = (weight.astype(np.float64) for weight in model.weights())
    inputs, state = unit(table)[[3, 1, 7]], np.zeros(SETTINGS.units)
    for item in inputs:
        from_input = np.split(item @ kernel + bias[0], 3)
        from_state = np.split(state @ recurrent + bias[1], 3)
        update, reset = (sigmoid(from_input[gate] + from_state[gate]) for gate in (0, 1))
        candidate = np.tanh(from_input[2] + reset * from_state[2])
        state = update * state + (1 - update) * candidate
    expected = unit(np.concatenate([state, inputs[-1]]) @ readout)
    assert vectors(model, [[3, 1, 7]], [2])[0] == pytest.approx(expected, abs=1e-5)


def test_dropout_drops_the_stated_share_and_keeps_the_mean() -> None:
    """The rates are shares that are dropped; survivors are scaled up; no seed means no dropout."""
    rates = {"item_dropout": 0.25, "state_dropout": 0.0}
    model = SessionGru(N_ITEMS, replace(SETTINGS, **rates), seed=3)
    seen: list[tf.Tensor] = []
    gru = model.gru
    model.gru = lambda inputs: (seen.append(inputs), gru(inputs))[1]
    inputs, positions = tf.ones((200, 5, SETTINGS.dimension)), tf.constant([0])
    model.read(inputs, positions, dropout_seed=tf.constant([1, 2]))
    model.read(inputs, positions)
    dropped, plain = (tensor.numpy() for tensor in seen)
    assert np.mean(dropped == 0) == pytest.approx(0.25, abs=0.03)
    assert dropped.max() == pytest.approx(1 / 0.75)
    assert np.all(plain == 1)


def test_state_dropout_changes_the_vector_by_its_seed_only(model: SessionGru) -> None:
    """The same seed drops the same entries, another one others."""
    inputs, positions = tf.gather(unit_rows(model.item_table), [[1, 2, 3]]), tf.constant([2])
    first, same, other = (
        model.read(inputs, positions, dropout_seed=tf.constant([1, seed])).vectors.numpy() for seed in (2, 2, 40)
    )
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


def mute_all_but_attention(model: SessionGru) -> None:
    """Let only what is attended speak."""
    kernel = model.readout.kernel.numpy()
    kernel[: SETTINGS.units + SETTINGS.dimension] = 0.0
    model.readout.kernel.assign(kernel)


def test_attention_reads_every_item_up_to_a_position_and_none_behind_it() -> None:
    """With attention an early item moves a later position's vector, and a later item no earlier position's."""
    model = SessionGru(N_ITEMS, replace(SETTINGS, has_attention=True), seed=3)
    mute_all_but_attention(model)
    one, other = vectors(model, [[3, 1, 7]], [0, 2]), vectors(model, [[3, 2, 7]], [0, 2])
    assert one[0] == pytest.approx(other[0], abs=1e-6)
    assert not np.allclose(one[1], other[1], atol=1e-3)


def test_the_first_item_attends_to_itself() -> None:
    """At the first position the mean is the item, which the projection passes unchanged at first."""
    model = SessionGru(N_ITEMS, replace(SETTINGS, has_attention=True), seed=3)
    mute_all_but_attention(model)
    assert vectors(model, [[5]], [0])[0] == pytest.approx(unit(model.weights()[0][5]), abs=1e-5)
