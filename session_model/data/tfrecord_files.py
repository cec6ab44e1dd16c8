"""TFRecord files without TensorFlow: the framing of records, and `tf.train.Example` as messages of our own.

A record is its length (uint64, little-endian), the masked CRC-32C of these 8 bytes, the data, and theirs.
https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details
The messages have the field numbers of tensorflow/core/example/{example,feature}.proto, so the bytes are the same.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from io import BufferedIOBase
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from schemas.errors import InsessionError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_RECORD_BYTES: Final = 1 << 26
"""Of one record that is read; a damaged length must not ask for all memory."""

FeatureValue = Sequence[bytes] | Sequence[int] | Sequence[float]
_HEAD: Final = struct.Struct("<QI")
_CRC: Final = struct.Struct("<I")
_MASK_DELTA: Final = 0xA282EAD8
_PACKAGE: Final = "insession.tfrecord"


class DamagedRecordError(InsessionError):
    """A file of TFRecords ends within a record, or a checksum is wrong: nothing behind can be trusted."""


def write_record(file: BinaryIO, data: bytes) -> None:
    """Append a record."""
    length = struct.pack("<Q", len(data))
    file.write(_HEAD.pack(len(data), masked_crc32c(length)) + data + _CRC.pack(masked_crc32c(data)))


def read_records(stream: BufferedIOBase, name: str) -> Iterator[bytes]:
    """Return the records of a file; raises DamagedRecordError, which calls the file `name`."""
    number = 0
    while head := stream.read(_HEAD.size):
        number += 1
        if len(head) < _HEAD.size:
            raise _damaged(name, number, "it ends within the length")
        length, crc = _HEAD.unpack(head)
        if masked_crc32c(head[:8]) != crc:
            raise _damaged(name, number, "the checksum of its length is wrong")
        if length > MAX_RECORD_BYTES:
            raise _damaged(name, number, f"it has {length:,} bytes, at most {MAX_RECORD_BYTES:,} are read")
        body = stream.read(length + _CRC.size)
        if len(body) < length + _CRC.size:
            raise _damaged(name, number, "it ends within the record")
        data = body[:length]
        if _CRC.unpack(body[length:])[0] != masked_crc32c(data):
            raise _damaged(name, number, "its checksum is wrong")
        yield data


def masked_crc32c(data: bytes) -> int:
    """Return the CRC-32C (Castagnoli) of `data`, turned and shifted as TFRecords have it."""
    crc = _crc32c()(data)
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def encode_example(features: Mapping[str, FeatureValue]) -> bytes:
    """Serialise features: bytes, whole numbers (int64), or numbers (float32), by the type of the first value.

    A feature without values has no type, and is read as an empty one of any. Equal features give equal bytes.
    """
    example = _example()()
    for name in sorted(features):
        values, feature = features[name], example.features.feature[name]
        if not values:
            feature.SetInParent()
        elif isinstance(values[0], bytes):
            feature.bytes_list.value.extend(values)
        elif isinstance(values[0], int):
            feature.int64_list.value.extend(values)
        else:
            feature.float_list.value.extend(values)
    data: bytes = example.SerializeToString(deterministic=True)
    return data


def decode_example(data: bytes) -> dict[str, list[Any]]:
    """Read the features of an Example; raises ValueError where it is none."""
    from google.protobuf.message import DecodeError  # noqa: PLC0415 - beside its one use

    try:
        example = _example().FromString(data)
    except DecodeError as error:
        raise ValueError(f"it is no tf.train.Example ({error})") from error
    found: dict[str, list[Any]] = {}
    for name, feature in example.features.feature.items():
        kind = feature.WhichOneof("kind")
        found[name] = [] if kind is None else list(getattr(feature, kind).value)
    return found


def _damaged(name: str, number: int, what: str) -> DamagedRecordError:
    return DamagedRecordError(f"{name}: record {number} is damaged: {what}; copy the file again")


@cache
def _crc32c() -> "Callable[[bytes], int]":
    try:
        import google_crc32c  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise UsageError("TFRecords need google-crc32c: pip install 'insession[model]', or insession[spark]") from error
    value: Callable[[bytes], int] = google_crc32c.value
    return value


@cache
def _example() -> Any:
    """Build the message class, in a pool and a package of our own: TensorFlow's may be in the process, too."""
    file = descriptor_pb2.FileDescriptorProto(name="insession/example.proto", package=_PACKAGE, syntax="proto3")
    field = descriptor_pb2.FieldDescriptorProto
    lists = {"BytesList": field.TYPE_BYTES, "FloatList": field.TYPE_FLOAT, "Int64List": field.TYPE_INT64}
    for name, kind in lists.items():
        message = file.message_type.add(name=name)
        message.field.add(name="value", number=1, label=field.LABEL_REPEATED, type=kind)
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, name in enumerate(("bytes_list", "float_list", "int64_list"), 1):
        type_name = f".{_PACKAGE}.{list(lists)[number - 1]}"
        feature.field.add(
            name=name, number=number, label=field.LABEL_OPTIONAL, type=field.TYPE_MESSAGE, type_name=type_name,
            oneof_index=0,
        )  # fmt: skip
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, label=field.LABEL_OPTIONAL, type=field.TYPE_STRING)
    entry.field.add(
        name="value", number=2, label=field.LABEL_OPTIONAL, type=field.TYPE_MESSAGE, type_name=f".{_PACKAGE}.Feature"
    )
    features.field.add(
        name="feature", number=1, label=field.LABEL_REPEATED, type=field.TYPE_MESSAGE,
        type_name=f".{_PACKAGE}.Features.FeatureEntry",
    )  # fmt: skip
    example = file.message_type.add(name="Example")
    example.field.add(
        name="features", number=1, label=field.LABEL_OPTIONAL, type=field.TYPE_MESSAGE,
        type_name=f".{_PACKAGE}.Features",
    )  # fmt: skip
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.Example"))
