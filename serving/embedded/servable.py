"""A SavedModel in memory, with its signatures callable."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import grpc
import tensorflow as tf
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from tensorflow.core.protobuf import config_pb2, saved_model_pb2

from serving.embedded.errors import StatusError, invalid_argument
from serving.embedded.tensors import WIRE_TYPES

PREDICT_METHOD = "tensorflow/serving/predict"
SERVE_TAGS = {"serve"}
_IN_THE_CALLING_THREAD: Final = -1  # RunOptions.inter_op_thread_pool
_STATUS_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}


class Servable:
    """One loaded SavedModel. Calls may run at the same time; memory goes with the last reference.

    As in TensorFlow Serving a session runs it, and each signature is prepared once. It runs in the thread of the call:
    a graph that reads a session has one op after the other, and handing each to a pool costs as much as the op.
    """

    def __init__(self, signature_defs: Mapping[str, Any], session: tf.compat.v1.Session) -> None:
        self.signature_defs = signature_defs
        self._session = session
        self._prepared: dict[str, Callable[..., list[NDArray[Any]]]] = {}

    def call(self, signature_name: str, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run one signature for Predict; dtypes must be the signature's, shapes are the graph's own affair.

        Raises StatusError with the code of the op that failed.
        """
        signature = self.signature_defs[signature_name]
        try:
            run = self._prepared.get(signature_name) or self._prepare(signature_name)
            outputs = run(*(inputs[alias] for alias in signature.inputs))
        except tf.errors.OpError as error:
            raise StatusError(_STATUS_BY_NUMBER[error.error_code], error.message) from None
        except (TypeError, ValueError) as error:
            raise invalid_argument(str(error)) from None
        return dict(zip(signature.outputs, outputs, strict=True))

    def _prepare(self, signature_name: str) -> Callable[..., list[NDArray[Any]]]:
        """Prepare a signature at its first call, which is one of the warm-up's where there is any."""
        signature = self.signature_defs[signature_name]
        options = config_pb2.CallableOptions(
            feed=[info.name for info in signature.inputs.values()],
            fetch=[info.name for info in signature.outputs.values()],
            run_options=config_pb2.RunOptions(inter_op_thread_pool=_IN_THE_CALLING_THREAD),
        )
        run: Callable[..., list[NDArray[Any]]]
        run = self._session._make_callable_from_options(options)  # noqa: SLF001 - `run` looks up its feeds and fetches each time
        self._prepared[signature_name] = run
        return run


def load_servable(path: Path) -> Servable:
    """Load the SavedModel in `path`. Raises StatusError that says what is wrong with it."""
    try:
        saved_model = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
        signature_defs = _signature_defs(saved_model, path)
        return Servable(signature_defs, _session(path))
    except tf.errors.OpError as error:
        raise StatusError(_STATUS_BY_NUMBER[error.error_code], error.message) from error
    except FileNotFoundError as error:
        raise StatusError(
            grpc.StatusCode.NOT_FOUND, f"Could not find SavedModel .pb at supplied path: {path}"
        ) from error
    except (DecodeError, OSError, ValueError, KeyError) as error:
        raise StatusError(grpc.StatusCode.DATA_LOSS, f"cannot load the SavedModel in {path}: {error}") from error


def _session(path: Path) -> tf.compat.v1.Session:
    """Restore the SavedModel into a session, which has the threads that the process was told to have."""
    threads = tf.config.threading.get_intra_op_parallelism_threads()
    config = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=threads)
    session = tf.compat.v1.Session(graph=tf.Graph(), config=config)
    with session.graph.as_default():
        tf.compat.v1.saved_model.loader.load(session, sorted(SERVE_TAGS), str(path))
    return session


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
