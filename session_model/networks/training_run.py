"""The steps of a training: epochs over length-sorted batches, validation by full ranking."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from session_model.data.item_sequences import ItemSequences
from session_model.networks.batches import Batch, BatchPlan
from session_model.networks.build import build_network
from session_model.networks.collective import Alone, Collective, of_chief
from session_model.networks.cosine_network import CosineNetwork, unit_rows
from session_model.networks.losses import sampled_cross_entropy
from session_model.networks.next_item import with_returns
from session_model.networks.optimizer import RowSparseAdam, cosine_rate
from session_model.networks.sampling import NegativeSampler
from session_model.networks.settings import NetworkSettings, TrainingSettings
from session_model.networks.training_task import TrainingTask
from session_model.runs.progress import EpochReport, TrainingProgress

VALIDATION_TARGETS = 10_000
RANK_CUTOFF = 20
MIN_STEPS = 40
WARM_UP_STEPS = 5
"""The first ones trace the graph; they tell nothing of the speed."""
PROBED_STEPS = 20
TRAINING_SHARE = 0.9
"""Of the time until a deadline; the rest is for the validation."""


@dataclass(slots=True)
class _OpenEpoch:
    """How far an epoch has come.

    rng: the generator's state at its begin: it draws the order of the batches, each batch then its candidates.
    losses: one a batch that is done. seconds: those of earlier processes.
    """

    rng: dict[str, Any]
    losses: list[float] = field(default_factory=list)
    clicks: int = 0
    seconds: float = 0.0


class TrainingRun:
    """The moving parts of one run; `collective`: of which workers it is one."""

    def __init__(
        self,
        task: TrainingTask,
        shape: NetworkSettings,
        settings: TrainingSettings,
        collective: Collective | None = None,
    ) -> None:
        self._settings = settings
        self._collective = Alone() if collective is None else collective
        self._open: _OpenEpoch | None = None
        self._validation = None if task.validation is None else _validation_batches(task.validation, shape)
        self._rng = np.random.default_rng(settings.seed)
        self._step = 0
        self.model = build_network(task.n_items, shape, seed=settings.seed)
        self.plan = _plan(task.sequences, shape.max_length, settings)
        self.total_steps = max(1, round((task.planned_epochs or settings.epochs) * self.plan.n_batches))
        self._deadline = task.deadline
        self._sampler = NegativeSampler(
            self.plan.click_counts(task.n_items), n_negatives=settings.negatives, power=settings.sampling_power
        )
        self.optimizer = RowSparseAdam(self.model.item_table, self.model.dense_variables)
        vector, matrix = tf.TensorSpec((None,), tf.int32), tf.TensorSpec((None, None), tf.int32)
        floats, scalar, seed = tf.TensorSpec((None,)), tf.TensorSpec(()), tf.TensorSpec((2,), tf.int32)
        self._train_step = tf.function(
            self._train_step_graph,
            autograph=False,
            input_signature=[vector, matrix, vector, vector, floats, scalar, seed],
        )
        self._ranks = tf.function(self._ranks_graph, autograph=False, input_signature=[matrix, vector, vector])

    @property
    def planned_epochs(self) -> float:
        """Epochs that the learning-rate schedule spans."""
        return self.total_steps / self.plan.n_batches

    @property
    def is_over(self) -> bool:
        """True at the end of a shortened schedule; else the epochs end it, which may have some steps more or less."""
        return self._step >= self.total_steps < self._settings.epochs * self.plan.n_batches

    @property
    def steps_done(self) -> int:
        """Count the steps so far, over all epochs."""
        return self._step

    @property
    def is_fitted(self) -> bool:
        """True once the length of the schedule is settled, some steps after the begin."""
        return self._step >= WARM_UP_STEPS + PROBED_STEPS

    def state(self) -> dict[str, Any]:
        """Return where the run is, between two steps: all but weights, optimizer and losses; JSON can hold it."""
        state = {"step": self._step, "total_steps": self.total_steps, "rng": self._rng.bit_generator.state}
        if self._open is not None:
            epoch = {"rng": self._open.rng, "clicks": self._open.clicks, "seconds": self._open.seconds}
            state |= {"epoch": epoch}
        return state

    def losses(self) -> list[NDArray[np.float64]]:
        """Return the losses of the steps of the open epoch, (n_steps,); none between two epochs."""
        return [] if self._open is None else [np.array(self._open.losses)]

    def restore(self, state: dict[str, Any], losses: list[NDArray[np.float64]]) -> None:
        """Go to where another run was."""
        self._step = state["step"]
        self.total_steps = state["total_steps"]
        self._rng.bit_generator.state = state["rng"]
        self._open = _OpenEpoch(**state["epoch"], losses=losses[0].tolist()) if losses else None

    def epoch(self, epoch: int, progress: TrainingProgress, between: Callable[[], None] = lambda: None) -> EpochReport:
        """Go once over the training sessions, or to the end of the schedule, then rank the validation targets.

        An epoch that is open goes on. `between` is called between its steps, where `state` can be taken.
        """
        place = self._open = self._open or _OpenEpoch(dict(self._rng.bit_generator.state))
        begun = time.monotonic() - place.seconds
        probed_at = begun
        for batch in self._batches(place):
            place.losses.append(self.train(batch))
            place.clicks += len(batch.targets)
            place.seconds = time.monotonic() - begun
            progress.stepped(len(batch.targets))
            if self._step == WARM_UP_STEPS:
                probed_at = time.monotonic()
            elif self._step == WARM_UP_STEPS + PROBED_STEPS:
                self._fit((time.monotonic() - probed_at) / PROBED_STEPS, progress)
            if self.is_over:
                break
            between()
        self._open = None
        seconds = time.monotonic() - begun
        recall, mrr = (None, None) if self._validation is None else self._recall_and_mrr(self._validation)
        return EpochReport(epoch + 1, float(np.mean(place.losses)), recall, mrr, place.clicks, seconds)

    def _batches(self, place: _OpenEpoch) -> Iterator[Batch]:
        """Return the batches of the epoch that are left; candidates go on where they were."""
        if not place.losses:
            return self.plan.epoch(self._rng)
        now, self._rng.bit_generator.state = self._rng.bit_generator.state, place.rng
        batches = self.plan.epoch(self._rng, len(place.losses))
        self._rng.bit_generator.state = now
        return batches

    def _fit(self, step_seconds: float, progress: TrainingProgress) -> None:
        """Shorten the schedule to what can be done before the deadline."""
        left = of_chief(
            self._collective, (self._deadline - time.monotonic()) * TRAINING_SHARE / max(step_seconds, 1e-9)
        )
        if self._step + left >= self.total_steps:
            return
        before = self.planned_epochs
        self.total_steps = max(MIN_STEPS, self._step + int(left))
        progress.noted(f"{self.planned_epochs:.1f} epochs instead of {before:.1f}, for the time there is")

    def _recall_and_mrr(self, validation: list[Batch]) -> tuple[float, float]:
        mine = validation[self._collective.index :: self._collective.n_workers]
        ranks = np.concatenate(
            [np.empty(0, np.int32), *(self._ranks(b.inputs, b.positions, b.targets).numpy() for b in mine)]
        )
        found = ranks <= RANK_CUTOFF
        sums = np.array([found.sum(), (found / ranks).sum(), len(ranks)], np.float64)
        n_found, reciprocals, n_targets = self._collective.total(sums).tolist()
        return n_found / n_targets, reciprocals / n_targets

    def train(self, batch: Batch) -> float:
        """Move the weights one step; the loss before it."""
        candidates = self._sampler.candidates(batch.clicks, self._rng)
        rows = np.concatenate([np.zeros(1, np.int32), candidates.items])
        rate = cosine_rate(self._step, self.total_steps, peak=self._settings.learning_rate)
        self._step += 1
        index, n_workers = self._collective.index, self._collective.n_workers
        mine = batch if n_workers == 1 else batch.share(index, n_workers)
        loss = self._train_step(
            rows,
            np.searchsorted(rows, mine.inputs).astype(np.int32),
            mine.positions,
            np.searchsorted(rows, mine.targets).astype(np.int32),
            candidates.log_inclusion,
            np.float32(rate),
            np.array([self._settings.seed, 2 * (n_workers * self._step + index)], np.int32),
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
        gradients, loss = self._collective.combine(gradients, loss, tf.shape(targets)[0])
        self.optimizer.apply(rows, gradients, learning_rate)
        return loss

    def _ranks_graph(self, inputs: tf.Tensor, positions: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        """Rank each target in the whole catalogue, ties against it; a padding target has no rank and counts as last."""
        logits = _logits(self.model, unit_rows(self.model.item_table), inputs, positions)
        of_target = tf.gather(logits, tf.maximum(targets - 1, 0), batch_dims=1)[:, tf.newaxis]
        # Not the count of `>=`: a model that diverged to NaN is above nothing, and would rank every target first.
        below = tf.reduce_sum(tf.cast(logits < of_target, tf.int32), axis=1)
        return tf.where(targets > 0, self.model.n_items - below, self.model.n_items + 1)


def _logits(
    model: CosineNetwork,
    vectors: tf.Tensor,
    inputs: tf.Tensor,
    positions: tf.Tensor,
    dropout_seed: tf.Tensor | None = None,
) -> tf.Tensor:
    """Score the items of `vectors` (n + 1, dimension), the first row padding, after each position: (n_positions, n).

    inputs: (batch, length) int32, rows of `vectors`.
    """
    reading = model.read(tf.gather(vectors, inputs), positions, dropout_seed=dropout_seed)
    logits = model.scale * tf.matmul(reading.vectors, vectors[1:], transpose_b=True)
    return with_returns(logits, reading.returns, tf.gather(inputs, positions // tf.shape(inputs)[1]) - 1)


def _certain_for_own_items(log_inclusion: tf.Tensor, inputs: tf.Tensor, positions: tf.Tensor) -> tf.Tensor:
    """Set to 0 what each position has already seen: a session's own items are never missing among its candidates.

    Without it returns would be learned too rare or too frequent, as an item is popular or not. Returns (n_positions,
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


def _validation_batches(sequences: ItemSequences, shape: NetworkSettings) -> list[Batch]:
    """Cut the sessions into batches and draw batches for about `VALIDATION_TARGETS` targets."""
    plan = BatchPlan(sequences, max_length=shape.max_length, batch_targets=256)
    batches = list(plan.epoch(np.random.default_rng(0)))
    total: NDArray[np.int64] = np.cumsum([len(batch.targets) for batch in batches])
    return batches[: max(1, int(np.searchsorted(total, VALIDATION_TARGETS)))]
