"""Training GRU4Rec as its authors do: session-parallel, one step back in time, a fixed number of epochs."""

import time

import numpy as np
import tensorflow as tf

from session_model.networks.gru4rec import Gru4Rec
from session_model.networks.optimizer import RowSparseAdagrad
from session_model.networks.sampling import NegativeSampler
from session_model.networks.session_parallel import ParallelStep, SessionParallelBatches
from session_model.networks.settings import Gru4RecSettings
from session_model.networks.training_task import TrainedNetwork, TrainingTask
from session_model.runs.progress import EpochReport, TrainingProgress


def train_gru4rec(task: TrainingTask, settings: Gru4RecSettings, progress: TrainingProgress) -> TrainedNetwork:
    """Train a new model on the sessions of `task` until its epochs or its deadline are reached.

    The best epoch is the last one: nothing is held out to choose by.
    """
    run = _TrainingRun(task, settings)
    reports: list[EpochReport] = []
    progress.started("training GRU4Rec", settings.epochs * run.batches.n_steps)
    for epoch in range(settings.epochs):
        begun = time.monotonic()
        loss = run.epoch(progress)
        reports.append(EpochReport(epoch + 1, loss, None, None, run.batches.n_targets, time.monotonic() - begun))
        progress.epoch_ended(reports[-1])
        if time.monotonic() >= task.deadline:
            break
    return TrainedNetwork(run.model, len(reports), settings.epochs, reports)


class _TrainingRun:
    """The moving parts of one run."""

    def __init__(self, task: TrainingTask, settings: Gru4RecSettings) -> None:
        self._settings = settings
        self._rng = np.random.default_rng(settings.seed)
        self._step = 0
        self.model = Gru4Rec(task.n_items, settings)
        self.batches = SessionParallelBatches(task.sequences, settings.batch_sessions)
        self._states = tf.Variable(tf.zeros((settings.batch_sessions, settings.units)))
        self._sampler = NegativeSampler(
            self.batches.target_counts(task.n_items), n_negatives=settings.negatives, power=settings.sampling_power
        )
        self._optimizer = RowSparseAdagrad(
            self.model.item_table,
            self.model.dense_variables,
            learning_rate=settings.learning_rate,
            momentum=settings.momentum,
        )
        vector, flags = tf.TensorSpec((None,), tf.int32), tf.TensorSpec((None,), tf.bool)
        floats, seed = tf.TensorSpec((None,)), tf.TensorSpec((2,), tf.int32)
        self._train_step = tf.function(
            self._train_step_graph,
            autograph=False,
            input_signature=[vector, vector, flags, vector, vector, vector, floats, seed],
        )

    def epoch(self, progress: TrainingProgress) -> float:
        """Go once over the training sessions; returns the mean loss of a target."""
        total = 0.0
        for step in self.batches.epoch():
            total += self.train(step) * len(step.targets)
            progress.stepped(len(step.targets))
        return total / self.batches.n_targets

    def train(self, step: ParallelStep) -> float:
        """Move the weights one step; the loss before it."""
        candidates = self._sampler.candidates(step.targets, self._rng)
        rows = np.union1d(step.inputs, candidates.items).astype(np.int32)
        self._step += 1
        loss = self._train_step(
            rows,
            step.slots,
            step.is_first,
            np.searchsorted(rows, step.inputs).astype(np.int32),
            np.searchsorted(rows, candidates.items).astype(np.int32),
            np.searchsorted(candidates.items, step.targets).astype(np.int32),
            candidates.log_inclusion,
            np.array([self._settings.seed, 2 * self._step], np.int32),
        )
        return float(loss)

    def _train_step_graph(  # noqa: PLR0913, PLR0917 - one tensor each; a graph signature is flat
        self,
        rows: tf.Tensor,
        slots: tf.Tensor,
        is_first: tf.Tensor,
        inputs: tf.Tensor,
        candidates: tf.Tensor,
        labels: tf.Tensor,
        log_inclusion: tf.Tensor,
        dropout_seed: tf.Tensor,
    ) -> tf.Tensor:
        """Move the weights one step and give the loss; items are positions in `rows`, sessions in the slots."""
        model = self.model
        states = tf.where(is_first[:, tf.newaxis], 0.0, tf.gather(self._states, slots))
        table_rows = tf.gather(model.item_table, rows)
        watched = [table_rows, *model.dense_variables]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(watched)
            item_vectors = tf.gather(table_rows, inputs)[:, :-1]
            states, session = model.step(item_vectors, states, dropout_seed)
            scores = tf.matmul(session, tf.gather(table_rows, candidates), transpose_b=True)
            loss = model.loss(scores, labels, log_inclusion)
        gradients = [tf.convert_to_tensor(gradient) for gradient in tape.gradient(loss, watched)]
        self._optimizer.apply(rows, gradients)
        self._states.scatter_update(tf.IndexedSlices(states, slots))
        return loss
