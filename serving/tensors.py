"""Rows to tensors and back, by hand: `tensorflow.make_tensor_proto` and `make_ndarray` would bring in TensorFlow.

Signature `recommend` of a release:
    items (batch, length) int32, 0 = padding at the end; length (batch,) int32; features (batch, n_features) float32
    -> items (batch, K) int32, scores (batch, K) float32 descending, intent (batch, 3) float32, its columns those of
       `IntentProbabilities`, NaN = not asked or not learned; instead of items and scores, where the release searches
       its catalogue: vectors (batch, width), returns (batch, longest row) float32, those of a `SessionReading`
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import starmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.ranking import Candidates, IntentProbabilities, ModelInput, ModelOutput, SessionReading
from serving.errors import BadRequestError, BadResponseError
from serving.protos import insession_predict_pb2 as pb

MAX_CANDIDATES = 10_000
"""More in a row than this is no answer of a release; the check comes before anything is allocated."""

_INT32 = np.dtype("<i4")
_FLOAT32 = np.dtype("<f4")
_WIRE_TYPES = {_INT32: pb.DT_INT32, _FLOAT32: pb.DT_FLOAT}


@dataclass(frozen=True, slots=True)
class FixedShape:
    """One shape for every call, so that the same rows give the same bits whatever else is in the batch."""

    rows: int
    length: int


def encode_inputs(batch: Sequence[ModelInput], shape: FixedShape | None) -> dict[str, pb.TensorProto]:
    """Return the signature's inputs for `batch`, padded to its longest row or to `shape`.

    Rows added to reach `shape` repeat the first row: they are valid whatever the graph does with a length.
    Raises BadRequestError where a row is empty, or does not fit the others or `shape`.
    """
    lengths = [len(row.items) for row in batch]
    rows, longest = (len(batch), max(lengths, default=0)) if shape is None else (shape.rows, shape.length)
    if not 0 < len(batch) <= rows or not 0 < min(lengths) <= max(lengths) <= longest:
        raise BadRequestError(f"{len(batch)} rows of lengths {lengths} do not fit a batch of shape ({rows}, {longest})")
    if len({row.features.shape for row in batch}) != 1:
        raise BadRequestError("the rows of a batch differ in their number of features; they are of different releases")
    items = np.zeros((rows, longest), _INT32)
    for index, row in enumerate(batch):
        items[index, : lengths[index]] = row.items
    items[len(batch) :] = items[0]
    padding = rows - len(batch)
    features = [row.features for row in batch] + [batch[0].features] * padding
    return {
        "items": to_proto(items),
        "length": to_proto(np.array(lengths + lengths[:1] * padding, _INT32)),
        "features": to_proto(np.array(features, _FLOAT32)),
    }


def decode_outputs(outputs: Any, batch: Sequence[ModelInput], *, answered_rows: int) -> list[ModelOutput]:
    """Read the signature's outputs for `batch`, the first of `answered_rows`; raises BadResponseError."""
    intents = _intents(outputs, answered_rows)[: len(batch)]
    if "vectors" in outputs:
        longest = max(len(row.items) for row in batch)
        readings = _readings(outputs, answered_rows, longest)
        return [
            ModelOutput(Candidates.none(), intent, reading) for intent, reading in zip(intents, readings, strict=False)
        ]
    rankings = _rankings(outputs, answered_rows)
    return [ModelOutput(ranking, intent) for intent, ranking in zip(intents, rankings, strict=False)]


def _intents(outputs: Any, rows: int) -> list[IntentProbabilities]:
    intent = _output(outputs, "intent", rows)
    if intent.shape[1] != len(IntentProbabilities._fields):
        raise BadResponseError(
            f"the answer has intent of shape {intent.shape}, expected {len(IntentProbabilities._fields)} columns; the "
            "release was made by another insession: train it again"
        )
    is_known = ~np.isnan(intent)
    if not ((intent >= 0) & (intent <= 1))[is_known].all():
        raise BadResponseError(f"the answer's intent is {intent.tolist()}, which are no probabilities")
    listed = intent.astype(object)
    listed[~is_known] = None
    return list(starmap(IntentProbabilities, listed.tolist()))


def _rankings(outputs: Any, rows: int) -> Iterator[Candidates]:
    items, scores = (_output(outputs, name, rows) for name in ("items", "scores"))
    if items.shape != scores.shape or items.dtype != _INT32 or scores.dtype != _FLOAT32:
        raise BadResponseError(
            f"the answer has items {items.dtype}{items.shape} and scores {scores.dtype}{scores.shape}; "
            "int32 and float32 of one shape are expected"
        )
    for row_items, row_scores, is_ranking in zip(items, scores, _are_rankings(items, scores).tolist(), strict=True):
        yield Candidates(row_items, row_scores) if is_ranking else _candidates(row_items, row_scores)


def _readings(outputs: Any, rows: int, longest: int) -> Iterator[SessionReading]:
    vectors, returns = (_output(outputs, name, rows) for name in ("vectors", "returns"))
    if vectors.dtype != _FLOAT32 or returns.dtype != _FLOAT32 or returns.shape[1] < longest:
        raise BadResponseError(
            f"the answer has vectors {vectors.dtype}{vectors.shape} and returns {returns.dtype}{returns.shape}; "
            f"float32 and a return for each of {longest} items are expected"
        )
    if not (np.isfinite(vectors).all() and np.isfinite(returns).all()):
        raise BadResponseError("the answer has a vector or returns that are no finite numbers")
    return map(SessionReading, vectors, returns)


def to_proto(array: NDArray[Any]) -> pb.TensorProto:
    """Return an int32 or float32 array as a TensorProto with tensor_content."""
    wire_array = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
    tensor = pb.TensorProto(dtype=_WIRE_TYPES[wire_array.dtype], tensor_content=wire_array.tobytes())
    for size in array.shape:
        tensor.tensor_shape.dim.add(size=size)
    return tensor


def to_array(tensor: pb.TensorProto) -> NDArray[Any]:
    """Read an int32 or float32 matrix by the rules of TensorFlow's own decoder; raises BadResponseError.

    tensor_content must have the exact size; a short `*_val` repeats its last value, an empty one is zeros.
    """
    shape = tuple(dim.size for dim in tensor.tensor_shape.dim)
    if len(shape) != 2 or min(shape) < 0 or shape[1] > MAX_CANDIDATES:
        raise BadResponseError(f"a tensor of shape {shape} was answered; (batch, at most {MAX_CANDIDATES}) is expected")
    if tensor.dtype not in (pb.DT_INT32, pb.DT_FLOAT):
        raise BadResponseError(f"a tensor of type {tensor.dtype} was answered; int32 or float32 is expected")
    dtype = _INT32 if tensor.dtype == pb.DT_INT32 else _FLOAT32
    if tensor.tensor_content:
        if len(tensor.tensor_content) != math.prod(shape) * dtype.itemsize:
            raise BadResponseError(f"a tensor of shape {shape} came with {len(tensor.tensor_content)} bytes")
        return np.frombuffer(tensor.tensor_content, dtype).reshape(shape)
    values = tensor.int_val if tensor.dtype == pb.DT_INT32 else tensor.float_val
    flat = np.array(values, dtype)[: math.prod(shape)]
    missing = math.prod(shape) - flat.size
    return np.pad(flat, (0, missing), mode="edge" if flat.size else "constant").reshape(shape)


def _output(outputs: Any, name: str, rows: int) -> NDArray[Any]:
    if name not in outputs:
        raise BadResponseError(f"the answer has no output {name!r}; the server serves another signature than a release")
    if len(outputs[name].tensor_shape.dim) != 2 or outputs[name].tensor_shape.dim[0].size != rows:
        raise BadResponseError(f"the answer's {name} are of shape {_shape(outputs[name])}, expected {rows} rows")
    return to_array(outputs[name])


def _shape(tensor: pb.TensorProto) -> tuple[int, ...]:
    return tuple(dim.size for dim in tensor.tensor_shape.dim)


def _are_rankings(items: NDArray[np.int32], scores: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return for each row whether it is a ranking as it came, as of a release's own graph."""
    is_item = (items > 0) & np.isfinite(scores)
    before, after = scores[:, :-1], scores[:, 1:]
    in_order = (before > after) | ((before == after) & (items[:, :-1] < items[:, 1:]))
    both: NDArray[np.bool_] = is_item.all(axis=1) & in_order.all(axis=1)
    return both


def _candidates(items: NDArray[np.int32], scores: NDArray[np.float32]) -> Candidates:
    """Drop places that hold no item (padding, or a score that cannot be ranked) and order ties by ItemIndex."""
    keep = (items > 0) & np.isfinite(scores)
    items, scores = items[keep], scores[keep]
    order = np.lexsort((items, -scores))
    return Candidates(items[order], scores[order])
