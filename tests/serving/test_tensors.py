from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from schemas.ranking import IntentProbabilities, ModelInput
from serving.errors import BadRequestError, BadResponseError
from serving.protos import insession_predict_pb2 as pb
from serving.tensors import MAX_CANDIDATES, FixedShape, decode_outputs, encode_inputs, to_array, to_proto


def row(*items: int, features: Sequence[float] = (0.5, 1.5)) -> ModelInput:
    """Return a row."""
    return ModelInput(np.array(items, np.int32), np.array(features, np.float32))


def outputs(items: Any, scores: Any, intent: Any) -> dict[str, pb.TensorProto]:
    """Return the outputs of a response."""
    return {
        "items": to_proto(np.array(items, np.int32)),
        "scores": to_proto(np.array(scores, np.float32)),
        "intent": to_proto(np.array(intent, np.float32)),
    }


INTENT = to_proto(np.array([[0.5, 0, 0]], np.float32))


def reading(vectors: Any, returns: Any) -> dict[str, pb.TensorProto]:
    """Return the outputs of a response by a model whose catalogue is searched."""
    both = {"vectors": vectors, "returns": returns}
    return {"intent": INTENT} | {name: to_proto(np.array(array, np.float32)) for name, array in both.items()}


def values(dtype: int, shape: Sequence[int], **fields: Any) -> pb.TensorProto:
    """Return a tensor as somebody else would write it."""
    tensor = pb.TensorProto(dtype=dtype, **fields)  # type: ignore[arg-type]
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)
    return tensor


def test_rows_are_padded_to_the_longest() -> None:
    """Items are padded with 0 at the end, and the lengths say where."""
    encoded = encode_inputs([row(1, 2, 3), row(4)], None)
    np.testing.assert_array_equal(to_array(encoded["items"]), np.array([[1, 2, 3], [4, 0, 0]], np.int32), strict=True)
    assert np.frombuffer(encoded["length"].tensor_content, "<i4").tolist() == [3, 1]
    assert [dim.size for dim in encoded["length"].tensor_shape.dim] == [2]
    np.testing.assert_array_equal(to_array(encoded["features"]), np.full((2, 2), [0.5, 1.5], np.float32), strict=True)


def test_a_fixed_shape_repeats_the_first_row() -> None:
    """Rows are added up to the shape, and they are valid ones."""
    encoded = encode_inputs([row(1, 2), row(4)], FixedShape(rows=3, length=4))
    assert to_array(encoded["items"]).tolist() == [[1, 2, 0, 0], [4, 0, 0, 0], [1, 2, 0, 0]]
    assert np.frombuffer(encoded["length"].tensor_content, "<i4").tolist() == [2, 1, 2]
    assert to_array(encoded["features"]).shape == (3, 2)


@pytest.mark.parametrize(
    ("batch", "shape"),
    [
        ([], None),
        ([row()], None),
        ([row(1), row()], None),
        ([row(1), row(2)], FixedShape(rows=1, length=4)),
        ([row(1, 2, 3)], FixedShape(rows=1, length=2)),
    ],
)
def test_rows_that_fit_nowhere_are_refused(batch: list[ModelInput], shape: FixedShape | None) -> None:
    """No row, an empty row, too many rows or too long a row: the message says how long the rows are."""
    with pytest.raises(BadRequestError, match="do not fit"):
        encode_inputs(batch, shape)


def test_rows_of_different_features_are_refused() -> None:
    """Rows of two releases in one batch are a mistake, not a matrix."""
    with pytest.raises(BadRequestError, match="features"):
        encode_inputs([row(1), row(2, features=[1.0])], None)


def test_an_answer_is_split_into_rows() -> None:
    """Each row has its candidates and its three probabilities; NaN means that one is not known."""
    answer = outputs([[7, 8], [9, 3]], [[0.75, 0.5], [2, 1]], [[0.25, 0.5, 0.75], [np.nan, 0.125, np.nan]])
    first, second = decode_outputs(answer, [row(1), row(2)], answered_rows=2)
    assert first.candidates.item_indices.tolist() == [7, 8]
    assert first.candidates.scores.tolist() == [0.75, 0.5]
    assert first.intent == IntentProbabilities(purchase=0.25, leave=0.5, cart_abandonment=0.75)
    assert second.candidates.item_indices.tolist() == [9, 3]
    assert second.intent == IntentProbabilities(purchase=None, leave=0.125, cart_abandonment=None)


def test_a_reading_comes_in_place_of_candidates() -> None:
    """As longer rows of the batch made it, which says nothing of this one's places."""
    (output,) = decode_outputs(reading([[0.5, 1]], [[0.25, 0.125, 0]]), [row(1, 2)], answered_rows=1)
    assert output.reading is not None
    assert (output.reading.vector.tolist(), output.reading.returns.tolist()) == ([0.5, 1], [0.25, 0.125, 0])
    assert (len(output.candidates), output.intent.purchase) == (0, 0.5)


def test_padding_rows_are_dropped() -> None:
    """Of a fixed batch only the rows asked for come back."""
    answer = outputs([[7], [7], [7]], [[1], [1], [1]], [[0, 0, 0]] * 3)
    assert len(decode_outputs(answer, [row(1)], answered_rows=3)) == 1


def test_candidates_are_clean_and_ties_go_by_index() -> None:
    """Index 0 and scores that cannot be ranked are dropped; equal scores are ordered by ItemIndex."""
    answer = outputs([[9, 4, 0, 6, 2]], [[0.5, 0.5, 0.4, np.nan, 0.9]], [[0.5, 0, 0]])
    (output,) = decode_outputs(answer, [row(1)], answered_rows=1)
    assert output.candidates.item_indices.tolist() == [2, 4, 9]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (outputs([[1]], [[1]], [[0.5, 0, 0]]) | {"items": to_proto(np.array([[1], [2]], np.int32))}, "expected 1 rows"),
        (outputs([[1, 2]], [[1]], [[0.5, 0, 0]]), "of one shape"),
        (outputs([[1]], [[1]], [[0.5, 0, 0]]) | {"items": to_proto(np.array([[1]], np.float32))}, "int32 and float32"),
        (outputs([[1]], [[1]], [[0.5]]), "made by another insession: train it again"),
        (outputs([[1]], [[1]], [0.5]), "expected 1 rows"),
        (outputs([[1]], [[1]], [[0, 0, 1.5]]), "no probabilities"),
        (outputs([[1]], [[1]], [[np.inf, 0, 0]]), "no probabilities"),
        (outputs([[1]], [[1]], [[0, 0, 0]]) | {"items": pb.TensorProto()}, "expected 1 rows"),
        ({"intent": INTENT, "items": to_proto(np.array([[1]], np.int32))}, "no output 'scores'"),
        ({"intent": INTENT}, "no output 'items'"),
        ({}, "no output 'intent'"),
        (reading([[0.5, 1]], [[0.0]]) | {"vectors": to_proto(np.array([[1]], np.int32))}, "float32 and a return for"),
        (reading([[0.5, 1]], np.zeros((1, 0))), "float32 and a return for each of 1 items"),
        (reading([[0.5, np.nan]], [[0.0]]), "no finite numbers"),
        (reading([[0.5, 1]], [[np.inf]]), "no finite numbers"),
        ({"intent": INTENT, "vectors": to_proto(np.array([[1]], np.float32))}, "no output 'returns'"),
    ],
)
def test_an_answer_of_another_shape_is_refused(answer: dict[str, pb.TensorProto], message: str) -> None:
    """What does not fit the signature never reaches a shopper."""
    with pytest.raises(BadResponseError, match=message):
        decode_outputs(answer, [row(1)], answered_rows=1)


@pytest.mark.parametrize(
    ("tensor", "expected"),
    [
        (values(pb.DT_INT32, (2, 2), int_val=[1, 2, 3, 4]), [[1, 2], [3, 4]]),
        (values(pb.DT_INT32, (2, 2), int_val=[1, 2]), [[1, 2], [2, 2]]),
        (values(pb.DT_INT32, (2, 2)), [[0, 0], [0, 0]]),
        (values(pb.DT_INT32, (1, 2), int_val=[1, 2, 3]), [[1, 2]]),
        (values(pb.DT_FLOAT, (1, 2), float_val=[0.5, 0.25]), [[0.5, 0.25]]),
        (values(pb.DT_FLOAT, (1, 2), tensor_content=np.array([0.5, 0.25], "<f4").tobytes()), [[0.5, 0.25]]),
        (values(pb.DT_FLOAT, (0, 2)), []),
    ],
)
def test_tensors_are_read_as_tensorflow_reads_them(tensor: pb.TensorProto, expected: list[list[float]]) -> None:
    """A short list repeats its last value, an empty one is zeros, surplus is ignored."""
    assert to_array(tensor).tolist() == expected


@pytest.mark.parametrize(
    "tensor",
    [
        values(pb.DT_INT32, (2,), int_val=[1, 2]),
        values(pb.DT_INT32, (1, -1), int_val=[1]),
        values(pb.DT_INT32, (1, MAX_CANDIDATES + 1), int_val=[1]),
        values(pb.DT_INVALID, (1, 1)),
        values(9, (1, 1)),
        values(pb.DT_INT32, (1, 2), tensor_content=b"123"),
    ],
)
def test_tensors_that_cannot_be_read_are_refused(tensor: pb.TensorProto) -> None:
    """Wrong rank, size, type or number of bytes is an error, never a guess."""
    with pytest.raises(BadResponseError):
        to_array(tensor)
