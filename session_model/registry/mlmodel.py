"""The MLmodel file of a release: what MLflow knows of it, and by which code it loads it."""

import json
import platform
from typing import Any, Final

from schemas.release import ReleaseManifest

MODEL_FOLDER: Final = "model"
"""Artefact folder of a run: the MLmodel file, and the release in `release/`."""
RELEASE_FOLDER: Final = "release"
LOADER: Final = "agents.inference.pyfunc"
"""What `mlflow.pyfunc.load_model` imports; it stands on rooms that this one may not."""


def mlmodel(manifest: ReleaseManifest, run_id: str) -> dict[str, Any]:
    """Return what an MLmodel file says: YAML holds JSON."""
    return {
        "artifact_path": MODEL_FOLDER,
        "flavors": {
            "insession": {"data": RELEASE_FOLDER, "version": int(manifest.version)},
            "python_function": {
                "data": RELEASE_FOLDER,
                "loader_module": LOADER,
                "python_version": platform.python_version(),
            },
        },
        "run_id": run_id,
        "signature": _SIGNATURE,
        "utc_time_created": f"{manifest.created_at:%Y-%m-%d %H:%M:%S.%f}",
    }


def _column(name: str, kind: str, *, is_required: bool = True) -> dict[str, Any]:
    return {"name": name, "type": "array", "items": {"type": kind}, "required": is_required}


_SIGNATURE: Final = {
    "inputs": json.dumps([_column("items", "string"), _column("bought", "string", is_required=False)]),
    "outputs": json.dumps([_column("items", "string"), _column("scores", "double")]),
    "params": None,
}
"""Of `LOADER`; the SavedModel has its own."""
