"""The choice among recipes: each is trained without the validation slice and judged on it."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from session_model.networks.trainer import Trainer
from session_model.networks.training_task import TrainedNetwork, TrainingTask
from session_model.runs.progress import TrainingProgress
from session_model.training.presets import Recipe


class Tried(NamedTuple):
    """A recipe, and the model it gave without the validation slice."""

    recipe: Recipe
    trained: TrainedNetwork

    @property
    def seconds(self) -> float:
        """What its best epochs took."""
        return sum(report.seconds for report in self.trained.reports[: self.trained.best_epoch])

    @property
    def is_shortened(self) -> bool:
        """Return whether there was no time for all epochs of the recipe."""
        return self.trained.planned_epochs < self.recipe.training.epochs

    @property
    def gain(self) -> float:
        """Recall@20 + MRR@20 on the validation slice."""
        return self.trained.reports[self.trained.best_epoch - 1].gain


def try_recipes(
    choice: TrainingTask, recipes: Sequence[Recipe], trainer: Trainer, progress: TrainingProgress
) -> list[Tried]:
    """Train by each recipe, in equal shares of the time until the deadline; what one leaves is the next one's."""
    tried = list[Tried]()
    for place, recipe in enumerate(recipes):
        now = time.monotonic()
        if tried and now >= choice.deadline:
            break
        share = (choice.deadline - now) / (len(recipes) - place)
        task = replace(choice, deadline=now + share, phase=f"recipe {place + 1} of {len(recipes)}")
        tried.append(Tried(recipe, trainer.train(task, recipe.network, recipe.training, progress)))
    return tried
