"""A model for what is fed: trained once for the same data, by the same `insession train` that anyone would run."""

import importlib.util
from pathlib import Path
from typing import Final

from rich.console import Console

from agents.demo.processes import started
from agents.demo.source import TrainingPart
from agents.progress_bar import counted_progress
from schemas import wire
from schemas.errors import InsessionError
from schemas.release_folder import ReleaseError
from schemas.servable import DEFAULT_MODEL_NAME
from session_model.release.copies import load_release
from session_model.release.files import newest_release
from session_model.release.release import Release

TIME_BUDGET_SECONDS: Final = 90
_NEEDED: Final = ("tensorflow", "tensorflow_serving", "sklearn")


def require_model_extra() -> None:
    """Raise InsessionError where what trains and serves the model is not installed."""
    if any(importlib.util.find_spec(name) is None for name in _NEEDED):
        raise InsessionError(
            "the demo trains and serves a model with what is not installed, TensorFlow or scikit-learn: "
            "pip install 'insession[model]'"
        )


def model_for(part: TrainingPart, run_dir: Path, console: Console) -> tuple[Path, Release]:
    """Return the models directory for `part` and its newest release; train where there is none that can be used."""
    models = run_dir / "models" / part.key
    try:
        return models, load_release(newest_release(models / DEFAULT_MODEL_NAME))
    except ReleaseError:
        data = _write_data(part, run_dir / "training", console)
        _train(data, models, _write_catalog(part, data))
    return models, load_release(newest_release(models / DEFAULT_MODEL_NAME))


def _write_data(part: TrainingPart, folder: Path, console: Console) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / f"{part.key}.jsonl.gz"
    with counted_progress(console) as progress:
        task = progress.add_task("writing training data", total=part.n_events)
        part.write(data, lambda written: progress.update(task, completed=written))
    return data


def _write_catalog(part: TrainingPart, data: Path) -> list[str]:
    """Write the catalog beside `data`; returns the options of training that name it."""
    if not part.catalog:
        return []
    path = data.with_name(f"{part.key}.catalog.jsonl")
    path.write_bytes(b"".join(wire.encode(item) + b"\n" for item in part.catalog))
    return ["--catalog", str(path)]


def _train(data: Path, models: Path, catalog: list[str]) -> None:
    arguments = ["train", str(data), "--format", "jsonl", "--out", str(models), "--preset", "small", *catalog]
    with started([*arguments, "--time-budget", str(TIME_BUDGET_SECONDS)]) as child:
        exit_code = child.wait()
    if exit_code:
        raise InsessionError(
            f"training on {data} ended with exit code {exit_code} (its reason is above); mend that, or bring a model "
            "with --models"
        )
