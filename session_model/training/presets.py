"""Recipes of training by name: what is tried on the validation slice, and how much of it; loads no TensorFlow."""

from dataclasses import dataclass

from session_model.networks.settings import GRU4REC, Gru4RecSettings, GruSettings, TrainingSettings


@dataclass(frozen=True, slots=True)
class Recipe:
    """One way to shape and train the GRU."""

    gru: GruSettings
    training: TrainingSettings


@dataclass(frozen=True, slots=True)
class Preset:
    """What training tries.

    recipes: the best of them on the validation slice is trained on everything.
    knn_trials, knn_examples: kNN settings that are tried, and on how many validation targets.
    blend_examples: validation targets on which the blend is chosen.
    gru4rec: train this, as published, instead of all that: a baseline to compare with.
    """

    recipes: tuple[Recipe, ...]
    knn_trials: int
    knn_examples: int
    blend_examples: int
    gru4rec: Gru4RecSettings | None = None


EVEN_AGES = Recipe(GruSettings(units=256, has_attention=True), TrainingSettings(epochs=7))
"""Sessions of all ages teach alike (as in RSC15)."""
RECENT_FIRST = Recipe(
    GruSettings(units=256, has_attention=True, item_dropout=0.5, state_dropout=0.3),
    TrainingSettings(epochs=6, recency_decay=1.0),
)
"""Fashions pass, and there are many items for few clicks (as in Diginetica)."""

PRESETS = {
    "small": Preset(
        (
            Recipe(
                GruSettings(units=64, dimension=64, item_dropout=0.2, state_dropout=0.1),
                TrainingSettings(epochs=5, learning_rate=0.015, batch_targets=2048, negatives=512),
            ),
        ),
        knn_trials=20,
        knn_examples=500,
        blend_examples=1_000,
    ),
    "default": Preset((EVEN_AGES, RECENT_FIRST), knn_trials=150, knn_examples=6_000, blend_examples=30_000),
} | {
    name: Preset((), knn_trials=0, knn_examples=0, blend_examples=0, gru4rec=settings)
    for name, settings in GRU4REC.items()
}
