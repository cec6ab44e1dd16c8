"""A SavedModel in memory, with its signatures callable."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from tensorflow.core.protobuf import saved_model_pb2

from serving.embedded.errors import StatusError, invalid_argument
from serving.embedded.tensors import WIRE_TYPES

PREDICT_METHOD = "tensorflow/serving/predict"
SERVE_TAGS = {"serve"}
_STATUS_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}


class Servable:
    """One loaded SavedModel. Calls may run at the same time; memory goes with the last reference."""

    def __init__(self, signature_defs: Mapping[str, Any], model: Any) -> None:
        self.signature_defs = signature_defs
        self._model = model  # owns the variables that the functions read

    def call(self, signature_name: str, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run one signature; dtypes must be the signature's, shapes are the graph's own affair.

        Raises StatusError with the code of the op that failed.
        """
        function = self._model.signatures[signature_name]
        try:
            outputs = function(**{name: tf.constant(array) for name, array in inputs.items()})
        except tf.errors.OpError as error:
            raise StatusError(_STATUS_BY_NUMBER[error.error_code], error.message) from None
        except (TypeError, ValueError) as error:
            raise invalid_argument(str(error)) from None
        return {name: np.asarray(tensor.numpy()) for name, tensor in outputs.items()}


def load_servable(path: Path) -> Servable:
    """Load the SavedModel in `path`. Raises StatusError that says what is wrong with it."""
    try:
        saved_model = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
        signature_defs = _signature_defs(saved_model, path)
        return Servable(signature_defs, tf.saved_model.load(str(path), tags=sorted(SERVE_TAGS)))
    except tf.errors.OpError as error:
        raise StatusError(_STATUS_BY_NUMBER[error.error_code], error.message) from error
    except FileNotFoundError as error:
        raise StatusError(
            grpc.StatusCode.NOT_FOUND, f"Could not find SavedModel .pb at supplied path: {path}"
        ) from error
    except (DecodeError, OSError, ValueError, KeyError) as error:
        raise StatusError(grpc.StatusCode.DATA_LOSS, f"cannot load the SavedModel in {path}: {error}") from error


def _signature_defs(saved_model: Any, path: Path) -> dict[str, Any]:
    for meta_graph in saved_model.meta_graphs:
        if set(meta_graph.meta_info_def.tags) == SERVE_TAGS:
            signature_defs = dict(meta_graph.signature_def)
            break
    else:
        raise StatusError(grpc.StatusCode.NOT_FOUND, f"no MetaGraphDef with the tags {SERVE_TAGS} in {path}")
    for name, signature in signature_defs.items():
        for alias, info in [*signature.inputs.items(), *signature.outputs.items()]:
            if signature.method_name == PREDICT_METHOD and info.dtype not in WIRE_TYPES:
                message = f"signature {name} has {alias} of type {info.dtype}, which this server does not carry"
                raise StatusError(grpc.StatusCode.UNIMPLEMENTED, message)
    return signature_defs
