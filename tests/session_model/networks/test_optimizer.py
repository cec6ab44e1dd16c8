import keras
import numpy as np
import pytest
import tensorflow as tf

from session_model.networks.optimizer import RowSparseAdagrad, RowSparseAdam, cosine_rate


def test_it_is_adam_where_every_row_is_touched() -> None:
    """Five steps equal those of Keras, which scales epsilon alike."""
    rng = np.random.default_rng(0)
    start = [rng.normal(size=shape).astype(np.float32) for shape in ((4, 3), (2,))]
    ours, theirs = ([tf.Variable(array) for array in start] for _ in range(2))
    adam = RowSparseAdam(ours[0], ours[1:])
    reference = keras.optimizers.Adam(0.01, epsilon=1e-7)
    for _ in range(5):
        gradients = [tf.constant(rng.normal(size=array.shape).astype(np.float32)) for array in start]
        adam.apply(tf.range(4), gradients, tf.constant(0.01))
        reference.apply(gradients, theirs)
    for our, their in zip(ours, theirs, strict=True):
        assert our.numpy() == pytest.approx(their.numpy(), abs=1e-5)


def test_rows_that_are_not_in_the_batch_stay() -> None:
    """Only the named rows of the table move, later steps included."""
    table = tf.Variable(tf.ones((4, 2)))
    adam = RowSparseAdam(table, [])
    for rows in ([1, 3], [3]):
        adam.apply(tf.constant(rows), [tf.ones((len(rows), 2))], tf.constant(0.1))
    moved = (table.numpy() != 1).all(axis=1)
    assert moved.tolist() == [False, True, False, True]
    assert table.numpy()[3, 0] < table.numpy()[1, 0]


def test_the_rate_warms_up_and_falls_as_a_cosine() -> None:
    """It rises for a twentieth of the steps, has half its peak half-way down, and ends near nothing."""
    rates = [cosine_rate(step, 1_000, peak=2.0) for step in range(1_000)]
    assert rates[0] == pytest.approx(2.0 / 50)
    assert max(rates) == rates[49] == pytest.approx(2.0)
    assert rates[50 + 475] == pytest.approx(1.0)
    assert rates[-1] < 1e-4
    assert cosine_rate(5_000, 1_000, peak=2.0) == pytest.approx(0.0)


def adagrad_by_hand(start: np.ndarray, gradients: list[np.ndarray], rate: float, momentum: float) -> np.ndarray:
    """Write the update out in float64."""
    weights, squares, velocity = start.astype(np.float64), 0.0, 0.0
    for slope in gradients:
        squares = squares + slope.astype(np.float64) ** 2
        step = rate * slope / np.sqrt(squares)
        velocity = momentum * velocity - step
        weights = weights + momentum * velocity - step
    return weights


@pytest.mark.parametrize("momentum", [0.0, 0.4])
def test_adagrad_is_the_formula(momentum: float) -> None:
    """Five steps of table and dense weights equal NumPy by hand, with and without Nesterov's momentum."""
    rng = np.random.default_rng(0)
    start = [rng.normal(size=shape).astype(np.float32) for shape in ((4, 3), (2,))]
    steps = [[rng.normal(size=array.shape).astype(np.float32) for array in start] for _ in range(5)]
    table, dense = (tf.Variable(array) for array in start)
    adagrad = RowSparseAdagrad(table, [dense], learning_rate=0.1, momentum=momentum)
    for gradients in steps:
        adagrad.apply(tf.range(4), [tf.constant(gradient) for gradient in gradients])
    for ours, array, slopes in zip((table, dense), start, zip(*steps, strict=True), strict=True):
        assert ours.numpy() == pytest.approx(adagrad_by_hand(array, list(slopes), 0.1, momentum), abs=1e-4)


def test_adagrad_leaves_other_rows_alone() -> None:
    """Only the named rows move; a row that comes a second time moves less than one that is new."""
    table = tf.Variable(tf.zeros((4, 2)))
    adagrad = RowSparseAdagrad(table, [], learning_rate=0.1, momentum=0.0)
    for rows in ([3], [1, 3]):
        adagrad.apply(tf.constant(rows), [tf.ones((len(rows), 2))])
    assert table.numpy()[:, 0] == pytest.approx([0.0, -0.1, 0.0, -0.1 - 0.1 / np.sqrt(2)], abs=1e-6)
