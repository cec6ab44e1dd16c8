import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from agents.commands.train import _request, command
from session_model.gru4rec import GRU4REC
from session_model.presets import PRESETS
from session_model.release import load_release

DATA = {
    "sequences": "a b c\nb c a\nc a b\n" * 20,
    "session-rec": "SessionId\tItemId\tTime\n" + "".join(f"{i // 3}\t{i % 4}\t{i}\n" for i in range(120)),
}


@pytest.mark.parametrize("data_format", DATA)
def test_a_file_becomes_a_release_without_further_flags(tmp_path: Path, data_format: str) -> None:
    """The command trains, publishes and writes what it did as JSON."""
    (tmp_path / "data").write_text(DATA[data_format])
    arguments = [
        tmp_path / "data",
        "--format",
        data_format,
        "--out",
        tmp_path / "models",
        "--json",
        tmp_path / "o.json",
    ]
    result = CliRunner().invoke(command, [*map(str, arguments), "--preset", "small", "--epochs", "1"])
    assert result.exit_code == 0, result.output
    summary = json.loads((tmp_path / "o.json").read_text())
    assert load_release(Path(summary["directory"])).version == summary["version"] == 1
    assert [epoch["epoch"] for epoch in summary["epochs"]] == [1]


def test_every_preset_can_be_chosen() -> None:
    """The names are spelled out in the command, since reading the presets loads TensorFlow."""
    (choice,) = (parameter.type for parameter in command.params if parameter.name == "preset")
    assert set(choice.choices) == set(PRESETS)  # type: ignore[attr-defined]


def test_gru4rec_takes_the_seed_and_the_epochs_too() -> None:
    """What is not given stays as published."""
    options = {"data": Path("data"), "data_format": "sequences", "models_dir": Path("models"), "time_budget": None}
    given = _request(preset="gru4rec-rsc15", epochs=3, seed=9, input_events=("view",), **options)
    plain = _request(preset="gru4rec-rsc15", epochs=None, seed=1, input_events=("view",), **options)
    assert given.preset.gru4rec == replace(GRU4REC["gru4rec-rsc15"], epochs=3, seed=9)
    assert plain.preset.gru4rec == GRU4REC["gru4rec-rsc15"]


def test_wrong_usage_ends_with_code_2(tmp_path: Path) -> None:
    """A file that is not there and a format that is none are named."""
    missing = CliRunner().invoke(command, [str(tmp_path / "none"), "--format", "sequences", "--out", str(tmp_path)])
    assert (missing.exit_code, "none" in missing.output) == (2, True)
    unknown = CliRunner().invoke(command, [__file__, "--format", "csv", "--out", str(tmp_path)])
    assert (unknown.exit_code, "csv" in unknown.output) == (2, True)


def test_help_shows_an_example_and_does_not_load_tensorflow() -> None:
    """Help comes at once."""
    code = (
        "import sys; from click.testing import CliRunner; from agents.commands.train import command\n"
        "print(CliRunner().invoke(command, ['--help']).output); assert 'tensorflow' not in sys.modules"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "insession train clicks.jsonl.gz" in shown.stdout
