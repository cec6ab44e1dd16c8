from dataclasses import replace

import numpy as np
import pytest

from session_model.data.item_sequences import ItemSequences
from session_model.networks.gru4rec import Gru4Rec
from session_model.networks.gru4rec_training import train_gru4rec
from session_model.networks.settings import Gru4RecSettings
from session_model.networks.training_task import TrainingTask
from session_model.runs.progress import EpochReport, NoProgress

N_ITEMS = 12
SETTINGS = Gru4RecSettings("cross-entropy", 16, 8, 0.2, 0.1, 0.5, item_dropout=0.1, negatives=6, epochs=4, seed=5)


def cycles(n_sessions: int) -> ItemSequences:
    """Make sessions that walk the items in a circle: after i always comes i + 1."""
    rng = np.random.default_rng(0)
    first, lengths = rng.integers(0, N_ITEMS, n_sessions), rng.integers(2, 7, n_sessions)
    rows = [(start + np.arange(length)) % N_ITEMS + 1 for start, length in zip(first, lengths, strict=True)]
    return ItemSequences(np.cumsum([0, *lengths]).astype(np.int64), np.concatenate(rows).astype(np.int32))


def scores(model: Gru4Rec) -> np.ndarray:
    """Score all items behind each single item, (n_items, n_items)."""
    vectors = model.read(model.item_vectors()[1:, np.newaxis], np.arange(N_ITEMS)).vectors
    return vectors.numpy() @ model.item_matrix()


class Counting(NoProgress):
    """Counts the steps that are announced and made."""

    def __init__(self) -> None:
        self.announced = self.made = 0
        self.reports: list[EpochReport] = []

    def started(self, phase: str, n_steps: int) -> None:
        """Remember the announcement."""
        assert phase == "training GRU4Rec"
        self.announced = n_steps

    def stepped(self, clicks: int = 0) -> None:
        """Count the steps that have clicks."""
        assert clicks
        self.made += 1

    def epoch_ended(self, report: EpochReport) -> None:
        """Remember the report."""
        self.reports.append(report)


@pytest.mark.parametrize(
    "settings",
    [SETTINGS, replace(SETTINGS, loss="bpr-max", penalty=0.5, learning_rate=0.1)],
    ids=["cross-entropy", "bpr-max"],
)
def test_it_learns_what_follows_what(settings: Gru4RecSettings) -> None:
    """With either loss, a rule without exception puts the next item first, and the loss falls."""
    progress = Counting()
    trained = train_gru4rec(TrainingTask(cycles(500), N_ITEMS), settings, progress)
    assert (scores(trained.model).argmax(axis=1) == (np.arange(N_ITEMS) + 1) % N_ITEMS).all()
    assert trained.reports[-1].loss < 0.5 * trained.reports[0].loss
    assert progress.announced == progress.made
    assert progress.reports == trained.reports
    assert trained.best_epoch == 4


def test_the_same_seed_gives_the_same_model() -> None:
    """Scores are equal to the bit for one seed and differ for another."""
    task, settings = TrainingTask(cycles(60), N_ITEMS), replace(SETTINGS, epochs=1)
    first, same = (scores(train_gru4rec(task, settings, NoProgress()).model) for _ in range(2))
    assert np.array_equal(first, same)
    other = scores(train_gru4rec(task, replace(settings, seed=6), NoProgress()).model)
    assert not np.array_equal(first, other)


def test_no_epoch_begins_after_the_deadline() -> None:
    """A deadline in the past still gives a model, of one epoch."""
    trained = train_gru4rec(TrainingTask(cycles(30), N_ITEMS, deadline=0.0), SETTINGS, NoProgress())
    assert trained.best_epoch == 1
