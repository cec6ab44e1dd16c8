"""The releases behind the measured model: trained once on the generated shop, and kept."""

import subprocess
import sys
from pathlib import Path

from agents.shop.settings import ShopSettings
from agents.shop.training_data import write_training_data
from schemas.errors import InsessionError
from schemas.release_folder import ReleaseError
from schemas.servable import DEFAULT_MODEL_NAME, version_directories
from session_model.release.copies import load_release
from session_model.release.files import newest_release

TRAINING_EVENTS = 60_000
EPOCHS = 2


def trained_models(cache: Path) -> Path:
    """Return the models folder in `cache`; train into it where it holds no release that loads."""
    models = cache / "models"
    try:
        load_release(newest_release(models / DEFAULT_MODEL_NAME))
    except ReleaseError:
        _train(cache, models, seed=1)
    return models


def trained_releases(cache: Path, number: int) -> list[Path]:
    """Return so many releases in `cache`, the oldest first; train those that are missing, each by another seed."""
    folder = trained_models(cache) / DEFAULT_MODEL_NAME
    while len(found := sorted(version_directories(folder).items())) < number:
        _train(cache, folder.parent, seed=len(found) + 1)
    return [path for _, path in found[:number]]


def _train(cache: Path, models: Path, seed: int) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    data = cache / "training.jsonl.gz"
    write_training_data(ShopSettings(), data, TRAINING_EVENTS)
    executable = Path(sys.executable).with_name("insession")
    arguments = ["train", str(data), "--format=jsonl", f"--out={models}", "--preset=small", f"--epochs={EPOCHS}"]
    run = subprocess.run([executable, *arguments, f"--seed={seed}"], check=False)
    if run.returncode:
        raise InsessionError(f"training on {data} ended with exit code {run.returncode}; its reason is above")
