from pathlib import Path

import pytest

from schemas.errors import UsageError
from session_model.networks.settings import AttentionSettings, GruSettings, TrainingSettings
from session_model.training.presets import PRESETS, AttentionRecipe, GruRecipe, Recipe
from session_model.training.recipe_files import read_recipe, write_recipe

RECIPES = [recipe for preset in PRESETS.values() for recipe in preset.recipes]


@pytest.mark.parametrize("recipe", [*RECIPES, GruRecipe(GruSettings(), TrainingSettings(learning_rate=1 / 3))])
def test_a_recipe_comes_back_as_it_was_written(tmp_path: Path, recipe: Recipe) -> None:
    """All values, floats to the last bit, booleans and what is None."""
    write_recipe(tmp_path / "recipe.toml", recipe, "a comment")
    assert read_recipe(tmp_path / "recipe.toml") == recipe
    assert (tmp_path / "recipe.toml").read_text().startswith("# a comment\n")


def test_what_is_left_out_keeps_its_default(tmp_path: Path) -> None:
    """A recipe by hand names what it changes."""
    (tmp_path / "recipe.toml").write_text("[gru]\nunits = 96\n")
    assert read_recipe(tmp_path / "recipe.toml") == GruRecipe(GruSettings(units=96), TrainingSettings())
    (tmp_path / "recipe.toml").write_text("[training]\nepochs = 3\n")
    assert read_recipe(tmp_path / "recipe.toml") == GruRecipe(GruSettings(), TrainingSettings(epochs=3))


def test_the_table_names_the_network(tmp_path: Path) -> None:
    """A recipe of attention is one where that table stands, be it empty."""
    (tmp_path / "recipe.toml").write_text("[attention]\n")
    assert read_recipe(tmp_path / "recipe.toml") == AttentionRecipe(AttentionSettings(), TrainingSettings())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[gru", "cannot be read"),
        ("[model]\n", "has model; there are the tables gru, attention, training"),
        ("gru = 1\n", r"\[gru\] has 1"),
        ("[gru]\nunit = 96\n", r"\[gru\] has unit; there are units, "),
        ('[training]\nepochs = "six"\n', r"\[training\] Expected `int`, got `str` - at `\$.epochs`"),
        ("[training]\nbatch_targets = 0\n", r"\[training\] Expected `int` >= 1 - at `\$.batch_targets`"),
        ("[gru]\nitem_dropout = 1.5\n", r"\[gru\] Expected `float` < 1.0 - at `\$.item_dropout`"),
        ("[gru]\n[attention]\n", "has gru and attention; a recipe is of one network"),
        ("[attention]\nunits = 96\n", r"\[attention\] has units; there are dimension, blocks, "),
        ("[attention]\nblocks = 0\n", r"\[attention\] Expected `int` >= 1 - at `\$.blocks`"),
        ("[training]\nseed = 7\n", r"\[training\] has seed; there are "),
    ],
)
def test_a_wrong_recipe_is_wrong_usage(tmp_path: Path, content: str, message: str) -> None:
    """The file, the table and the name are told."""
    (tmp_path / "recipe.toml").write_text(content)
    with pytest.raises(UsageError, match=rf"recipe\.toml.*{message}"):
        read_recipe(tmp_path / "recipe.toml")


def test_a_missing_recipe_is_wrong_usage(tmp_path: Path) -> None:
    """It is told what writes one."""
    with pytest.raises(UsageError, match="insession tune"):
        read_recipe(tmp_path / "none.toml")
