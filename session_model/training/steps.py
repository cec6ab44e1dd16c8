"""From sequences to a model and how it is blended: choose on the latest sessions, then learn from all."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from session_model.data.training_data import MIN_HELD_OUT_FROM, TrainingData, hold_out
from session_model.fitting.cold_start import DEFAULT_DISCOUNTS, Described
from session_model.fitting.item_vectors import DEFAULT_SHARE
from session_model.networks.gru4rec_training import train_gru4rec
from session_model.networks.settings import Gru4RecSettings
from session_model.networks.trainer import Trainer
from session_model.networks.training_task import DEFAULT_CHECKPOINT_EVERY_SECONDS, TrainedNetwork, TrainingTask
from session_model.ranking.blend import MODEL_ONLY, BlendWeights
from session_model.ranking.cold_items import Discounts
from session_model.ranking.knn import SHORT_MEMORY, KnnSettings
from session_model.ranking.reranker import Reranker
from session_model.runs.folder import RunFolder
from session_model.runs.journal import Journal
from session_model.runs.progress import TrainingProgress
from session_model.runs.time_budget import TimeBudget
from session_model.training.fusion import SearchBounds, Tuning, TuningTask, tune
from session_model.training.presets import Preset, Recipe
from session_model.training.recipe_choice import Tried, try_recipes


@dataclass(frozen=True, slots=True)
class Learned:
    """What the choice on the validation slice came to, and the model that is released."""

    trained: TrainedNetwork
    knn_settings: KnnSettings
    blend_weights: BlendWeights
    metrics: dict[str, float]
    reranker: Reranker | None = None
    discounts: Discounts = DEFAULT_DISCOUNTS
    vector_share: float = DEFAULT_SHARE
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Means:
    """What a training has: its time, and who trains the networks; checkpoints as in `TrainingTask`."""

    budget: TimeBudget
    trainer: Trainer
    checkpoint_every_seconds: float = DEFAULT_CHECKPOINT_EVERY_SECONDS


def learn(
    data: TrainingData, preset: Preset, means: Means, catalog: Described, run: RunFolder, progress: TrainingProgress
) -> Learned:
    """Choose by `preset` and train by `means`; what `run` has done already is not done again."""
    budget, trainer = means.budget, means.trainer
    task = TrainingTask(data.sequences, len(data.vocabulary))
    if preset.gru4rec is not None:
        return _as_published(task, preset.gru4rec, budget, run, progress)
    everything = replace(task, phase="training on all sessions", checkpoints=run.checkpoints)
    everything = replace(everything, checkpoint_every_seconds=means.checkpoint_every_seconds)
    earlier, later = hold_out(data.sequences)
    if later is None:
        progress.noted(
            f"nothing is held out of {len(data.sequences):,} sessions: the latest tenth is from {MIN_HELD_OUT_FROM} "
            "on, if both parts have sessions of two items; the first recipe is trained as it is, nothing is measured"
        )
        recipe = preset.recipes[0]
        with run.phase("final training"):
            trained = trainer.train(everything, recipe.network, recipe.training, progress)
        return Learned(trained, SHORT_MEMORY, MODEL_ONLY, {"epochs": trained.best_epoch})
    with run.phase("choosing"):
        choice = replace(everything, sequences=earlier, validation=later, deadline=budget.choice_deadline)
        tried = _tried(choice, preset.recipes, trainer, run.journal, progress)
    best = max(tried, key=lambda one: one.gain)
    chosen, seconds = preset.recipes.index(best.recipe), best.seconds * len(data.sequences) / len(earlier)
    with run.phase("tuning"):
        until = run.journal.once(
            "search until", float, lambda: budget.search_deadline(time.monotonic(), seconds) - budget.started
        )
        bounds = SearchBounds(run.journal, budget.started + until)
        make = partial(tune, TuningTask(best.trained.model, earlier, later, preset, catalog), progress, bounds)
        tuning = run.journal.once(f"tuning of recipe {chosen}", Tuning, make)
    left_out = [f"epochs of recipe {place}" for place, one in enumerate(tried, 1) if one.is_shortened]
    left_out += [f"recipe {place}" for place in range(len(tried) + 1, len(preset.recipes) + 1)]
    reports, trained = [report for one in tried for report in one.trained.reports], best.trained
    if run.journal.once("final training fits", bool, lambda: time.monotonic() + seconds <= budget.end):
        with run.phase("final training"):
            final = replace(everything, planned_epochs=best.trained.planned_epochs, stop_after=best.trained.best_epoch)
            trained = trainer.train(final, best.recipe.network, best.recipe.training, progress)
        reports += trained.reports
    else:
        left_out.append("the final training on all sessions")
    return Learned(
        trained=replace(trained, reports=reports),
        knn_settings=tuning.knn_settings,
        blend_weights=tuning.blend_weights,
        metrics=tuning.metrics | {"epochs": best.trained.best_epoch, "recipe": chosen},
        reranker=tuning.reranker,
        discounts=tuning.discounts,
        vector_share=tuning.vector_share,
        left_out=tuple(left_out),
    )


def _as_published(
    task: TrainingTask, settings: Gru4RecSettings, budget: TimeBudget, run: RunFolder, progress: TrainingProgress
) -> Learned:
    """Train GRU4Rec alone. It keeps no checkpoints: a run that goes on begins anew, with all of the time."""
    with run.phase("final training"):
        task = replace(task, deadline=time.monotonic() + budget.end - budget.started)
        published = train_gru4rec(task, settings, progress)
    missing = tuple(f"epoch {epoch} of GRU4Rec" for epoch in range(published.best_epoch + 1, settings.epochs + 1))
    return Learned(published, SHORT_MEMORY, MODEL_ONLY, {"epochs": published.best_epoch}, left_out=missing)


def _tried(
    choice: TrainingTask, recipes: Sequence[Recipe], trainer: Trainer, journal: Journal, progress: TrainingProgress
) -> Sequence[Tried]:
    """Try recipes in the time there is; a run that goes on takes those that were tried, however late it has become."""
    n_before = journal.once("recipes tried", int, lambda: 0)
    if n_before:
        return try_recipes(replace(choice, deadline=math.inf), recipes[:n_before], trainer, progress)
    tried = try_recipes(choice, recipes, trainer, progress)
    journal.note("recipes tried", len(tried))
    return tried
