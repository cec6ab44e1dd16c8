"""What MLflow is told of a training, read from the folder of its run (session_model.runs.folder)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from schemas.ids import ModelVersion
from session_model.runs.curve import CurvePoint
from session_model.runs.folder import CONFIG_FILE, CURVE_FILE, RESULT_FILE, RUNS

MAX_PARAMETER_CHARACTERS: Final = 6000
"""MLflow's bound on the value of a parameter."""


@dataclass(frozen=True, slots=True)
class TrainingLog:
    """One finished training.

    parameters: every value of the preset and what data were read, by dotted names. curve: a point an epoch.
    """

    directory: Path
    identity: str
    parameters: Mapping[str, str]
    curve: tuple[CurvePoint, ...]


class _Result(msgspec.Struct):
    version: ModelVersion
    directory: str


def training_of(release: Path, version: ModelVersion) -> TrainingLog | None:
    """Find the run that published `release` beside it, in MODELS/runs; None where it was made elsewhere."""
    runs = release.parent.parent / RUNS
    for result in sorted(runs.glob(f"*/{RESULT_FILE}"), reverse=True):
        found = msgspec.json.decode(result.read_bytes(), type=_Result)
        if found.version == version and Path(found.directory).resolve() == release.resolve():
            return _read(result.parent)
    return None


def _read(directory: Path) -> TrainingLog:
    config = msgspec.json.decode((directory / CONFIG_FILE).read_bytes(), type=dict[str, Any])
    lines = (directory / CURVE_FILE).read_bytes().splitlines()
    identity = str(config.pop("identity"))
    return TrainingLog(
        directory,
        identity,
        {name: text[:MAX_PARAMETER_CHARACTERS] for name, text in _flat(config).items()},
        tuple(msgspec.json.decode(line, type=CurvePoint) for line in lines),
    )


def _flat(values: object, prefix: str = "") -> dict[str, str]:
    """Return the leaves of nested objects and lists as texts, by their path with dots."""
    if isinstance(values, dict):
        children = values.items()
    elif isinstance(values, list) and any(isinstance(value, dict | list) for value in values):
        children = dict(enumerate(values)).items()
    else:
        return {prefix: str(values)}
    return {
        name: text
        for key, value in children
        for name, text in _flat(value, f"{prefix}.{key}" if prefix else str(key)).items()
    }
