"""What training, model server and worker agree on about a model: its name, its versions, and where its files lie."""

from pathlib import Path
from typing import Final

from schemas.ids import ModelVersion

DEFAULT_MODEL_NAME: Final = "session_gru"
"""Name under which a model server serves it, and of the folder whose children are its versions."""
SIGNATURE: Final = "recommend"
DEFAULT_SIGNATURE: Final = "serving_default"
"""What TF Serving runs where a request names no signature; in our models the same graph."""
ASSETS: Final = "assets.extra"
"""Folder of a version that TF Serving leaves alone, but for the warm-up requests in it."""
WARMUP_PATH: Final = f"{ASSETS}/tf_serving_warmup_requests"
MAX_VERSION: Final = (1 << 63) - 1
"""As TF Serving counts them: int64."""


def version_directories(folder: Path) -> dict[ModelVersion, Path]:
    """Find the versions in the folder of a model, lowest first. Raises OSError where the folder cannot be read.

    As TF Serving finds them: children whose whole name is a number, `007` too; `.tmp-8`, being written, is none.
    """
    numbers = {int(path.name): path for path in folder.iterdir() if path.name.isascii() and path.name.isdigit()}
    return {
        ModelVersion(number): path
        for number, path in sorted(numbers.items())
        if number <= MAX_VERSION and path.is_dir()
    }
