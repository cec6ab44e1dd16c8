"""The search for a recipe: Optuna's TPE (Bergstra et al., NeurIPS 2011) proposes, the validation slice judges.

Trials are noted in the journal of a run folder. The same search goes on by asking the seeded sampler again and
answering from the journal, so nothing else of its state has to be kept; an interrupted training has its checkpoint.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import msgspec
import optuna

from schemas.errors import InsessionError
from schemas.events import EventType
from session_model.data.formats import AS_IT_IS, DataFormat, ReadOptions
from session_model.data.training_data import hold_out, read_training_data
from session_model.networks.network_training import train_network
from session_model.networks.settings import AttentionSettings, GruSettings, NetworkSettings, TrainingSettings
from session_model.networks.training_task import TrainingTask
from session_model.runs.curve import CurveRecorder
from session_model.runs.folder import RUNS, RunConfig, RunFolder, open_run
from session_model.runs.progress import EpochReport, NoProgress, TrainingProgress
from session_model.training.presets import DEFAULT_RECIPES, PRESETS, AttentionRecipe, GruRecipe, Recipe
from session_model.training.recipe_files import write_recipe
from session_model.training.train_release import DEFAULT_INPUT_EVENT_TYPES, code_versions

RECIPE_FILE = "recipe.toml"
TRIALS_FILE = "trials.json"
EPOCHS = 6
"""Planned by every proposed trial: figures after an epoch compare only under one learning-rate schedule."""
UNPRUNED_TRIALS = 4
"""Trials are compared with the median of those before, from so many on."""

Distributions = dict[str, optuna.distributions.BaseDistribution]
_GRU_SPACE: Final[Distributions] = {
    "units": optuna.distributions.CategoricalDistribution([64, 128, 192, 256]),
    "dimension": optuna.distributions.CategoricalDistribution([64, 128, 192]),
    "scale": optuna.distributions.FloatDistribution(8.0, 32.0, log=True),
    "item_dropout": optuna.distributions.FloatDistribution(0.0, 0.6),
    "state_dropout": optuna.distributions.FloatDistribution(0.0, 0.5),
    "has_attention": optuna.distributions.CategoricalDistribution([False, True]),
}
_ATTENTION_SPACE: Final[Distributions] = {
    "dimension": optuna.distributions.CategoricalDistribution([64, 128, 192]),
    "blocks": optuna.distributions.CategoricalDistribution([1, 2, 3]),
    "scale": optuna.distributions.FloatDistribution(8.0, 32.0, log=True),
    "dropout": optuna.distributions.FloatDistribution(0.0, 0.6),
}
_TRAINING_SPACE: Final[Distributions] = {
    "learning_rate": optuna.distributions.FloatDistribution(0.0005, 0.02, log=True),
    "batch_targets": optuna.distributions.CategoricalDistribution([256, 512, 1024, 2048]),
    "negatives": optuna.distributions.CategoricalDistribution([512, 1024, 2048, 4096, 8192]),
    "sampling_power": optuna.distributions.FloatDistribution(0.25, 1.0),
    "recency_decay": optuna.distributions.CategoricalDistribution([None, 0.5, 1.0, 2.0]),
}


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """What is searched of a network. known: recipes that compete; shape: its own part; recipe: puts one together."""

    known: tuple[Recipe, ...]
    shape: Distributions
    recipe: Callable[[Mapping[str, Any], TrainingSettings], Recipe]

    @property
    def all(self) -> Distributions:
        """What is proposed: shape and training."""
        return {**self.shape, **_TRAINING_SPACE}


SPACES: Final[Mapping[str, SearchSpace]] = {
    "gru": SearchSpace(DEFAULT_RECIPES, _GRU_SPACE, lambda shape, training: GruRecipe(GruSettings(**shape), training)),
    "attention": SearchSpace(
        PRESETS["attention"].recipes,
        _ATTENTION_SPACE,
        lambda shape, training: AttentionRecipe(AttentionSettings(**shape), training),
    ),
}
"""By the name of the network, as in the files of recipes."""


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """What to search on, and how long.

    options: what else `data` is read by.
    time_budget_seconds: of this process; the same search goes on for as long again.
    n_trials: in all, those of earlier processes included.
    network: one of `SPACES`.
    """

    data: Path
    data_format: DataFormat
    directory: Path
    time_budget_seconds: float
    n_trials: int
    network: str = "gru"
    seed: int = 1
    input_event_types: tuple[EventType, ...] = DEFAULT_INPUT_EVENT_TYPES
    is_fresh: bool = False
    options: ReadOptions = AS_IT_IS


class _Reached(msgspec.Struct):
    """What the journal notes of a trial."""

    gains: list[float]
    is_pruned: bool


@dataclass(frozen=True, slots=True)
class Trial:
    """A recipe and what it reached, an entry an epoch; a pruned one has fewer epochs."""

    recipe: Recipe
    gains: list[float]
    is_pruned: bool

    @property
    def gain(self) -> float:
        """Recall@20 + MRR@20 of the best epoch on the validation slice."""
        return max(self.gains)


@dataclass(frozen=True, slots=True)
class SearchResult:
    """All trials, the best of them, and where the files are. shape: what was searched of the network's."""

    shape: tuple[str, ...]
    trials: list[Trial]
    best: int
    recipe_path: Path
    run_directory: Path


Trainer = Callable[[TrainingTask, NetworkSettings, TrainingSettings, TrainingProgress], object]
"""Trains one model and tells its epochs, as `train_network` does."""


class _OutOfTimeError(Exception):
    """The time is over; the trial goes on in the next process."""


class _PrunedError(Exception):
    """The trial is worse than the median."""


def search_recipe(
    request: SearchRequest, progress: TrainingProgress, train_by: Trainer = train_network
) -> SearchResult:
    """Try the recipes of the network's preset, then proposed ones, until time or trials are spent.

    Raises InsessionError where the data do not do, or where there was no time for one trial.
    """
    deadline, space = time.monotonic() + request.time_budget_seconds, SPACES[request.network]
    data = read_training_data(request.data, request.data_format, request.input_event_types, request.options)
    earlier, later = hold_out(data.sequences)
    if later is None:
        raise InsessionError(f"{request.data} has too few sessions to hold some out and search on them; use a preset")
    essence = {
        "search": "recipe",
        "data_sha256": data.digest,
        "data_format": request.data_format,
        "read_options": msgspec.to_builtins(request.options),
        "input_event_types": request.input_event_types,
        "known_recipes": msgspec.to_builtins(space.known),
        "space": {name: optuna.distributions.distribution_to_json(one) for name, one in space.all.items()},
        "seed": request.seed,
        "versions": code_versions() | {"optuna": optuna.__version__},
    }
    config = RunConfig(essence, {"data": str(request.data)})
    with open_run(request.directory / RUNS, config, is_fresh=request.is_fresh) as run:
        if run.is_resumed:
            progress.noted(f"goes on with run {run.number} after {len(run.journal)} trials; --fresh begins anew")
        task = TrainingTask(earlier, len(data.vocabulary), validation=later, checkpoints=run.checkpoints)
        search = _Search(task, space, run, train_by, deadline=deadline, seed=request.seed)
        try:
            search.make(request.n_trials, CurveRecorder(progress, run.drew))
        finally:
            result = _written(request, run, search.done) if search.done else None
        if result is None:
            raise InsessionError(
                f"no trial ended within {request.time_budget_seconds:.0f} s; the same command goes on where this one "
                "stopped, or give it a longer --time-budget"
            )
        return result


def _written(request: SearchRequest, run: RunFolder, trials: list[Trial]) -> SearchResult:
    best = max(range(len(trials)), key=lambda place: trials[place].gain)
    run.write_json(TRIALS_FILE, [{**msgspec.to_builtins(trial), "gain": trial.gain} for trial in trials])
    run.draw()
    path = request.directory / RECIPE_FILE
    comment = f"Best of {len(trials)} trials on {request.data.name}: Recall@20 + MRR@20 {trials[best].gain:.4f}"
    write_recipe(path, trials[best].recipe, comment)
    return SearchResult(tuple(SPACES[request.network].shape), trials, best, path, run.directory)


class _Search:
    """The loop of trials; those that are done are in `done`."""

    def __init__(
        self, task: TrainingTask, space: SearchSpace, run: RunFolder, train_by: Trainer, *, deadline: float, seed: int
    ) -> None:
        self.done: list[Trial] = []
        self._task = task
        self._space = space
        self._run = run
        self._train_by = train_by
        self._progress: TrainingProgress = NoProgress()
        self._deadline = deadline
        self._seed = seed
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(
            direction="maximize",
            sampler=optuna.samplers.TPESampler(seed=seed),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=UNPRUNED_TRIALS),
        )

    def make(self, n_trials: int, progress: TrainingProgress) -> None:
        """Make so many trials, fewer where the time is over."""
        self._progress = progress
        try:
            for recipe in self._space.known[:n_trials]:
                training = replace(recipe.training, seed=self._seed)
                self.done.append(self._known(replace(recipe, training=training), len(self.done) + 1))
            while len(self.done) < n_trials:
                self.done.append(self._proposed(len(self.done) + 1))
        except _OutOfTimeError:
            progress.noted(f"the time is over after {len(self.done)} trials; the same command goes on")

    def _known(self, recipe: Recipe, number: int) -> Trial:
        """Let a recipe of the preset compete, and the sampler learn of it where it lies in the space."""
        trial, space = self._trained(recipe, number, None), self._space.all
        values = {**msgspec.to_builtins(recipe.network), **msgspec.to_builtins(recipe.training)}
        params = {name: values[name] for name in space}
        if all(_holds(space[name], value) for name, value in params.items()):
            self._study.add_trial(optuna.trial.create_trial(value=trial.gain, params=params, distributions=space))
        return trial

    def _proposed(self, number: int) -> Trial:
        asked = self._study.ask(self._space.all)
        training = {name: asked.params[name] for name in _TRAINING_SPACE}
        shape = {name: asked.params[name] for name in self._space.shape}
        recipe = self._space.recipe(shape, TrainingSettings(**training, epochs=EPOCHS, seed=self._seed))
        trial = self._trained(recipe, number, asked)
        reported = self._study.trials[asked.number].intermediate_values
        for epoch, gain in enumerate(trial.gains, 1):
            if epoch not in reported:  # a trial of an earlier process
                asked.report(gain, epoch)
        if trial.is_pruned:
            self._study.tell(asked, state=optuna.trial.TrialState.PRUNED)
        else:
            self._study.tell(asked, trial.gain)
        return trial

    def _trained(self, recipe: Recipe, number: int, asked: optuna.Trial | None) -> Trial:
        key = f"trial {msgspec.json.encode(recipe).decode()}"
        reached = self._run.journal.once(key, _Reached, lambda: self._train(recipe, number, asked))
        trial = Trial(recipe, reached.gains, reached.is_pruned)
        word = " (pruned)" if trial.is_pruned else ""
        self._progress.noted(f"trial {number}: Recall@20 + MRR@20 {trial.gain:.4f}{word}")
        return trial

    def _train(self, recipe: Recipe, number: int, asked: optuna.Trial | None) -> _Reached:
        task = replace(self._task, phase=f"trial {number}")
        judge = _Judge(self._progress, asked, self._deadline)
        with suppress(_PrunedError):
            self._train_by(task, recipe.network, recipe.training, judge)
        checkpoint = task.checkpoint_file(recipe.network, recipe.training)
        if checkpoint is not None:
            checkpoint.path.unlink(missing_ok=True)
        return _Reached(judge.gains, judge.is_pruned)


class _Judge:
    """Hands on the progress of a trial, and ends it where it is worse than the median or the time is over."""

    def __init__(self, progress: TrainingProgress, asked: optuna.Trial | None, deadline: float) -> None:
        self._progress = progress
        self._asked = asked
        self._deadline = deadline
        self.gains: list[float] = []
        self.is_pruned = False

    def started(self, phase: str, n_steps: int) -> None:
        """Hand it on."""
        self._progress.started(phase, n_steps)

    def stepped(self, clicks: int = 0) -> None:
        """End the trial where the time is over."""
        self._progress.stepped(clicks)
        if time.monotonic() >= self._deadline:
            raise _OutOfTimeError

    def epoch_ended(self, report: EpochReport) -> None:
        """Take the figures; end the trial where they are worse than the median of those before."""
        self._progress.epoch_ended(report)
        self._judge(report)

    def resumed(self, reports: Sequence[EpochReport], n_steps: int) -> None:
        """Take the figures of the epochs of before."""
        self._progress.resumed(reports, n_steps)
        for report in reports:
            self._judge(report)

    def noted(self, text: str) -> None:
        """Hand it on."""
        self._progress.noted(text)

    def _judge(self, report: EpochReport) -> None:
        self.gains.append(report.gain)
        if self._asked is None:
            return
        self._asked.report(self.gains[-1], report.epoch)
        if self._asked.should_prune():
            self.is_pruned = True
            raise _PrunedError


def _holds(distribution: optuna.distributions.BaseDistribution, value: Any) -> bool:
    if isinstance(distribution, optuna.distributions.CategoricalDistribution):
        return value in distribution.choices
    assert isinstance(distribution, optuna.distributions.FloatDistribution)
    return bool(distribution.low <= value <= distribution.high)
