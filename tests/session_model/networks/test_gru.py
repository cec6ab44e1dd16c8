from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from session_model.networks.gru import RETURN_DECAY, SessionGru, unit_rows, with_returns
from session_model.networks.settings import GruSettings

SETTINGS = GruSettings(units=6, dimension=4, item_dropout=0.25, state_dropout=0.5)
N_ITEMS = 9


@pytest.fixture(scope="module")
def model() -> SessionGru:
    """Give an untrained model."""
    return SessionGru(N_ITEMS, SETTINGS, seed=3)


def vectors(model: SessionGru, items: list[list[int]], positions: list[int]) -> np.ndarray:
    """Give session vectors of rows of items."""
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


def test_no_state_is_carried_to_the_next_session(model: SessionGru) -> None:
    """A session's vector is the same whatever was asked before and whatever stands beside it."""
    alone = vectors(model, [[2, 5]], [1])
    vectors(model, [[8, 8]], [1])
    beside = vectors(model, [[7, 7], [2, 5]], [1, 3])
    assert beside[1] == pytest.approx(alone[0], abs=1e-6)


def test_padding_and_later_items_do_not_reach_a_position(model: SessionGru) -> None:
    """What stands behind a position has no say in its vector."""
    short = vectors(model, [[2, 5]], [1])
    longer = vectors(model, [[2, 5, 0, 0], [2, 5, 9, 1]], [1, 5])
    assert longer == pytest.approx(np.repeat(short, 2, axis=0), abs=1e-6)


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


def test_one_table_is_input_and_output() -> None:
    """The item table is the only weight as large as the catalogue."""
    model = SessionGru(1_000, SETTINGS, seed=0)
    assert [weight.shape for weight in model.weights() if 1_001 in weight.shape] == [(1_001, SETTINGS.dimension)]


def test_weights_go_out_and_in() -> None:
    """A model takes another's weights, and a seed decides the first ones."""
    one, same, other = (SessionGru(N_ITEMS, SETTINGS, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(vectors(one, [[1, 2]], [1]), vectors(same, [[1, 2]], [1]))
    assert not np.array_equal(vectors(one, [[1, 2]], [1]), vectors(other, [[1, 2]], [1]))
    other.set_weights(one.weights())
    assert np.array_equal(vectors(one, [[1, 2]], [1]), vectors(other, [[1, 2]], [1]))


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


def returns_of(model: SessionGru, items: list[list[int]], positions: list[int]) -> np.ndarray:
    """Give what is added for each place of the rows at `positions`."""
    return model.read(tf.gather(unit_rows(model.item_table), items), tf.constant(positions)).returns.numpy()


def test_an_untrained_model_knows_nothing_of_returns(model: SessionGru) -> None:
    """At first the cosine alone decides."""
    assert not returns_of(model, [[3, 1, 7]], [0, 2]).any()


def test_a_return_weighs_that_how_lately_and_whether_just_now_an_item_was_seen() -> None:
    """With biases alone the pull of each place is their sum by hand, and a later place has none."""
    model = SessionGru(N_ITEMS, SETTINGS, seed=3)
    model.returns.bias.assign([1.0, 10.0, 100.0])
    lately = 10 * np.exp(-np.arange(3) / RETURN_DECAY)
    assert returns_of(model, [[3, 1, 7]], [2])[0] == pytest.approx([1 + lately[2], 1 + lately[1], 111.0], rel=1e-5)
    assert returns_of(model, [[3, 1, 7]], [1])[0] == pytest.approx([1 + lately[1], 111.0, 0.0], rel=1e-5)


def test_returns_are_added_at_the_items_of_the_session() -> None:
    """An item that was seen twice gets both pulls, and a column below 0 none."""
    logits = with_returns(
        tf.zeros((2, 4)), tf.constant([[1.0, 2.0, 4.0], [8.0, 0.0, 0.0]]), tf.constant([[3, 0, 3], [1, -1, -1]])
    )
    assert logits.numpy().tolist() == [[2, 0, 0, 5], [0, 8, 0, 0]]
