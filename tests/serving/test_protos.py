import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from schemas.servable import SIGNATURE
from serving.protos import insession_predict_pb2 as pb
from serving.tensors import to_array, to_proto

ROOT = Path(__file__).parents[2]
PROTO = "serving/protos/insession_predict.proto"


@pytest.fixture(scope="module")
def official() -> SimpleNamespace:
    """Import TensorFlow Serving's own messages, by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("tensorflow_serving", reason="needs the extra `model`")
        from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2, types_pb2
        from tensorflow_serving.apis import get_model_status_pb2, model_pb2, predict_pb2
    return SimpleNamespace(
        DataType=types_pb2.DataType,
        TensorShapeProto=tensor_shape_pb2.TensorShapeProto,
        TensorProto=tensor_pb2.TensorProto,
        ModelSpec=model_pb2.ModelSpec,
        PredictRequest=predict_pb2.PredictRequest,
        PredictResponse=predict_pb2.PredictResponse,
        GetModelStatusRequest=get_model_status_pb2.GetModelStatusRequest,
        ModelVersionStatus=get_model_status_pb2.ModelVersionStatus,
        GetModelStatusResponse=get_model_status_pb2.GetModelStatusResponse,
    )


needs_official = pytest.mark.slow  # TensorFlow Serving's messages import all of TensorFlow
MESSAGES = sorted(pb.DESCRIPTOR.message_types_by_name)


def test_generated_code_is_what_the_proto_says(tmp_path: Path) -> None:
    """Generating the messages again gives the files that are committed.

    In a process of its own: the generator brings another protobuf than TensorFlow, and both in one process crash.
    """
    arguments = [f"--proto_path={ROOT}", f"--python_out={tmp_path}", f"--pyi_out={tmp_path}", str(ROOT / PROTO)]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *arguments], check=True)
    for name in ("insession_predict_pb2.py", "insession_predict_pb2.pyi"):
        assert (tmp_path / "serving/protos" / name).read_text() == (ROOT / "serving/protos" / name).read_text()


@needs_official
@pytest.mark.parametrize("name", MESSAGES)
def test_every_field_is_the_official_one(official: SimpleNamespace, name: str) -> None:
    """Name, number, type and cardinality of each field are TensorFlow Serving's."""
    assert _fields(getattr(pb, name).DESCRIPTOR) <= _fields(getattr(official, name).DESCRIPTOR)


@needs_official
def test_every_enum_value_is_the_official_one(official: SimpleNamespace) -> None:
    """Data types and states have TensorFlow Serving's numbers."""
    assert set(pb.DataType.items()) <= set(official.DataType.items())
    assert set(pb.ModelVersionStatus.State.items()) == set(official.ModelVersionStatus.State.items())


@needs_official
def test_a_request_has_the_official_bytes(official: SimpleNamespace) -> None:
    """The same request serialises to the same bytes with both sets of messages."""
    ours, theirs = (_request(messages) for messages in (vars(pb), vars(official)))
    assert ours.SerializeToString(deterministic=True) == theirs.SerializeToString(deterministic=True)
    assert pb.PredictRequest.FromString(theirs.SerializeToString()) == ours


@needs_official
def test_a_response_is_read_from_official_bytes(official: SimpleNamespace) -> None:
    """What TensorFlow writes, as `*_val` or as tensor_content, is read to the same arrays."""
    import tensorflow as tf

    scores = np.array([[0.5, 0.25], [1.0, -1.0]], np.float32)
    items = np.array([[3, 1], [2, 9]], np.int32)
    for array in (scores, items):
        written = tf.make_tensor_proto(array)
        assert written.tensor_content
        as_values = official.TensorProto(dtype=written.dtype, tensor_shape=written.tensor_shape)
        (as_values.float_val if array is scores else as_values.int_val).extend(array.flatten().tolist())
        for tensor in (written, as_values):
            response = official.PredictResponse()
            response.outputs["x"].CopyFrom(tensor)
            read = pb.PredictResponse.FromString(response.SerializeToString()).outputs["x"]
            np.testing.assert_array_equal(to_array(read), array, strict=True)
        np.testing.assert_array_equal(
            tf.make_ndarray(official.TensorProto.FromString(to_proto(array).SerializeToString())), array, strict=True
        )


def _fields(descriptor: Any) -> set[tuple[Any, ...]]:
    """Flatten a message and the messages nested in it to comparable facts."""
    facts: set[tuple[Any, ...]] = set()
    for field in descriptor.fields:
        oneof = None if field.containing_oneof is None else field.containing_oneof.name
        kind = field.message_type or field.enum_type
        of_kind = None if kind is None else kind.name
        facts.add(
            (descriptor.name, field.name, field.number, field.type, field.is_repeated, field.is_packed, oneof, of_kind)
        )
    return facts.union(*(_fields(nested) for nested in descriptor.nested_types))


def _request(messages: dict[str, Any]) -> Any:
    request = messages["PredictRequest"]()
    request.model_spec.name = "session_gru"
    request.model_spec.version.value = 7
    request.model_spec.signature_name = SIGNATURE
    for name, array in (
        ("items", np.array([[1, 2, 0], [4, 5, 6]], np.int32)),
        ("features", np.array([[0.5], [2.0]], np.float32)),
    ):
        tensor = messages["TensorProto"].FromString(to_proto(array).SerializeToString())
        request.inputs[name].CopyFrom(tensor)
    return request
