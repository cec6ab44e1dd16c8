"""Training the GRU: epochs over length-sorted batches, validation by full ranking, early stopping."""

import time
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from session_model.batches import Batch, BatchPlan
from session_model.gru import GruSettings, SessionGru, unit_rows, with_returns
from session_model.item_sequences import ItemSequences
from session_model.losses import sampled_cross_entropy
from session_model.optimizer import RowSparseAdam, cosine_rate
from session_model.sampling import NegativeSampler
from session_model.training_progress import EpochReport, TrainingProgress

VALIDATION_TARGETS = 10_000
RANK_CUTOFF = 20
MIN_STEPS = 40


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """How the GRU is trained.

    epochs: planned ones, which set the learning-rate schedule; early stopping may end before.
    batch_targets: targets a step, fewer where an epoch would have less than `MIN_STEPS` steps.
    negatives: further items a step, drawn from popularity^sampling_power.
    patience: epochs without a better Recall@20 + MRR@20 on the validation slice before stopping.
    recency_decay: see `BatchPlan`.
    """

    epochs: int = 6
    learning_rate: float = 0.003
    batch_targets: int = 512
    negatives: int = 4096
    sampling_power: float = 0.5
    patience: int = 2
    recency_decay: float | None = None
    seed: int = 1


@dataclass(frozen=True, slots=True)
class GruTask:
    """What one training run works on.

    validation: later sessions; None trains the planned epochs without looking.
    deadline: `time.monotonic()` seconds after which no further epoch is begun.
    stop_after: epochs to run of the planned ones.
    """

    sequences: ItemSequences
    n_items: int
    validation: ItemSequences | None = None
    deadline: float = float("inf")
    stop_after: int | None = None


@dataclass(frozen=True, slots=True)
class TrainedGru:
    """A trained model and how it came about; `best_epoch` counts from 1."""

    model: SessionGru
    best_epoch: int
    reports: list[EpochReport]


def train_gru(task: GruTask, shape: GruSettings, settings: TrainingSettings, progress: TrainingProgress) -> TrainedGru:
    """Train a new model; with a validation slice, give the weights of its best epoch by Recall@20 + MRR@20."""
    run = _TrainingRun(task, shape, settings)
    reports: list[EpochReport] = []
    best, best_weights = 0, None
    n_epochs = min(settings.epochs, task.stop_after or settings.epochs)
    progress.started("training" if task.validation is None else "choosing epochs", n_epochs * run.plan.n_batches)
    for epoch in range(n_epochs):
        reports.append(run.epoch(epoch, progress))
        progress.epoch_ended(reports[-1])
        if reports[-1].gain >= reports[best].gain:
            best, best_weights = epoch, run.model.weights()
        if epoch - best >= settings.patience or time.monotonic() >= task.deadline:
            break
    assert best_weights is not None
    run.model.set_weights(best_weights)
    return TrainedGru(run.model, best + 1, reports)


class _TrainingRun:
    """The moving parts of one run."""

    def __init__(self, task: GruTask, shape: GruSettings, settings: TrainingSettings) -> None:
        self._settings = settings
        self._validation = None if task.validation is None else _validation_batches(task.validation, shape)
        self._rng = np.random.default_rng(settings.seed)
        self._step = 0
        self.model = SessionGru(task.n_items, shape, seed=settings.seed)
        self.plan = _plan(task.sequences, shape.max_length, settings)
        self._sampler = NegativeSampler(
            self.plan.click_counts(task.n_items), n_negatives=settings.negatives, power=settings.sampling_power
        )
        self._optimizer = RowSparseAdam(self.model.item_table, self.model.dense_variables)
        vector, matrix = tf.TensorSpec((None,), tf.int32), tf.TensorSpec((None, None), tf.int32)
        floats, scalar, seed = tf.TensorSpec((None,)), tf.TensorSpec(()), tf.TensorSpec((2,), tf.int32)
        self._train_step = tf.function(
            self._train_step_graph,
            autograph=False,
            input_signature=[vector, matrix, vector, vector, floats, scalar, seed],
        )
        self._ranks = tf.function(self._ranks_graph, autograph=False, input_signature=[matrix, vector, vector])

    def epoch(self, epoch: int, progress: TrainingProgress) -> EpochReport:
        """Go once over the training sessions, then rank the validation targets."""
        losses = []
        for batch in self.plan.epoch(self._rng):
            losses.append(self._train(batch))
            progress.stepped()
        if self._validation is None:
            return EpochReport(epoch + 1, float(np.mean(losses)), None, None)
        ranks = np.concatenate([self._ranks(b.inputs, b.positions, b.targets).numpy() for b in self._validation])
        found = ranks <= RANK_CUTOFF
        return EpochReport(epoch + 1, float(np.mean(losses)), float(found.mean()), float((found / ranks).mean()))

    def _train(self, batch: Batch) -> float:
        candidates = self._sampler.candidates(batch.clicks, self._rng)
        rows = np.concatenate([np.zeros(1, np.int32), candidates.items])
        rate = cosine_rate(self._step, self._settings.epochs * self.plan.n_batches, peak=self._settings.learning_rate)
        self._step += 1
        loss = self._train_step(
            rows,
            np.searchsorted(rows, batch.inputs).astype(np.int32),
            batch.positions,
            np.searchsorted(rows, batch.targets).astype(np.int32),
            candidates.log_inclusion,
            np.float32(rate),
            np.array([self._settings.seed, 2 * self._step], np.int32),
        )
        return float(loss)

    def _train_step_graph(  # noqa: PLR0913, PLR0917 - one tensor each; a graph signature is flat
        self,
        rows: tf.Tensor,
        inputs: tf.Tensor,
        positions: tf.Tensor,
        targets: tf.Tensor,
        log_inclusion: tf.Tensor,
        learning_rate: tf.Tensor,
        dropout_seed: tf.Tensor,
    ) -> tf.Tensor:
        """Move the weights one step and give the loss.

        rows: padding, then the candidates; inputs and targets are positions in it.
        """
        model = self.model
        table_rows = tf.gather(model.item_table, rows)
        watched = [table_rows, *model.dense_variables]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(watched)
            vectors = unit_rows(table_rows)
            logits = _logits(model, vectors, inputs, positions, dropout_seed)
            log_inclusion = _certain_for_own_items(log_inclusion, inputs, positions)
            loss = sampled_cross_entropy(logits, targets - 1, log_inclusion)
        gradients = [tf.convert_to_tensor(gradient) for gradient in tape.gradient(loss, watched)]
        self._optimizer.apply(rows, gradients, learning_rate)
        return loss

    def _ranks_graph(self, inputs: tf.Tensor, positions: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        """Rank each target in the whole catalogue, ties against it; a padding target has no rank and counts as last."""
        logits = _logits(self.model, unit_rows(self.model.item_table), inputs, positions)
        of_target = tf.gather(logits, tf.maximum(targets - 1, 0), batch_dims=1)[:, tf.newaxis]
        at_least = tf.reduce_sum(tf.cast(logits >= of_target, tf.int32), axis=1)
        return tf.where(targets > 0, at_least, self.model.n_items + 1)


def _logits(
    model: SessionGru,
    vectors: tf.Tensor,
    inputs: tf.Tensor,
    positions: tf.Tensor,
    dropout_seed: tf.Tensor | None = None,
) -> tf.Tensor:
    """Score the items of `vectors` (n + 1, dimension), the first row padding, after each position: (n_positions, n).

    inputs: (batch, length) int32, rows of `vectors`.
    """
    reading = model.read(tf.gather(vectors, inputs), positions, dropout_seed=dropout_seed)
    logits = model.settings.scale * tf.matmul(reading.vectors, vectors[1:], transpose_b=True)
    return with_returns(logits, reading.returns, tf.gather(inputs, positions // tf.shape(inputs)[1]) - 1)


def _certain_for_own_items(log_inclusion: tf.Tensor, inputs: tf.Tensor, positions: tf.Tensor) -> tf.Tensor:
    """Set to 0 what each position has already seen: a session's own items are never missing among its candidates.

    Without it returns would be learned too rare or too frequent, as an item is popular or not. Gives (n_positions,
    n_candidates); inputs: (batch, length) int32, candidates counted from 1.
    """
    length = tf.shape(inputs)[1]
    place = (positions % length)[:, tf.newaxis]
    seen = tf.minimum(tf.range(length)[tf.newaxis, :], place)
    columns = tf.gather(tf.gather(inputs, positions // length), seen, batch_dims=1) - 1
    rows = tf.broadcast_to(tf.range(tf.shape(positions)[0])[:, tf.newaxis], tf.shape(columns))
    every = tf.broadcast_to(log_inclusion, (tf.shape(positions)[0], tf.shape(log_inclusion)[0]))
    return tf.tensor_scatter_nd_update(every, tf.stack([rows, columns], axis=2), tf.zeros_like(columns, tf.float32))


def _plan(sequences: ItemSequences, max_length: int, settings: TrainingSettings) -> BatchPlan:
    """Plan batches of `batch_targets`, smaller ones for a small file: a handful of steps teaches nothing."""

    def plan(batch_targets: int) -> BatchPlan:
        return BatchPlan(
            sequences, max_length=max_length, batch_targets=batch_targets, recency_decay=settings.recency_decay
        )

    planned = plan(settings.batch_targets)
    fitting = max(1, planned.n_targets // MIN_STEPS)
    return planned if fitting >= settings.batch_targets else plan(fitting)


def _validation_batches(sequences: ItemSequences, shape: GruSettings) -> list[Batch]:
    """Cut the sessions into batches and draw batches for about `VALIDATION_TARGETS` targets."""
    plan = BatchPlan(sequences, max_length=shape.max_length, batch_targets=256)
    batches = list(plan.epoch(np.random.default_rng(0)))
    total: NDArray[np.int64] = np.cumsum([len(batch.targets) for batch in batches])
    return batches[: max(1, int(np.searchsorted(total, VALIDATION_TARGETS)))]
