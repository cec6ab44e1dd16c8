import numpy as np
import pytest

from session_model.gru import GruSettings
from session_model.item_sequences import ItemSequences
from session_model.training import GruTask, TrainedGru, TrainingSettings, train_gru
from session_model.training_progress import EpochReport, NoProgress

N_ITEMS = 12
SHAPE = GruSettings(units=16, dimension=16, item_dropout=0.1, state_dropout=0.1, max_length=5)
SETTINGS = TrainingSettings(epochs=4, learning_rate=0.02, batch_targets=32, negatives=6, patience=4, seed=5)


class Recorder:
    """Remembers what training said."""

    def __init__(self) -> None:
        self.phases: list[tuple[str, int]] = []
        self.steps = 0
        self.reports: list[EpochReport] = []

    def started(self, phase: str, n_steps: int) -> None:
        """Remember the phase."""
        self.phases.append((phase, n_steps))

    def stepped(self) -> None:
        """Count."""
        self.steps += 1

    def epoch_ended(self, report: EpochReport) -> None:
        """Remember the report."""
        self.reports.append(report)


def cycles(n_sessions: int, seed: int) -> ItemSequences:
    """Make sessions that walk the items in a circle: after i always comes i + 1."""
    rng = np.random.default_rng(seed)
    first, lengths = rng.integers(0, N_ITEMS, n_sessions), rng.integers(2, 7, n_sessions)
    rows = [(start + np.arange(length)) % N_ITEMS + 1 for start, length in zip(first, lengths, strict=True)]
    return ItemSequences(np.cumsum([0, *lengths]).astype(np.int64), np.concatenate(rows).astype(np.int32))


@pytest.fixture(scope="module")
def run() -> tuple[TrainedGru, Recorder]:
    """Train once on circles, with sampled negatives."""
    recorder = Recorder()
    task = GruTask(cycles(400, 0), N_ITEMS, validation=cycles(50, 1))
    return train_gru(task, SHAPE, SETTINGS, recorder), recorder


def test_it_learns_what_follows_what(run: tuple[TrainedGru, Recorder]) -> None:
    """A rule without exception is learned: the next item comes first for held-out sessions."""
    trained, _ = run
    assert trained.reports[trained.best_epoch - 1].mrr_at_20 == pytest.approx(1.0, abs=0.02)
    assert trained.reports[-1].loss < 0.5 * trained.reports[0].loss


def test_progress_hears_of_every_step_and_epoch(run: tuple[TrainedGru, Recorder]) -> None:
    """The announced steps bound those that come."""
    trained, recorder = run
    ((phase, n_steps),) = recorder.phases
    assert phase == "choosing epochs"
    assert 0.9 * n_steps < recorder.steps <= n_steps
    assert recorder.reports == trained.reports


def test_the_best_epoch_is_given_back(run: tuple[TrainedGru, Recorder]) -> None:
    """Best is the last epoch with the highest validation MRR@20."""
    trained, _ = run
    figures = [report.mrr_at_20 for report in trained.reports]
    assert trained.best_epoch == max(range(len(figures)), key=lambda epoch: (figures[epoch], epoch)) + 1


def test_the_same_seed_gives_the_same_model() -> None:
    """Weights are equal to the bit for one seed and differ for another."""
    task = GruTask(cycles(100, 0), N_ITEMS, stop_after=1)
    first, same = (train_gru(task, SHAPE, SETTINGS, NoProgress()).model.weights() for _ in range(2))
    assert all(np.array_equal(one, two) for one, two in zip(first, same, strict=True))
    other = train_gru(task, SHAPE, TrainingSettings(epochs=1, seed=6), NoProgress()).model.weights()
    assert not np.array_equal(first[0], other[0])


def test_training_stops_when_it_gets_no_better() -> None:
    """Patience counts epochs since the best one; nothing improves on sessions that have no rule."""
    rng = np.random.default_rng(0)
    noise = ItemSequences(np.arange(0, 201, 4), rng.integers(1, N_ITEMS + 1, 200).astype(np.int32))
    settings = TrainingSettings(epochs=60, learning_rate=0.05, batch_targets=64, patience=2)
    trained = train_gru(GruTask(noise, N_ITEMS, validation=noise_after(rng)), SHAPE, settings, NoProgress())
    assert len(trained.reports) == trained.best_epoch + 2 < 60


def noise_after(rng: np.random.Generator) -> ItemSequences:
    """Make more sessions without a rule."""
    return ItemSequences(np.arange(0, 201, 4), rng.integers(1, N_ITEMS + 1, 200).astype(np.int32))


def test_no_epoch_begins_after_the_deadline() -> None:
    """A deadline in the past still gives a model, of one epoch."""
    task = GruTask(cycles(50, 0), N_ITEMS, deadline=0.0)
    trained = train_gru(task, SHAPE, SETTINGS, NoProgress())
    assert [(report.epoch, report.mrr_at_20) for report in trained.reports] == [(1, None)]
