"""Optimisers that touch only the item rows of a batch, and the learning-rate schedule."""

import math

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

BETA_1 = 0.9
BETA_2 = 0.999
EPSILON = 1e-7


class RowSparseAdam:
    """Adam (Kingma & Ba 2015); moments of an item row move only when the batch has the item ("lazy").

    table: (n_rows, dimension) variable that is updated by rows; dense_variables: updated as a whole.
    """

    def __init__(self, table: tf.Variable, dense_variables: list[tf.Variable]) -> None:
        self._table = table
        self._dense = dense_variables
        self._step = tf.Variable(0.0)
        self._table_moments = [tf.Variable(tf.zeros_like(table)) for _ in range(2)]
        self._dense_moments = [[tf.Variable(tf.zeros_like(variable)) for _ in range(2)] for variable in dense_variables]

    def state(self) -> list[NDArray[np.float32]]:
        """Copy the step count and the moments."""
        return [variable.numpy() for variable in self._variables()]

    def set_state(self, state: list[NDArray[np.float32]]) -> None:
        """Take what `state` gave."""
        for variable, value in zip(self._variables(), state, strict=True):
            variable.assign(value)

    def _variables(self) -> list[tf.Variable]:
        return [self._step, *self._table_moments, *(moment for moments in self._dense_moments for moment in moments)]

    def apply(self, rows: tf.Tensor, gradients: list[tf.Tensor], learning_rate: tf.Tensor) -> None:
        """Move the weights one step.

        rows: (n,) int32, unique rows of the table; gradients: that of these rows, (n, dimension), then the dense ones.
        """
        self._step.assign_add(1.0)
        rate = learning_rate * tf.sqrt(1 - tf.pow(BETA_2, self._step)) / (1 - tf.pow(BETA_1, self._step))
        places = rows[:, tf.newaxis]
        row_moments = [tf.gather(moment, rows) for moment in self._table_moments]
        step, updated = _adam_step(gradients[0], row_moments)
        for moment, value in zip(self._table_moments, updated, strict=True):
            moment.scatter_nd_update(places, value)
        self._table.scatter_nd_sub(places, rate * step)
        for variable, moments, gradient in zip(self._dense, self._dense_moments, gradients[1:], strict=True):
            step, updated = _adam_step(gradient, moments)
            for moment, value in zip(moments, updated, strict=True):
                moment.assign(value)
            variable.assign_sub(rate * step)


def _adam_step(gradient: tf.Tensor, moments: list[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
    first = BETA_1 * moments[0] + (1 - BETA_1) * gradient
    second = BETA_2 * moments[1] + (1 - BETA_2) * tf.square(gradient)
    return first / (tf.sqrt(second) + EPSILON), [first, second]


class RowSparseAdagrad:
    """Adagrad (Duchi et al. 2011) with Nesterov momentum, as GRU4Rec is trained; rows as in `RowSparseAdam`.

    A step g / sqrt(sum of g^2 so far) * learning_rate is smoothed, v <- momentum v - step, and the weight moves by
    momentum v - step. The sum starts at 0: a larger start would make the first steps, which place the items, small.
    """

    def __init__(
        self, table: tf.Variable, dense_variables: list[tf.Variable], *, learning_rate: float, momentum: float
    ) -> None:
        self._table = table
        self._dense = dense_variables
        self._learning_rate = learning_rate
        self._momentum = momentum
        self._memory = [[tf.Variable(tf.zeros_like(one)) for _ in range(2)] for one in (table, *dense_variables)]

    def apply(self, rows: tf.Tensor, gradients: list[tf.Tensor]) -> None:
        """Move the weights one step; arguments as those of `RowSparseAdam.apply`."""
        move, updated = self._step(gradients[0], [tf.gather(one, rows) for one in self._memory[0]])
        for memory, value in zip(self._memory[0], updated, strict=True):
            memory.scatter_update(tf.IndexedSlices(value, rows))
        self._table.scatter_add(tf.IndexedSlices(move, rows))
        for variable, memories, gradient in zip(self._dense, self._memory[1:], gradients[1:], strict=True):
            move, updated = self._step(gradient, memories)
            for memory, value in zip(memories, updated, strict=True):
                memory.assign(value)
            variable.assign_add(move)

    def _step(self, gradient: tf.Tensor, memory: list[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
        squares = memory[0] + tf.square(gradient)
        step = self._learning_rate * gradient * tf.math.rsqrt(squares + EPSILON)
        velocity = self._momentum * memory[1] - step
        return self._momentum * velocity - step, [squares, velocity]


def cosine_rate(step: int, total_steps: int, *, peak: float, warmup_share: float = 0.05) -> float:
    """Return the learning rate of `step` (from 0): a linear warm-up to `peak`, then half a cosine down to about 0."""
    warmup = max(1, round(total_steps * warmup_share))
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, total_steps - warmup))))
