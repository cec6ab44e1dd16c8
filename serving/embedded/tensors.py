"""Tensors on the wire by TensorFlow's own rules: `Tensor::FromProto` in, `Tensor::AsProtoField` out.

Not read: complex, quantised and 8-bit float types, and strings in `tensor_content`. No model of this project has them.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tensorflow.core.framework import tensor_pb2, types_pb2

MAX_TENSOR_BYTES = 1 << 28
"""A few bytes of request can claim any shape; beyond this the claim is refused rather than allocated."""
MAX_RANK = 254


class _Field(NamedTuple):
    """A repeated field of TensorProto and the type of its values."""

    name: str
    dtype: Any


_INT = _Field("int_val", np.int32)
_HALF = _Field("half_val", np.int32)


@dataclass(frozen=True, slots=True)
class WireType:
    """A tensor type: `name` as in TensorFlow's messages, NumPy's dtype, and the field that carries values."""

    name: str
    dtype: np.dtype[Any]
    field: _Field


def _wire(name: str, dtype: Any, field: _Field) -> WireType:
    return WireType(name, np.dtype(dtype), field)


WIRE_TYPES: dict[int, WireType] = {
    types_pb2.DT_FLOAT: _wire("float", np.float32, _Field("float_val", np.float32)),
    types_pb2.DT_DOUBLE: _wire("double", np.float64, _Field("double_val", np.float64)),
    types_pb2.DT_HALF: _wire("half", np.float16, _HALF),
    types_pb2.DT_INT8: _wire("int8", np.int8, _INT),
    types_pb2.DT_INT16: _wire("int16", np.int16, _INT),
    types_pb2.DT_INT32: _wire("int32", np.int32, _INT),
    types_pb2.DT_INT64: _wire("int64", np.int64, _Field("int64_val", np.int64)),
    types_pb2.DT_UINT8: _wire("uint8", np.uint8, _INT),
    types_pb2.DT_UINT16: _wire("uint16", np.uint16, _INT),
    types_pb2.DT_UINT32: _wire("uint32", np.uint32, _Field("uint32_val", np.uint32)),
    types_pb2.DT_UINT64: _wire("uint64", np.uint64, _Field("uint64_val", np.uint64)),
    types_pb2.DT_BOOL: _wire("bool", np.bool_, _Field("bool_val", np.bool_)),
    types_pb2.DT_STRING: _wire("string", np.object_, _Field("string_val", np.object_)),
}
_BY_DTYPE = {wire.dtype: number for number, wire in WIRE_TYPES.items()}


def from_proto(proto: Any) -> NDArray[Any]:
    """Decode a TensorProto.

    A shape that is absent or of unknown rank is a scalar's. `tensor_content` must have the exact size; without it a
    short value field repeats its last value, an empty one (or values in another type's field) reads as zeros, and
    surplus values are ignored.

    Raises ValueError where `Tensor::FromProto` fails: no type, a negative dimension, content of the wrong size.
    """
    wire = WIRE_TYPES.get(proto.dtype)
    if wire is None:
        raise ValueError(f"tensor type {proto.dtype} is not served")
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    if len(shape) > MAX_RANK or min(shape, default=0) < 0:
        raise ValueError(f"{list(shape)} is no shape")
    count = math.prod(shape)
    if count * wire.dtype.itemsize > MAX_TENSOR_BYTES:
        raise ValueError(f"a tensor of shape {list(shape)} exceeds {MAX_TENSOR_BYTES} bytes")
    if count and proto.tensor_content:
        return _from_content(proto.tensor_content, wire, count).reshape(shape)
    return _from_values(getattr(proto, wire.field.name), wire, count).reshape(shape)


def _from_content(content: bytes, wire: WireType, count: int) -> NDArray[Any]:
    if wire.dtype.hasobject or len(content) != count * wire.dtype.itemsize:
        raise ValueError(f"{len(content)} bytes of content for {count} values of {wire.name}")
    return np.frombuffer(content, wire.dtype)


def _from_values(values: Any, wire: WireType, count: int) -> NDArray[Any]:
    if not values:
        return np.full(count, b"" if wire.dtype.hasobject else 0, wire.dtype)
    head = np.array(values[:count], wire.field.dtype)
    if wire.field is _HALF:  # values are bit patterns
        head = head.astype(np.uint16).view(np.float16)
    head = head.astype(wire.dtype, copy=False)
    return np.concatenate([head, np.repeat(head[-1:], count - len(head))]) if len(head) < count else head


def to_proto(array: NDArray[Any]) -> Any:
    """Encode an array as a TensorProto with a value field, as TensorFlow Serving answers by default."""
    proto = tensor_pb2.TensorProto(dtype=_BY_DTYPE[array.dtype])
    wire = WIRE_TYPES[proto.dtype]
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    flat = array.ravel()
    if wire.field is _HALF:
        flat = flat.view(np.uint16)
    getattr(proto, wire.field.name).extend(flat.tolist())
    return proto
