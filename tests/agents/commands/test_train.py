import json
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from agents.batch.barrier_runner import BarrierRunner
from agents.cli import insession
from agents.commands.train import _request, command
from agents.settings import Settings, load_settings
from agents.sources.local_data import LocalCatalog, LocalData
from schemas.catalog_mapping import OURS
from schemas.errors import InsessionError, UsageError
from session_model.distributed.supervisor import Supervisor
from session_model.networks.settings import GRU4REC, AttentionSettings
from session_model.networks.trainer import OneProcess
from session_model.release.copies import load_release
from session_model.training.presets import PRESETS

DATA = {
    "sequences": "a b c\nb c a\nc a b\n" * 20,
    "session-rec": "SessionId\tItemId\tTime\n"
    + "".join(f"{i // 3}\t{i % 4}\t{1_400_000_000 + i}\n" for i in range(120)),
}

OPTIONS: dict[str, Any] = {
    "data": LocalData(Path("data")),
    "data_format": "sequences",
    "models_dir": Path("models"),
    "recipe_paths": (),
    "columns": (),
    "event_types": (),
    "input_events": ("view",),
    "sign_key": None,
    "time_budget": timedelta(minutes=55),
    "catalog": LocalCatalog(None, OURS),
    "item_vectors": None,
    "is_fresh": False,
    "loading_seconds": 0.0,
    "workers": 1,
    "runner": "processes",
    "master": None,
    "max_restarts": 5,
    "start_timeout": timedelta(minutes=5),
    "checkpoint_every": timedelta(seconds=60),
}
"""What the command line gives where nothing but the data is said."""


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
    ]
    result = CliRunner().invoke(insession, ["train", *map(str, arguments), "--preset", "small", "--epochs", "1"])
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert load_release(Path(summary["directory"])).version == summary["version"] == 1
    assert [epoch["epoch"] for epoch in summary["epochs"]] == [1]
    assert summary["epochs"][0]["clicks_per_second"] > 0
    assert summary["seconds"] >= sum(summary["phase_seconds"].values()) - 1
    assert summary["clicks_per_second"] > 0
    assert [summary[name] for name in ("workers", "restarts", "seconds_lost", "bytes_per_step")] == [1, 0, 0.0, 0]
    assert f"version 1 is in {tmp_path / 'models' / 'session_gru' / '1'}" in result.output
    assert "clicks/s" in result.output


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_after_a_kill_the_same_command_goes_on(tmp_path: Path) -> None:
    """A process that SIGKILL ended after its first epoch leaves what gives the undisturbed run's figures to the bit."""
    (tmp_path / "data").write_text("a b c d\nb c a e\nc a b\n" * 100)
    command_line = ["train", str(tmp_path / "data"), "--format", "sequences", "--preset", "small", "--epochs", "3"]
    killed = [*command_line, "--out", str(tmp_path / "killed")]
    with subprocess.Popen([sys.executable, "-m", "agents", *killed], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert any(line.startswith("epoch 1:") for line in process.stderr)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    figures = {}
    for name in ("killed", "undisturbed"):
        arguments = [*command_line, "--out", str(tmp_path / name), "--json"]
        result = CliRunner().invoke(insession, arguments)
        assert result.exit_code == 0, result.output
        assert ("goes on with run 1" in result.output) == (name == "killed")
        summary = json.loads(result.stdout)
        assert [path.name for path in (tmp_path / name / "runs").iterdir()] == ["1"]
        figures[name] = (
            [(epoch["loss"], epoch["recall_at_20"], epoch["mrr_at_20"]) for epoch in summary["epochs"]],
            {name: value for name, value in summary["metrics"].items() if "second" not in name},
        )
    assert figures["killed"] == figures["undisturbed"]


def test_an_interruption_tells_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends the command with one line and the exit code of shells."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("session_model.training.train_release.train_release", interrupted)
    (tmp_path / "data").write_text("a b c\n")
    arguments = [str(tmp_path / "data"), "--format", "sequences", "--out", str(tmp_path)]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 130
    assert "the same command goes on" in result.output


def test_every_preset_can_be_chosen() -> None:
    """None can be forgotten: the names come of the presets, which load no TensorFlow."""
    (choice,) = (parameter.type for parameter in command.params if parameter.name == "preset")
    assert list(choice.choices) == list(PRESETS)  # type: ignore[attr-defined]


def test_the_network_of_a_preset_is_released(tmp_path: Path) -> None:
    """Nothing but its name is said; the run keeps the shape that was trained."""
    (tmp_path / "data").write_text(DATA["sequences"])
    arguments = [str(tmp_path / "data"), "--format", "sequences", "--out", str(tmp_path / "models")]
    result = CliRunner().invoke(command, [*arguments, "--preset", "attention", "--epochs", "1"])
    assert result.exit_code == 0, result.output
    assert load_release(tmp_path / "models" / "session_gru" / "1").manifest.max_length == AttentionSettings().max_length
    config = json.loads((tmp_path / "models" / "runs" / "1" / "config.json").read_text())
    assert config["preset"]["recipes"][0]["attention"] == msgspec.to_builtins(AttentionSettings())


def test_gru4rec_takes_the_seed_and_the_epochs_too() -> None:
    """What is not given stays as published."""
    given = _request(settings=Settings(), preset="gru4rec-rsc15", epochs=3, seed=9, **OPTIONS)
    plain = _request(settings=Settings(), preset="gru4rec-rsc15", epochs=None, seed=1, **OPTIONS)
    assert given.preset.gru4rec == replace(GRU4REC["gru4rec-rsc15"], epochs=3, seed=9)
    assert plain.preset.gru4rec == GRU4REC["gru4rec-rsc15"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"workers": 2, "preset": "gru4rec-rsc15"}, "GRU4Rec is trained as published"),
        ({"runner": "spark"}, "--workers 2 or more"),
        ({"master": "local[2]"}, "add --runner spark"),
    ],
)
def test_what_workers_cannot_do_is_refused(options: dict[str, Any], words: str) -> None:
    """With the reason and a way out."""
    with pytest.raises(UsageError, match=words):
        _request(**{"settings": Settings(), "preset": "small", "epochs": None, "seed": 1, **OPTIONS, **options})


def test_workers_are_asked_for_by_number_and_runner() -> None:
    """One worker is this process, which exchanges nothing."""
    common = {"settings": Settings(), "preset": "attention", "epochs": None, "seed": 1}
    assert isinstance(_request(**common, **OPTIONS).trainer, OneProcess)
    assert isinstance(_request(**common, **OPTIONS | {"workers": 3}).trainer, Supervisor)
    on_spark = _request(**common, **OPTIONS | {"workers": 3, "runner": "spark"}).trainer
    assert (type(on_spark), on_spark.effort.workers) == (BarrierRunner, 3)


def test_a_model_is_trained_under_its_name_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker with the same settings finds it."""
    monkeypatch.setenv("INSESSION_SERVING__MODEL_NAME", "mine")
    assert _request(settings=load_settings(), preset="small", epochs=None, seed=1, **OPTIONS).model_name == "mine"


def test_wrong_usage_ends_with_code_2(tmp_path: Path) -> None:
    """A file that is not there and a format that is none are named."""
    missing = CliRunner().invoke(command, [str(tmp_path / "none"), "--format", "sequences", "--out", str(tmp_path)])
    assert (missing.exit_code, "none" in missing.output) == (2, True)
    unknown = CliRunner().invoke(command, [__file__, "--format", "xls", "--out", str(tmp_path)])
    assert (unknown.exit_code, "xls" in unknown.output) == (2, True)


def test_item_vectors_that_do_not_do_are_told(tmp_path: Path) -> None:
    """No file of vectors and a topic are wrong usage; NaN in one is a failure."""
    (tmp_path / "data").write_text(DATA["sequences"])
    np.save(tmp_path / "looks.npy", np.full((2, 2), np.nan))
    (tmp_path / "looks.ids.txt").write_text("a\nb\n")
    arguments = ["train", str(tmp_path / "data"), "--format", "sequences", "--out", str(tmp_path / "models")]
    for given, kind, words in (
        (tmp_path / "data", UsageError, "holds no item vectors; name a .npy file with its ids"),
        ("kafka://localhost/looks", SystemExit, "is a topic; name a file, a folder or s3://BUCKET/PREFIX"),
        (
            tmp_path / "looks.npy",
            InsessionError,
            "the vector of item a holds NaN or infinity, as do 1 others; leave such items out",
        ),
    ):
        result = CliRunner().invoke(insession, [*arguments, "--item-vectors", str(given)])
        assert type(result.exception) is kind
        assert words in " ".join(f"{result.exception} {result.output}".split())


def test_help_shows_an_example_and_does_not_load_tensorflow() -> None:
    """Help comes at once."""
    code = (
        "import sys; from click.testing import CliRunner; from agents.commands.train import command\n"
        "print(CliRunner().invoke(command, ['--help']).output); assert 'tensorflow' not in sys.modules"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "insession train clicks.jsonl.gz" in shown.stdout
