"""Sizes of training that suit a data set, by name."""

from dataclasses import dataclass

from session_model.gru import GruSettings
from session_model.training import TrainingSettings


@dataclass(frozen=True, slots=True)
class Preset:
    """A whole recipe. tuning_examples: validation targets on which kNN settings and blend weights are chosen."""

    gru: GruSettings
    training: TrainingSettings
    tuning_examples: int


PRESETS = {
    "small": Preset(
        GruSettings(units=64, dimension=64, item_dropout=0.2, state_dropout=0.1),
        TrainingSettings(epochs=5, learning_rate=0.015, batch_targets=2048, negatives=512),
        tuning_examples=500,
    ),
    "default": Preset(GruSettings(), TrainingSettings(), tuning_examples=2_000),
}
