"""What our own networks share; what every network keeps, test_next_item_networks.py tests."""

import numpy as np
import pytest
import tensorflow as tf

from session_model.networks.build import build_network
from session_model.networks.cosine_network import RETURN_DECAY, CosineNetwork, unit_rows
from session_model.networks.settings import AttentionSettings, GruSettings, NetworkSettings

N_ITEMS = 9
SHAPES = {
    "gru": GruSettings(units=6, dimension=4, scale=8.0),
    "gru with attention": GruSettings(units=6, dimension=4, scale=8.0, has_attention=True),
    "attention": AttentionSettings(dimension=4, scale=8.0),
}


@pytest.fixture(params=SHAPES)
def shape(request: pytest.FixtureRequest) -> NetworkSettings:
    """Return the settings of each."""
    return SHAPES[request.param]


@pytest.fixture
def model(shape: NetworkSettings) -> CosineNetwork:
    """Return an untrained one."""
    return build_network(N_ITEMS, shape, seed=3)


def vectors(model: CosineNetwork, items: list[list[int]], positions: list[int]) -> np.ndarray:
    """Return session vectors of rows of items."""
    return model.read(tf.gather(unit_rows(model.item_table), items), tf.constant(positions)).vectors.numpy()


def returns_of(model: CosineNetwork, items: list[list[int]], positions: list[int]) -> np.ndarray:
    """Return what is added for each place of the rows at `positions`."""
    return model.read(tf.gather(unit_rows(model.item_table), items), tf.constant(positions)).returns.numpy()


def test_logits_are_scaled_cosines(model: CosineNetwork) -> None:
    """Vectors of items and of sessions have length 1, and the scale is in the matrix."""
    table = model.item_table.numpy()
    unit = table / np.linalg.norm(table, axis=1, keepdims=True)
    assert model.item_vectors()[1:] == pytest.approx(unit[1:], abs=1e-6)
    assert model.item_matrix() == pytest.approx(8.0 * unit[1:].T, abs=1e-5)
    assert np.linalg.norm(vectors(model, [[3, 1, 7]], [0, 1, 2]), axis=1) == pytest.approx(1.0, abs=1e-5)


def test_weights_go_out_and_in(shape: NetworkSettings) -> None:
    """A model takes another's weights, and a seed decides the first ones."""
    one, same, other = (build_network(N_ITEMS, shape, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(vectors(one, [[1, 2]], [1]), vectors(same, [[1, 2]], [1]))
    assert not np.array_equal(vectors(one, [[1, 2]], [1]), vectors(other, [[1, 2]], [1]))
    other.set_weights(one.weights())
    assert np.array_equal(vectors(one, [[1, 2]], [1]), vectors(other, [[1, 2]], [1]))


def test_no_weight_is_shared_or_left_out(model: CosineNetwork) -> None:
    """What a checkpoint keeps is every variable, once: each has a gradient of the logits or of the returns."""
    assert len({id(variable) for variable in model.dense_variables}) == len(model.dense_variables)
    rng = np.random.default_rng(0)
    for variable in model.dense_variables:
        variable.assign_add(rng.normal(0, 0.3, variable.shape).astype(np.float32))
    inputs = tf.gather(unit_rows(model.item_table), [[3, 1, 7]])
    with tf.GradientTape() as tape:
        reading = model.read(inputs, tf.constant([2]))
        total = tf.reduce_sum(reading.vectors * [1.0, 2.0, 3.0, 4.0]) + tf.reduce_sum(reading.returns)
    assert set(map(id, tape.watched_variables())) == set(map(id, model.dense_variables))
    assert all(gradient is not None for gradient in tape.gradient(total, model.dense_variables))


def test_an_untrained_model_knows_nothing_of_returns(model: CosineNetwork) -> None:
    """At first the cosine alone decides."""
    assert not returns_of(model, [[3, 1, 7]], [0, 2]).any()


def test_a_return_weighs_that_how_lately_and_whether_just_now_an_item_was_seen(model: CosineNetwork) -> None:
    """With biases alone the pull of each place is their sum by hand, and a later place has none."""
    model.returns.bias.assign([1.0, 10.0, 100.0])
    lately = 10 * np.exp(-np.arange(3) / RETURN_DECAY)
    assert returns_of(model, [[3, 1, 7]], [2])[0] == pytest.approx([1 + lately[2], 1 + lately[1], 111.0], rel=1e-5)
    assert returns_of(model, [[3, 1, 7]], [1])[0] == pytest.approx([1 + lately[1], 111.0, 0.0], rel=1e-5)
