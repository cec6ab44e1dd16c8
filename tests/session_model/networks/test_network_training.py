from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from schemas.errors import InsessionError
from session_model.data.item_sequences import ItemSequences
from session_model.networks.collective import Alone, of_chief
from session_model.networks.network_training import train_network
from session_model.networks.optimizer import cosine_rate
from session_model.networks.settings import AttentionSettings, GruSettings, NetworkSettings, TrainingSettings
from session_model.networks.training_run import TrainingRun
from session_model.networks.training_task import TrainedNetwork, TrainingTask
from session_model.runs.progress import EpochReport, NoProgress, clicks_per_second

N_ITEMS = 12
SHAPE = GruSettings(units=16, dimension=16, item_dropout=0.1, state_dropout=0.1, max_length=5)
SHAPES = {"gru": SHAPE, "attention": AttentionSettings(dimension=16, dropout=0.1, max_length=5)}
SETTINGS = TrainingSettings(epochs=4, learning_rate=0.02, batch_targets=32, negatives=6, patience=4, seed=5)


class Recorder:
    """Remembers what training said."""

    def __init__(self) -> None:
        self.phases: list[tuple[str, int]] = []
        self.steps = 0
        self.reports: list[EpochReport] = []
        self.clicks = 0
        self.notes: list[str] = []

    def started(self, phase: str, n_steps: int) -> None:
        """Remember the phase."""
        self.phases.append((phase, n_steps))

    def stepped(self, clicks: int = 0) -> None:
        """Count."""
        self.steps += 1
        self.clicks += clicks

    def epoch_ended(self, report: EpochReport) -> None:
        """Remember the report."""
        self.reports.append(report)

    def resumed(self, reports: Sequence[EpochReport], n_steps: int) -> None:
        """Remember the reports of before."""
        assert n_steps > 0
        self.reports.extend(reports)

    def noted(self, text: str) -> None:
        """Remember the text."""
        self.notes.append(text)


class Interruption(Exception):  # noqa: N818 - no error
    """Ends a training in the middle."""


class Interrupting(NoProgress):
    """Interrupts after some steps, or after some epochs."""

    def __init__(self, *, steps: int = 0, epochs: int = 0) -> None:
        self._steps, self._epochs = steps, epochs

    def stepped(self, clicks: int = 0) -> None:  # noqa: ARG002 - the protocol's
        """Interrupt after the last of the steps."""
        self._steps -= 1
        if self._steps == 0:
            raise Interruption

    def epoch_ended(self, report: EpochReport) -> None:
        """Interrupt after the last of the epochs."""
        if report.epoch == self._epochs:
            raise Interruption


def cycles(n_sessions: int, seed: int) -> ItemSequences:
    """Make sessions that walk the items in a circle: after i always comes i + 1."""
    rng = np.random.default_rng(seed)
    first, lengths = rng.integers(0, N_ITEMS, n_sessions), rng.integers(2, 7, n_sessions)
    rows = [(start + np.arange(length)) % N_ITEMS + 1 for start, length in zip(first, lengths, strict=True)]
    return ItemSequences(np.cumsum([0, *lengths]).astype(np.int64), np.concatenate(rows).astype(np.int32))


@pytest.fixture(scope="module", params=SHAPES)
def shape(request: pytest.FixtureRequest) -> NetworkSettings:
    """Train each network by the same steps."""
    return SHAPES[request.param]


@pytest.fixture(scope="module")
def run(shape: NetworkSettings) -> tuple[TrainedNetwork, Recorder]:
    """Train once on circles, with sampled negatives."""
    recorder = Recorder()
    task = TrainingTask(cycles(400, 0), N_ITEMS, validation=cycles(50, 1))
    return train_network(task, shape, SETTINGS, recorder), recorder


def test_it_learns_what_follows_what(run: tuple[TrainedNetwork, Recorder]) -> None:
    """A rule without exception is learned: the next item comes first for held-out sessions."""
    trained, _ = run
    assert trained.reports[trained.best_epoch - 1].mrr_at_20 == pytest.approx(1.0, abs=0.02)
    assert trained.reports[-1].loss < 0.5 * trained.reports[0].loss


def test_progress_hears_of_every_step_and_epoch(run: tuple[TrainedNetwork, Recorder]) -> None:
    """The announced steps bound those that come."""
    trained, recorder = run
    ((phase, n_steps),) = recorder.phases
    assert phase == "training"
    assert 0.9 * n_steps < recorder.steps <= n_steps
    assert recorder.reports == trained.reports


def test_the_best_epoch_is_given_back(run: tuple[TrainedNetwork, Recorder]) -> None:
    """Best is the last epoch with the highest validation MRR@20."""
    trained, _ = run
    figures = [report.mrr_at_20 for report in trained.reports]
    assert trained.best_epoch == max(range(len(figures)), key=lambda epoch: (figures[epoch], epoch)) + 1


def test_the_same_seed_gives_the_same_model(shape: NetworkSettings) -> None:
    """Weights are equal to the bit for one seed and differ for another."""
    task = TrainingTask(cycles(100, 0), N_ITEMS, stop_after=1)
    first, same = (train_network(task, shape, SETTINGS, NoProgress()).model.weights() for _ in range(2))
    apart = [float(np.abs(one - two).max()) for one, two in zip(first, same, strict=True)]
    assert apart == [0.0] * len(first)
    other = train_network(task, shape, TrainingSettings(epochs=1, seed=6), NoProgress()).model.weights()
    assert not np.array_equal(first[0], other[0])


def test_training_stops_when_it_gets_no_better() -> None:
    """Patience counts epochs since the best one; nothing improves on sessions that have no rule."""
    rng = np.random.default_rng(0)
    noise = ItemSequences(np.arange(0, 201, 4), rng.integers(1, N_ITEMS + 1, 200).astype(np.int32))
    settings = TrainingSettings(epochs=60, learning_rate=0.05, batch_targets=64, patience=2)
    trained = train_network(TrainingTask(noise, N_ITEMS, validation=noise_after(rng)), SHAPE, settings, NoProgress())
    assert len(trained.reports) == trained.best_epoch + 2 < 60


def noise_after(rng: np.random.Generator) -> ItemSequences:
    """Make more sessions without a rule."""
    return ItemSequences(np.arange(0, 201, 4), rng.integers(1, N_ITEMS + 1, 200).astype(np.int32))


def test_no_epoch_begins_after_the_deadline() -> None:
    """A deadline in the past still gives a model, of one epoch."""
    task = TrainingTask(cycles(50, 0), N_ITEMS, deadline=0.0)
    trained = train_network(task, SHAPE, SETTINGS, NoProgress())
    assert [(report.epoch, report.mrr_at_20) for report in trained.reports] == [(1, None)]
    assert trained.planned_epochs < SETTINGS.epochs


def test_a_shortened_schedule_ends_within_an_epoch() -> None:
    """One and a half planned epochs are that many steps, and the learning rate is down at their end."""
    sequences = cycles(400, 0)
    n_targets = int(np.diff(sequences.starts).sum()) - 400
    trained = train_network(TrainingTask(sequences, N_ITEMS, planned_epochs=1.5), SHAPE, SETTINGS, NoProgress())
    assert [report.clicks for report in trained.reports] == [n_targets, pytest.approx(n_targets / 2, rel=0.1)]
    assert trained.planned_epochs == pytest.approx(1.5, rel=0.02)


def test_speed_is_that_of_targets(run: tuple[TrainedNetwork, Recorder]) -> None:
    """Clicks are targets, padding not counted; the average of epochs is over their time."""
    trained, recorder = run
    sequences = cycles(400, 0)
    assert [report.clicks for report in trained.reports] == [int(np.diff(sequences.starts).sum()) - 400] * 4
    assert recorder.clicks == sum(report.clicks for report in trained.reports)
    assert all(report.seconds > 0 for report in trained.reports)
    reports = [EpochReport(1, 0.0, None, None, clicks=30, seconds=1), EpochReport(2, 0.0, None, None, 10, 3.0)]
    assert [report.clicks_per_second for report in reports] == [30, pytest.approx(10 / 3)]
    assert clicks_per_second(reports) == 10
    assert clicks_per_second([]) == 0


@pytest.mark.parametrize(
    "interruptions",
    [
        [{"epochs": 3}],
        [{"steps": 50}, {"steps": 1}],
    ],
    ids=["after an epoch", "twice within epochs"],
)
def test_an_interrupted_training_gives_what_an_undisturbed_one_gives(
    shape: NetworkSettings, run: tuple[TrainedNetwork, Recorder], tmp_path: Path, interruptions: list[dict[str, int]]
) -> None:
    """Weights, figures and the best epoch are equal to the bit; epochs that are done are told again."""
    undisturbed, _ = run
    task = TrainingTask(cycles(400, 0), N_ITEMS, validation=cycles(50, 1), checkpoints=tmp_path)
    for interruption in interruptions:
        with pytest.raises(Interruption):
            train_network(task, shape, SETTINGS, Interrupting(**interruption))
    recorder = Recorder()
    trained = train_network(task, shape, SETTINGS, recorder)
    pairs = zip(trained.model.weights(), undisturbed.model.weights(), strict=True)
    assert all(np.array_equal(one, other) for one, other in pairs)
    assert trained.best_epoch == undisturbed.best_epoch
    assert [_without_time(report) for report in trained.reports] == [_without_time(one) for one in undisturbed.reports]
    assert recorder.reports == trained.reports
    assert recorder.steps <= 4 * recorder.phases[0][1]


def _without_time(report: EpochReport) -> EpochReport:
    return replace(report, seconds=0.0)


def test_a_finished_training_is_not_done_again(
    shape: NetworkSettings, run: tuple[TrainedNetwork, Recorder], tmp_path: Path
) -> None:
    """Its checkpoint gives the best weights; nothing is trained. Another seed is another training."""
    task = TrainingTask(cycles(400, 0), N_ITEMS, validation=cycles(50, 1), checkpoints=tmp_path)
    train_network(task, shape, SETTINGS, NoProgress())
    recorder = Recorder()
    again = train_network(task, shape, SETTINGS, recorder)
    pairs = zip(again.model.weights(), run[0].model.weights(), strict=True)
    assert all(np.array_equal(one, other) for one, other in pairs)
    assert (recorder.steps, len(recorder.reports)) == (0, 4)
    with pytest.raises(Interruption):
        train_network(task, shape, replace(SETTINGS, seed=6), Interrupting(steps=1))


def test_a_damaged_checkpoint_is_told_and_left_alone(tmp_path: Path) -> None:
    """Training starts anew then, and its own checkpoint takes the place."""
    task = TrainingTask(cycles(100, 0), N_ITEMS, stop_after=1, checkpoints=tmp_path)
    train_network(task, SHAPE, SETTINGS, NoProgress())
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:1000])
    recorder = Recorder()
    train_network(task, SHAPE, SETTINGS, recorder)
    (note,) = recorder.notes
    assert str(path) in note
    assert "starts anew" in note
    assert recorder.steps > 0
    train_network(task, SHAPE, SETTINGS, recorder)
    assert len(recorder.notes) == 1


def test_a_model_that_diverged_ranks_every_target_last(shape: NetworkSettings) -> None:
    """NaN is above nothing and below nothing; taken for the best it would win every choice."""
    task = TrainingTask(cycles(100, 0), N_ITEMS, validation=cycles(50, 1))
    run = TrainingRun(task, shape, SETTINGS)
    run.model.set_weights([np.full_like(weight, np.nan) for weight in run.model.weights()])
    report = run.epoch(0, NoProgress())
    assert report.mrr_at_20 == pytest.approx(1 / N_ITEMS)


@pytest.mark.parametrize("steps", [[30], [60, 5]], ids=["once", "twice"])
def test_an_interrupted_epoch_goes_on_after_its_last_checkpoint(
    shape: NetworkSettings, run: tuple[TrainedNetwork, Recorder], tmp_path: Path, steps: list[int]
) -> None:
    """Steps that a checkpoint within the epoch holds are not done again, and nothing else tells that it was there."""
    undisturbed, whole = run
    task = TrainingTask(
        cycles(400, 0), N_ITEMS, validation=cycles(50, 1), checkpoints=tmp_path, checkpoint_every_seconds=0.0
    )
    for n_steps in steps:
        with pytest.raises(Interruption):
            train_network(task, shape, SETTINGS, Interrupting(steps=n_steps))
    recorder = Recorder()
    trained = train_network(task, shape, SETTINGS, recorder)
    pairs = zip(trained.model.weights(), undisturbed.model.weights(), strict=True)
    assert all(np.array_equal(one, other) for one, other in pairs)
    assert [_without_time(report) for report in trained.reports] == [_without_time(one) for one in undisturbed.reports]
    assert recorder.steps == whole.steps - sum(steps) + len(steps)  # each checkpoint is one step behind


def test_workers_that_go_on_from_different_steps_are_refused(tmp_path: Path) -> None:
    """One that does not see the checkpoint would train another model: it says that the folder must be shared."""

    class OfTwo(Alone):
        n_workers = 2

        def total(self, figures: NDArray[np.float64]) -> NDArray[np.float64]:
            return figures + 30

    task = TrainingTask(cycles(100, 0), N_ITEMS, checkpoints=tmp_path)
    with pytest.raises(InsessionError, match="all hosts share"):
        train_network(task, SHAPE, SETTINGS, NoProgress(), OfTwo())


def test_one_process_alone_exchanges_nothing(shape: NetworkSettings) -> None:
    """Its step holds no more than the step of a training without workers."""
    gradients, loss = [tf.ones((2, 3))], tf.ones(())
    given, same = Alone().combine(gradients, loss, tf.constant(4))
    assert (given is gradients, same is loss) == (True, True)
    assert of_chief(Alone(), float("inf")) == float("inf")
    batch = next(
        TrainingRun(TrainingTask(cycles(100, 0), N_ITEMS), shape, SETTINGS).plan.epoch(np.random.default_rng())
    )
    assert np.array_equal(batch.share(0, 1).inputs, batch.inputs)


def test_one_process_takes_the_steps_that_it_took_before_there_were_workers(shape: NetworkSettings) -> None:
    """Weights are equal to the bit to those of the step written out: its candidates, its rows, its dropout."""
    task = TrainingTask(cycles(100, 0), N_ITEMS)
    run, plain = (TrainingRun(task, shape, SETTINGS) for _ in range(2))
    for step, batch in enumerate(run.plan.epoch(np.random.default_rng(0))):
        run.train(batch)
        candidates = plain._sampler.candidates(batch.clicks, plain._rng)
        rows = np.concatenate([np.zeros(1, np.int32), candidates.items])
        plain._train_step(
            rows,
            np.searchsorted(rows, batch.inputs).astype(np.int32),
            batch.positions,
            np.searchsorted(rows, batch.targets).astype(np.int32),
            candidates.log_inclusion,
            np.float32(cosine_rate(step, plain.total_steps, peak=SETTINGS.learning_rate)),
            np.array([SETTINGS.seed, 2 * (step + 1)], np.int32),
        )
    pairs = zip(run.model.weights(), plain.model.weights(), strict=True)
    assert all(np.array_equal(one, other) for one, other in pairs)
