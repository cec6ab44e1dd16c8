"""The oracle is TensorFlow itself: `tf.io.parse_tensor` runs `Tensor::FromProto`."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from tensorflow.core.framework import tensor_pb2, types_pb2

from serving.embedded import tensors
from serving.embedded.tensors import WIRE_TYPES, from_proto, to_proto

VALUES = {
    "float_val": st.floats(width=32),
    "double_val": st.floats(),
    "half_val": st.integers(0, 2**16 - 1),
    "int_val": st.integers(-(2**31), 2**31 - 1),
    "int64_val": st.integers(-(2**63), 2**63 - 1),
    "uint32_val": st.integers(0, 2**32 - 1),
    "uint64_val": st.integers(0, 2**64 - 1),
    "bool_val": st.booleans(),
    "string_val": st.binary(max_size=3),
}


@st.composite
def protos(draw: st.DrawFn) -> Any:
    """Draw TensorProtos, right and wrong: values short or long or in any field, content of any size, negative dims."""
    proto = tensor_pb2.TensorProto(dtype=draw(st.sampled_from(sorted(WIRE_TYPES))))
    for size in draw(st.lists(st.integers(-1, 3), max_size=3)):
        proto.tensor_shape.dim.add(size=size)
    own_field = WIRE_TYPES[proto.dtype].field.name
    field = draw(st.sampled_from([own_field, own_field, own_field, *VALUES]))
    getattr(proto, field).extend(draw(st.lists(VALUES[field], max_size=30)))
    if proto.dtype not in {types_pb2.DT_STRING, types_pb2.DT_BOOL} and draw(st.booleans()):
        proto.tensor_content = draw(st.binary(max_size=32))
    return proto


def parsed_by_tensorflow(proto: Any) -> Any:
    """Decode by TensorFlow; None where it fails."""
    try:
        return tf.io.parse_tensor(proto.SerializeToString(), proto.dtype).numpy()
    except tf.errors.InvalidArgumentError:
        return None


@given(protos())
@settings(max_examples=400)
def test_reading_agrees_with_tensorflow(proto: Any) -> None:
    """Whatever the wire says, the array is the one that TensorFlow reads, and so is the refusal."""
    expected = parsed_by_tensorflow(proto)
    if expected is None:
        with pytest.raises(ValueError, match=r"shape|content"):
            from_proto(proto)
        return
    array = from_proto(proto)
    assert array.shape == np.shape(expected)
    assert array.tolist() == np.asarray(expected).tolist() or array.tobytes() == np.asarray(expected).tobytes()


@given(
    st.sampled_from([wire.dtype for wire in WIRE_TYPES.values() if not wire.dtype.hasobject]).flatmap(
        lambda dtype: npst.arrays(dtype, npst.array_shapes(min_dims=0, min_side=0, max_side=4))
    )
)
@settings(max_examples=150)
def test_writing_agrees_with_tensorflow(array: Any) -> None:
    """TensorFlow reads back what is written, and it is in a value field."""
    proto = to_proto(array)
    assert not proto.tensor_content
    assert np.asarray(parsed_by_tensorflow(proto)).tobytes() == array.tobytes()


def test_strings_go_both_ways() -> None:
    """Byte strings keep their bytes."""
    array = np.array([b"\xff", b""], np.object_)
    assert from_proto(to_proto(array)).tolist() == [b"\xff", b""]


@pytest.mark.parametrize("dtype", [types_pb2.DT_INVALID, types_pb2.DT_COMPLEX64, 1000])
def test_an_unknown_type_is_refused(dtype: int) -> None:
    """A tensor without a type, or of one that is not served, is refused."""
    with pytest.raises(ValueError, match="is not served"):
        from_proto(tensor_pb2.TensorProto(dtype=dtype, int_val=[1]))


def test_a_claimed_size_is_bounded() -> None:
    """Some bytes of request cannot make the server allocate beyond the bound."""
    proto = tensor_pb2.TensorProto(dtype=types_pb2.DT_INT32, int_val=[1])
    proto.tensor_shape.dim.add(size=tensors.MAX_TENSOR_BYTES // 4 + 1)
    with pytest.raises(ValueError, match="exceeds"):
        from_proto(proto)


def test_an_unknown_rank_is_a_scalar() -> None:
    """A shape of unknown rank reads as a scalar's."""
    proto = tensor_pb2.TensorProto(dtype=types_pb2.DT_INT32, int_val=[7])
    proto.tensor_shape.unknown_rank = True
    assert from_proto(proto).shape == ()
    assert from_proto(proto) == parsed_by_tensorflow(proto) == 7
