"""The signature of a release as MLflow writes one, from its manifest."""

import json
from collections.abc import Sequence
from typing import Any, Final

from schemas.ranking import IntentProbabilities
from schemas.release import ReleaseManifest

_ANY: Final = -1
"""A dimension that is free."""


def mlflow_signature(manifest: ReleaseManifest) -> dict[str, Any]:
    """Return the `signature` of an MLmodel file: the tensors of session_model.networks.export, by name."""
    n_features, n_candidates = len(manifest.feature_names), manifest.candidate_count
    inputs = [
        _tensor("items", "int32", (_ANY, _ANY)),
        _tensor("length", "int32", (_ANY,)),
        _tensor("features", "float32", (_ANY, n_features)),
    ]
    outputs = [
        _tensor("items", "int32", (_ANY, n_candidates)),
        _tensor("scores", "float32", (_ANY, n_candidates)),
        _tensor("intent", "float32", (_ANY, len(IntentProbabilities._fields))),
    ]
    return {"inputs": json.dumps(inputs), "outputs": json.dumps(outputs), "params": None}


def _tensor(name: str, dtype: str, shape: Sequence[int]) -> dict[str, Any]:
    return {"name": name, "type": "tensor", "tensor-spec": {"dtype": dtype, "shape": list(shape)}}
