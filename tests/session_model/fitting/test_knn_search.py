import numpy as np

from schemas.ids import ItemIndex
from session_model.data.item_sequences import ItemSequences
from session_model.data.prefixes import Prefix
from session_model.fitting.knn_search import KnnTrials, search_knn
from session_model.ranking.knn import LONG_MEMORY, SHORT_MEMORY
from session_model.runs.progress import NoProgress

N_ITEMS = 40


class Counting(NoProgress):
    """Counts the steps, and remembers what it is told."""

    def __init__(self) -> None:
        self.announced = self.steps = 0
        self.notes: list[str] = []

    def noted(self, text: str) -> None:
        """Remember it."""
        self.notes.append(text)

    def started(self, phase: str, n_steps: int) -> None:  # noqa: ARG002 - the protocol's signature
        """Keep what was announced."""
        self.announced = n_steps

    def stepped(self, clicks: int = 0) -> None:  # noqa: ARG002 - the protocol's
        """Count a step."""
        self.steps += 1


def trials_where_only_the_first_click_tells() -> KnnTrials:
    """Sessions whose last item is told by their first one; between stand items that everybody clicks."""
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(400):
        first = int(rng.integers(1, 11))
        rows.append([first, *rng.integers(30, 41, 4).tolist(), first + 10])
    sequences = ItemSequences(np.arange(0, 6 * 301, 6), np.array(rows[:300], np.int32).ravel())
    return KnnTrials(
        sequences, N_ITEMS, [Prefix(np.array(row[:-1], np.int32), ItemIndex(row[-1])) for row in rows[300:]]
    )


def test_the_search_finds_better_settings_than_those_it_starts_from() -> None:
    """Where the known settings look at the wrong clicks, others are found, in the announced number of trials."""
    trials, progress = trials_where_only_the_first_click_tells(), Counting()
    found = trials.gain(search_knn(trials, 40, progress), 100)
    assert found > max(trials.gain(SHORT_MEMORY, 100), trials.gain(LONG_MEMORY, 100)) + 0.05
    assert (progress.announced, progress.steps) == (40, 40)


def test_a_seed_decides_what_is_tried() -> None:
    """The same seed chooses the same settings."""
    trials = trials_where_only_the_first_click_tells()
    assert search_knn(trials, 10, NoProgress(), seed=1) == search_knn(trials, 10, NoProgress(), seed=1)


def test_a_deadline_ends_the_search_after_the_known_settings() -> None:
    """One of the two is the best then, and it is told how many were tried."""
    trials, progress = trials_where_only_the_first_click_tells(), Counting()
    assert search_knn(trials, 40, progress, deadline=0.0) in {SHORT_MEMORY, LONG_MEMORY}
    assert progress.steps == 2
    assert progress.notes == ["kNN settings: 2 of 40 tried in the time there is"]


def test_trials_that_are_noted_are_not_made_again() -> None:
    """A search that goes on finds the same settings as one that was never interrupted."""
    trials = trials_where_only_the_first_click_tells()
    found = search_knn(trials, 10, NoProgress(), seed=1)
    n_noted = len(trials.journal)
    assert search_knn(trials, 10, NoProgress(), seed=1) == found
    assert len(trials.journal) == n_noted >= 10


def test_trials_that_are_noted_count_after_the_deadline_too() -> None:
    """A search that goes on late finds what it had found: what was tried costs nothing."""
    trials = trials_where_only_the_first_click_tells()
    found = search_knn(trials, 10, NoProgress(), seed=1)
    progress = Counting()
    assert search_knn(trials, 10, progress, seed=1, deadline=0.0) == found
    assert (progress.steps, progress.notes) == (10, [])
