"""Recipes of training by name: what is tried on the validation slice, and how much of it; loads no TensorFlow."""

from dataclasses import dataclass

from session_model.networks.settings import (
    GRU4REC,
    AttentionSettings,
    Gru4RecSettings,
    GruSettings,
    NetworkSettings,
    TrainingSettings,
)


@dataclass(frozen=True, slots=True)
class GruRecipe:
    """One way to shape and train the GRU. The fields of a recipe are the tables of its file."""

    gru: GruSettings
    training: TrainingSettings

    @property
    def network(self) -> NetworkSettings:
        """The shape."""
        return self.gru


@dataclass(frozen=True, slots=True)
class AttentionRecipe:
    """One way to shape and train the network of self-attention."""

    attention: AttentionSettings
    training: TrainingSettings

    @property
    def network(self) -> NetworkSettings:
        """The shape."""
        return self.attention


Recipe = GruRecipe | AttentionRecipe


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


EVEN_AGES = GruRecipe(GruSettings(units=256, has_attention=True), TrainingSettings(epochs=7))
"""Sessions of all ages teach alike (as in RSC15)."""
RECENT_FIRST = GruRecipe(
    GruSettings(units=256, has_attention=True, item_dropout=0.5, state_dropout=0.3),
    TrainingSettings(epochs=6, recency_decay=1.0),
)
"""Fashions pass, and there are many items for few clicks (as in Diginetica)."""

DEFAULT_RECIPES = (EVEN_AGES, RECENT_FIRST)

PRESETS = {
    "default": Preset(DEFAULT_RECIPES, knn_trials=150, knn_examples=6_000, blend_examples=30_000),
    "small": Preset(
        (
            GruRecipe(
                GruSettings(units=64, dimension=64, item_dropout=0.2, state_dropout=0.1),
                TrainingSettings(epochs=5, learning_rate=0.015, batch_targets=2048, negatives=512),
            ),
        ),
        knn_trials=20,
        knn_examples=500,
        blend_examples=1_000,
    ),
    "attention": Preset(
        (AttentionRecipe(AttentionSettings(), TrainingSettings(epochs=7)),),
        knn_trials=150,
        knn_examples=6_000,
        blend_examples=30_000,
    ),
} | {
    name: Preset((), knn_trials=0, knn_examples=0, blend_examples=0, gru4rec=settings)
    for name, settings in GRU4REC.items()
}
