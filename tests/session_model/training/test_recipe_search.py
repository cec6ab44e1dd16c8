import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from schemas.errors import InsessionError
from session_model.networks.settings import NetworkSettings, TrainingSettings
from session_model.networks.training_task import TrainingTask
from session_model.runs.progress import EpochReport, NoProgress, TrainingProgress
from session_model.training.presets import PRESETS
from session_model.training.recipe_files import read_recipe
from session_model.training.recipe_search import SPACES, SearchRequest, search_recipe

KNOWN = len(PRESETS["default"].recipes)


class FakeTrainer:
    """Tells epochs whose figures rise to a height that the learning rate sets: best at .002."""

    def __init__(self, *, interrupt_at: int = 0) -> None:
        self.trained: list[tuple[NetworkSettings, TrainingSettings]] = []
        self.n_epochs = 0
        self._interrupt_at = interrupt_at

    def __call__(
        self, task: TrainingTask, shape: NetworkSettings, settings: TrainingSettings, progress: TrainingProgress
    ) -> None:
        """Train in no time."""
        assert task.validation is not None
        assert task.checkpoints is not None
        self.trained.append((shape, settings))
        if len(self.trained) == self._interrupt_at:
            raise KeyboardInterrupt
        height = 0.9 - 0.2 * abs(math.log(settings.learning_rate / 0.002))
        progress.started(task.phase, 3)
        for epoch in range(1, 4):
            progress.stepped(10)
            self.n_epochs += 1
            progress.epoch_ended(EpochReport(epoch, 1.0, height * epoch / 3, 0.1))


class Notes(NoProgress):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def noted(self, text: str) -> None:
        """Remember it."""
        self.texts.append(text)


@pytest.fixture
def request_(tmp_path: Path) -> SearchRequest:
    """Ask for twenty trials on a few sessions."""
    (tmp_path / "data.txt").write_text("a b c\nb c a\n" * 150)
    return SearchRequest(tmp_path / "data.txt", "sequences", tmp_path / "tuned", time_budget_seconds=600, n_trials=20)


@pytest.mark.parametrize("network", SPACES)
def test_the_best_recipe_is_written(request_: SearchRequest, network: str) -> None:
    """Proposed recipes come nearer to the best than the known ones, and hopeless ones end after an epoch."""
    trainer = FakeTrainer()
    result = search_recipe(replace(request_, network=network), NoProgress(), trainer)
    known = SPACES[network].known
    assert len({type(shape) for shape, _ in trainer.trained}) == 1
    assert [trial.recipe.network for trial in result.trials[: len(known)]] == [recipe.network for recipe in known]
    gains = [trial.gain for trial in result.trials]
    assert len(gains) == len(trainer.trained) == 20
    assert result.best == gains.index(max(gains)) >= len(known)
    assert read_recipe(result.recipe_path) == result.trials[result.best].recipe
    pruned = [trial for trial in result.trials if trial.is_pruned]
    assert pruned
    assert all(len(trial.gains) < 3 for trial in pruned)
    assert trainer.n_epochs == sum(len(trial.gains) for trial in result.trials) < 60
    told = json.loads((result.run_directory / "trials.json").read_text())
    assert [one["gain"] for one in told] == gains
    assert (result.run_directory / "curve.svg").exists()


def test_an_interrupted_search_goes_on_as_if_nothing_had_been(request_: SearchRequest, tmp_path: Path) -> None:
    """The same recipes are proposed, and those that were trained are not trained again."""
    undisturbed = search_recipe(replace(request_, directory=tmp_path / "other"), NoProgress(), FakeTrainer())
    with pytest.raises(KeyboardInterrupt):
        search_recipe(request_, NoProgress(), FakeTrainer(interrupt_at=13))
    assert "Best of 12 trials" in (request_.directory / "recipe.toml").read_text()
    trainer, notes = FakeTrainer(), Notes()
    result = search_recipe(request_, notes, trainer)
    assert notes.texts[0] == "goes on with run 1 after 12 trials; --fresh begins anew"
    assert len(trainer.trained) == 20 - 12
    assert result.trials == undisturbed.trials
    longer = search_recipe(replace(request_, n_trials=22), NoProgress(), trainer := FakeTrainer())
    assert longer.trials[:20] == result.trials
    assert len(trainer.trained) == 2


def test_a_search_for_another_network_is_another_search(request_: SearchRequest) -> None:
    """In the same folder; each goes on with its own trials."""
    for network in SPACES:
        search_recipe(replace(request_, network=network, n_trials=3), NoProgress(), FakeTrainer())
    assert sorted(path.name for path in (request_.directory / "runs").iterdir()) == ["1", "2"]
    search_recipe(replace(request_, n_trials=3), NoProgress(), trainer := FakeTrainer())
    assert trainer.trained == []


def test_the_seed_decides_what_is_proposed(request_: SearchRequest) -> None:
    """And it is the seed of the trainings; known recipes come first whatever it is."""
    trainers = [FakeTrainer(), FakeTrainer()]
    for seed, trainer in enumerate(trainers):
        search_recipe(replace(request_, seed=seed, n_trials=KNOWN + 1), NoProgress(), trainer)
    assert [settings.seed for _, settings in trainers[0].trained] == [0] * (KNOWN + 1)
    first, second = ([(gru, training.learning_rate) for gru, training in trainer.trained] for trainer in trainers)
    assert first[:KNOWN] == second[:KNOWN]
    assert first[KNOWN] != second[KNOWN]


def test_time_that_is_over_ends_the_search(request_: SearchRequest) -> None:
    """What is done is written; where no trial is, it is told how to go on."""
    spent = replace(request_, time_budget_seconds=-1)
    with pytest.raises(InsessionError, match=r"no trial ended.*the same command goes on"):
        search_recipe(spent, NoProgress(), FakeTrainer())
    search_recipe(replace(request_, n_trials=KNOWN), NoProgress(), FakeTrainer())
    notes = Notes()
    assert len(search_recipe(spent, notes, FakeTrainer()).trials) == KNOWN
    assert notes.texts[-1] == f"the time is over after {KNOWN} trials; the same command goes on"


def test_too_few_sessions_cannot_be_searched_on(request_: SearchRequest) -> None:
    """Nothing could be held out of them."""
    request_.data.write_text("a b\n" * 10)
    with pytest.raises(InsessionError, match="too few sessions"):
        search_recipe(request_, NoProgress(), FakeTrainer())
