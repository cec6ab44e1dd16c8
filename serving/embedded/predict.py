"""Predict on one loaded version: TensorFlow Serving's checks, in its order and with its texts.

Source: servables/tensorflow/predict_util.cc, and cc/saved_model/util.cc of TensorFlow.
"""

from collections.abc import Collection, Iterable
from typing import Any

import grpc
from numpy.typing import NDArray
from tensorflow_serving.apis import predict_pb2

from schemas.servable import DEFAULT_SIGNATURE
from serving.embedded.errors import StatusError, invalid_argument
from serving.embedded.servable import PREDICT_METHOD, Servable
from serving.embedded.tensors import WIRE_TYPES, from_proto, to_proto


def run_predict(servable: Servable, version: int, request: Any) -> Any:
    """Answer a PredictRequest. Raises StatusError."""
    signature_name = request.model_spec.signature_name or DEFAULT_SIGNATURE
    signature = _find_signature(servable, signature_name)
    inputs = _read_inputs(signature, request.inputs)
    aliases = _chosen_outputs(signature, request.output_filter)
    _check_dtypes(signature, request.inputs)
    outputs = servable.call(signature_name, inputs)
    response = predict_pb2.PredictResponse()
    response.model_spec.name = request.model_spec.name
    response.model_spec.version.value = version
    response.model_spec.signature_name = signature_name
    for alias in aliases:
        response.outputs[alias].CopyFrom(to_proto(outputs[alias]))
    return response


def _find_signature(servable: Servable, name: str) -> Any:
    signature = servable.signature_defs.get(name)
    if signature is None:
        raise StatusError(grpc.StatusCode.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
    if signature.method_name != PREDICT_METHOD:
        message = f"Expected prediction signature method_name to be {PREDICT_METHOD}. Was: {signature.method_name}"
        raise StatusError(grpc.StatusCode.INTERNAL, message)
    return signature


def _read_inputs(signature: Any, sent: Any) -> dict[str, NDArray[Any]]:
    required = set(signature.inputs)
    too_few = len(sent) < len(required) and not signature.defaults
    if len(sent) > len(required) or too_few:
        raise invalid_argument(
            f"input size does not match signature: {len(sent)}!={len(required)} "
            f"len({{{_joined(sent)}}}) != len({{{_joined(required)}}}). "
            f"Sent extra: {{{_joined(set(sent) - required)}}}. "
            f"Missing but required: {{{_joined(required - set(sent))}}}."
        )
    inputs = {alias: _read_input(signature, sent, alias) for alias in sorted(required)}
    if not required.issuperset(sent):
        used = _joined(required.intersection(sent))
        message = f"Inputs contains invalid name. Used request inputs: {used}, request input: {_joined(sent)}"
        raise invalid_argument(message)
    return inputs


def _read_input(signature: Any, sent: Any, alias: str) -> NDArray[Any]:
    if alias not in sent and alias not in signature.defaults:
        raise invalid_argument(
            f"Signature input alias: {alias}(feed name: {signature.inputs[alias].name}) not found in request and no "
            f"default value provided. Inputs expected to be in the request {{{_joined(sent)}}}, or default input "
            f"alias set: {_joined(signature.defaults)}"
        )
    try:
        return from_proto(sent[alias] if alias in sent else signature.defaults[alias])
    except ValueError as error:
        raise invalid_argument(f"tensor parsing error: {alias} ({error})") from None


def _chosen_outputs(signature: Any, output_filter: Collection[str]) -> list[str]:
    chosen: list[str] = []
    for alias in output_filter:
        if alias not in signature.outputs:
            raise invalid_argument(
                f"output tensor alias not found in signature: {alias} "
                f"Outputs expected to be in the set {{{_joined(signature.outputs)}}}."
            )
        if alias in chosen:
            raise invalid_argument(f"duplicate output tensor alias: {alias}")
        chosen.append(alias)
    return chosen or sorted(signature.outputs)


def _check_dtypes(signature: Any, sent: Any) -> None:
    # Not left to the session, which refuses it in its own words, not in those of TensorFlow Serving.
    for position, alias in enumerate(sorted(signature.inputs)):
        expected = signature.inputs[alias].dtype
        if alias in sent and sent[alias].dtype != expected:
            given = WIRE_TYPES[sent[alias].dtype].name
            message = f"Expects arg[{position}] to be {WIRE_TYPES[expected].name} but {given} is provided"
            raise invalid_argument(f"{message} ({alias})")


def _joined(names: Iterable[str]) -> str:
    return ",".join(sorted(names))
