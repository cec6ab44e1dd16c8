from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from session_model.networks.attention import SessionAttention
from session_model.networks.cosine_network import unit_rows
from session_model.networks.settings import AttentionSettings

SETTINGS = AttentionSettings(dimension=4, blocks=2, dropout=0.25, max_length=5)
N_ITEMS = 9


@pytest.fixture(scope="module")
def model() -> SessionAttention:
    """Return a model whose every weight is moved: biases at zero would test nothing."""
    model, rng = SessionAttention(N_ITEMS, SETTINGS, seed=3), np.random.default_rng(0)
    for variable in model.dense_variables:
        variable.assign_add(rng.normal(0, 0.3, variable.shape).astype(np.float32))
    return model


def inputs_of(model: SessionAttention, items: list[list[int]]) -> tf.Tensor:
    """Look up unit vectors."""
    return tf.gather(unit_rows(model.item_table), items)


def unit(array: np.ndarray) -> np.ndarray:
    """Scale the last axis to length 1."""
    return array / np.linalg.norm(array, axis=-1, keepdims=True)


def layer_norm(states: np.ndarray, gain: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Write out Ba et al. 2016."""
    centred = states - states.mean(axis=-1, keepdims=True)
    return gain * centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-6) + bias


def test_it_is_the_network_of_the_paper_written_out(model: SessionAttention) -> None:
    """Item and place, then per block attention to what came before and a feed-forward network: equal to NumPy."""
    table, places, *weights = (weight.astype(np.float64) for weight in model.weights())
    given, n = iter(weights), 3
    states = 2.0 * unit(table)[[3, 1, 7]] + places[:n]
    for _ in range(SETTINGS.blocks):
        normed = layer_norm(states, next(given), next(given))
        query, key, value = (normed @ next(given) for _ in range(3))
        shares = np.where(np.tri(n) > 0, np.exp(query @ key.T / 2.0), 0.0)
        states = states + shares / shares.sum(axis=1, keepdims=True) @ value
        normed = layer_norm(states, next(given), next(given))
        states = states + np.maximum(normed @ next(given) + next(given), 0) @ next(given) + next(given)
    expected = unit(layer_norm(states, next(given), next(given)))
    read = model.read(inputs_of(model, [[3, 1, 7]]), tf.constant([0, 1, 2])).vectors.numpy()
    assert read == pytest.approx(expected, abs=1e-4)


def test_more_items_than_places_are_an_error(model: SessionAttention) -> None:
    """Nobody reads past the places that were learned; a servable hands over the latest items only."""
    with pytest.raises(tf.errors.InvalidArgumentError):
        model.read(inputs_of(model, [[1] * 6]), tf.constant([5]))


def test_dropout_drops_the_stated_share_and_keeps_the_mean() -> None:
    """Of the embedded items, too; survivors are scaled up; no seed means no dropout."""
    model = SessionAttention(N_ITEMS, SETTINGS, seed=3)
    seen: list[tf.Tensor] = []
    model.blocks = [lambda states, _: (seen.append(states), states)[1]]
    model.places.embeddings.assign(tf.zeros_like(model.places.embeddings))
    inputs = tf.ones((200, 5, SETTINGS.dimension))
    model.read(inputs, tf.constant([0]), dropout_seed=tf.constant([1, 2]))
    model.read(inputs, tf.constant([0]))
    dropped, plain = (tensor.numpy() for tensor in seen)
    assert np.mean(dropped == 0) == pytest.approx(0.25, abs=0.03)
    assert dropped.max() == pytest.approx(2 / 0.75)
    assert np.all(plain == 2)


def test_each_dropout_drops_other_entries() -> None:
    """By one seed a step: the same one the same entries, another one others, and each place in the network its own."""
    model = SessionAttention(N_ITEMS, replace(SETTINGS, dropout=0.5), seed=3)
    dropped: list[np.ndarray] = []
    model.blocks = [
        lambda _, dropout: (dropped.append(dropout(tf.ones((1, 50, 4))).numpy()), tf.zeros((1, 5, 4)))[1]
    ] * 2
    inputs = inputs_of(model, [[1, 2, 3, 4, 5]])
    for seed in (2, 2, 40):
        model.read(inputs, tf.constant([4]), dropout_seed=tf.constant([1, seed]))
    first, second, again, _, other, _ = dropped
    assert np.array_equal(first, again)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, other)
