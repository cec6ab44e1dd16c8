"""What the conformance file cannot reach with its fixture model; the texts of all other checks are tested there."""

from collections.abc import Mapping
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import predict_pb2

from serving.embedded.errors import MAX_MESSAGE_CHARACTERS, StatusError
from serving.embedded.predict import run_predict
from serving.embedded.servable import PREDICT_METHOD, Servable


class Echo(Servable):
    """A signature that returns its two inputs, `k` with a default of 20, and an initialiser that is no Predict."""

    def __init__(self) -> None:
        signature = meta_graph_pb2.SignatureDef(method_name=PREDICT_METHOD)
        for name in ("items", "k"):
            signature.inputs[name].dtype = signature.outputs[name].dtype = tf.int32.as_datatype_enum
        signature.defaults["k"].CopyFrom(tf.make_tensor_proto(20))
        super().__init__({"serving_default": signature, "init": meta_graph_pb2.SignatureDef()}, None)

    def call(self, signature_name: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the inputs."""
        assert signature_name == "serving_default"
        return dict(inputs)


def request(**inputs: int) -> Any:
    """Build a request with scalar inputs."""
    proto = predict_pb2.PredictRequest()
    for name, value in inputs.items():
        proto.inputs[name].CopyFrom(tf.make_tensor_proto(np.int32(value)))
    return proto


def refused(proto: Any) -> StatusError:
    """Expect the request to be refused; return how."""
    with pytest.raises(StatusError) as caught:
        run_predict(Echo(), 1, proto)
    return caught.value


@pytest.mark.parametrize(("sent", "k"), [({"items": 1}, 20), ({"items": 1, "k": 5}, 5)])
def test_a_default_stands_in_for_what_is_not_sent(sent: dict[str, int], k: int) -> None:
    """An input with a default may be left out, and what is sent goes before the default."""
    assert list(run_predict(Echo(), 1, request(**sent)).outputs["k"].int_val) == [k]


def test_an_input_without_a_default_must_be_sent() -> None:
    """The error names the input that has no default."""
    assert "Signature input alias: items" in refused(request(k=1)).message


def test_an_unknown_input_beside_a_default_is_refused() -> None:
    """A misnamed input is not hidden by the default that stood in for it."""
    assert "Inputs contains invalid name" in refused(request(items=1, kk=5)).message


def test_only_predict_signatures_run() -> None:
    """The initialiser that every SavedModel lists cannot be called."""
    proto = request(items=1)
    proto.model_spec.signature_name = "init"
    assert refused(proto).code is grpc.StatusCode.INTERNAL


def test_a_message_is_bounded() -> None:
    """A text that repeats what the client sent is cut."""
    proto = request(items=1)
    proto.model_spec.signature_name = "z" * 5000
    assert len(refused(proto).message) == MAX_MESSAGE_CHARACTERS
