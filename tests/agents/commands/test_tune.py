import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from agents.cli import insession
from agents.commands.train import command as train
from agents.commands.tune import command as tune
from session_model.training.recipe_files import read_recipe
from session_model.training.recipe_search import SPACES


@pytest.mark.parametrize("network", SPACES)
def test_a_recipe_is_found_and_train_takes_it(tmp_path: Path, network: str) -> None:
    """One trial writes the recipe, its figures as JSON, and the training by it names its values in the run."""
    (tmp_path / "data").write_text("a b c\nb c a\nc a b\n" * 80)
    common = [str(tmp_path / "data"), "--format", "sequences", "--out", str(tmp_path)]
    result = CliRunner().invoke(insession, ["tune", *common, "--network", network, "--trials", "1", "--json"])
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert summary["best_trial"] == 1
    recipe = read_recipe(Path(summary["recipe"]))
    result = CliRunner().invoke(train, [*common, "--preset", "small", "--epochs", "1", "--recipe", summary["recipe"]])
    assert result.exit_code == 0, result.output
    config = json.loads((tmp_path / "runs" / "2" / "config.json").read_text())
    assert config["preset"]["recipes"][0][network]["dimension"] == recipe.network.dimension


def test_every_network_that_can_be_searched_is_offered() -> None:
    """Its names are written in the command, which loads no Optuna for its help."""
    (option,) = [option for option in tune.params if option.name == "network"]
    assert isinstance(option.type, click.Choice)
    assert list(option.type.choices) == list(SPACES)


def test_help_shows_an_example_and_loads_neither_tensorflow_nor_optuna() -> None:
    """Help comes at once."""
    code = (
        "import sys; from click.testing import CliRunner; from agents.commands.tune import command\n"
        "print(CliRunner().invoke(command, ['--help']).output)\n"
        "assert not {'tensorflow', 'optuna'} & set(sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "insession tune clicks.jsonl.gz" in shown.stdout
