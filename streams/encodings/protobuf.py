"""Protobuf values as builtin objects, by schemas that come at run time as text or as descriptors."""

import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any, Final

import grpc_tools
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from streams.encodings.avro import TYPE_KEY, Reference, finite, text_of
from streams.encodings.errors import SchemaError

_Read = Callable[[Any], object]

_COMPILE_TIMEOUT_SECONDS: Final = 60
_COMPILER_LOG: Final = ("WARNING: ", "W0")
_MAX_NESTING: Final = 32
_ROOT: Final = "value.proto"


class ProtobufSchema:
    """The files by which values were written: `files` in the order of their imports, the schema itself last.

    message: full name of the values' message; None = the one of their indexes, else the first of the last file.
    Raises SchemaError where something is missing in them.
    """

    def __init__(self, files: FileDescriptorSet, message: str | None = None) -> None:
        self._pool = DescriptorPool()
        try:
            for file in files.file:
                self._pool.Add(file)
            self._file: Any = self._pool.FindFileByName(files.file[-1].name)
            first = self._pool.FindMessageTypeByName(message) if message else self._nested((0,))
        except (IndexError, KeyError, TypeError, ValueError) as error:
            raise SchemaError(f"not a Protobuf schema with the message {message or 'of values'}: {error}") from error
        self._first = GetMessageClass(first)
        self._is_named = message is not None

    def decode_indexed(self, payload: bytes) -> object:
        """Read a value behind its message indexes, which Confluent's frame has for Protobuf; raises ValueError.

        They say which message it is, unless that was given.
        """
        indexes, start = _message_indexes(payload)
        if self._is_named:
            return _decode(self._first, payload[start:])
        try:
            kind = GetMessageClass(self._nested(indexes))
        except IndexError as error:
            raise ValueError(f"the Protobuf schema has no message {list(indexes)}") from error
        return _decode(kind, payload[start:])

    def decode(self, payload: bytes) -> object:
        """Read a value that is nothing but the message; raises ValueError.

        Fields are called as in the .proto file. Times become Unix milliseconds, durations seconds, enums their names,
        bytes texts (None where they are none). A field that was not sent is absent, or has its default where proto3
        does not tell the two apart. `@type` says which message it is.
        """
        return _decode(self._first, payload)

    def _nested(self, indexes: tuple[int, ...]) -> Descriptor:
        """Find a message by its place in the text of the file, then in that of the message that it is nested in."""
        found = list(self._file.message_types_by_name.values())[indexes[0]]
        for index in indexes[1:]:
            written = [nested for nested in found.nested_types if not nested.GetOptions().map_entry]
            found = written[index]
        return found  # type: ignore[no-any-return]


def compiled(text: str, references: Iterable[Reference] = ()) -> FileDescriptorSet:
    """Compile a .proto text and what it imports; raises SchemaError with the compiler's words."""
    with tempfile.TemporaryDirectory(prefix="insession-proto-") as folder:
        for name, content in (*references, Reference(_ROOT, text)):
            path = Path(folder, name)
            if not path.resolve().is_relative_to(Path(folder).resolve()):
                raise SchemaError(f"not a Protobuf schema: it imports {name!r}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return _compiled_file(Path(folder, _ROOT))


def from_file(path: Path, message: str | None = None) -> ProtobufSchema:
    """Read a .proto file, whose imports lie beside it, or descriptors as `protoc --include_imports` writes them.

    Raises SchemaError and OSError.
    """
    if path.suffix == ".proto":
        return ProtobufSchema(_compiled_file(path), message)
    try:
        return ProtobufSchema(FileDescriptorSet.FromString(path.read_bytes()), message)
    except DecodeError as error:
        raise SchemaError("neither a .proto file nor a Protobuf descriptor set") from error


def _compiled_file(path: Path) -> FileDescriptorSet:
    with tempfile.TemporaryDirectory(prefix="insession-proto-") as folder:
        target = Path(folder, "set.desc")
        includes = [path.parent, Path(grpc_tools.__file__).parent / "_proto", *_google_types()]
        command = [
            *(sys.executable, "-m", "grpc_tools.protoc", "--include_imports", f"--descriptor_set_out={target}"),
            *(f"--proto_path={include}" for include in includes),
            path.name,
        ]
        try:
            run = subprocess.run(  # noqa: S603 - no shell; paths of ours
                command, capture_output=True, text=True, check=False, timeout=_COMPILE_TIMEOUT_SECONDS
            )
        except subprocess.TimeoutExpired as error:
            raise SchemaError(f"the Protobuf compiler takes longer than {_COMPILE_TIMEOUT_SECONDS} s") from error
        if run.returncode != 0:
            complaints = [line for line in run.stderr.splitlines() if not line.startswith(_COMPILER_LOG)]
            raise SchemaError(f"not a Protobuf schema: {' '.join(complaints).replace(f'{path.parent}/', '')[:500]}")
        return FileDescriptorSet.FromString(target.read_bytes())


def _google_types() -> list[Path]:
    """Find where `google/type/money.proto` and the like are installed."""
    spec = importlib.util.find_spec("google.type")
    return [Path(folder).parents[1] for folder in (spec.submodule_search_locations or ())] if spec is not None else []


def _message_indexes(payload: bytes) -> tuple[tuple[int, ...], int]:
    """Read the path to the message, and where it ends: a count and so many zigzag varints; a lone 0 is the first."""
    count, start = _zigzag(payload, 0)
    if not 0 <= count <= _MAX_NESTING:
        raise ValueError(f"Protobuf with {count} message indexes")
    indexes = []
    for _ in range(count):
        index, start = _zigzag(payload, start)
        if index < 0:
            raise ValueError(f"Protobuf with message index {index}")
        indexes.append(index)
    return tuple(indexes) or (0,), start


def _zigzag(payload: bytes, start: int) -> tuple[int, int]:
    number = 0
    for place, byte in enumerate(payload[start : start + 5]):
        number |= (byte & 0x7F) << (7 * place)
        if not byte & 0x80:
            return (number >> 1) ^ -(number & 1), start + place + 1
    raise ValueError("Protobuf without message indexes")


def _decode(kind: type[Message], payload: bytes) -> object:
    message = kind()
    try:
        message.ParseFromString(payload)
        value = _plain(message)
    except (DecodeError, RecursionError) as error:
        raise ValueError(f"the value is no Protobuf message {kind.DESCRIPTOR.full_name}: {error}") from error
    return {**value, TYPE_KEY: kind.DESCRIPTOR.full_name} if isinstance(value, dict) else value


def _plain(message: Any) -> object:
    convert = _WELL_KNOWN.get(message.DESCRIPTOR.full_name)
    if convert is not None:
        return convert(message)
    values = {}
    for name, has_presence, read in _fields(message.DESCRIPTOR):
        if not has_presence or message.HasField(name):
            value = getattr(message, name)
            values[name] = value if read is None else read(value)
    return values


@cache
def _fields(descriptor: Descriptor) -> tuple[tuple[str, bool, _Read | None], ...]:
    """Return name, presence and reader of each field; no reader where the value is builtin as it comes."""
    return tuple((field.name, field.has_presence, _reader(field)) for field in descriptor.fields)


def _reader(field: FieldDescriptor) -> _Read | None:
    if not field.is_repeated:
        return _single(field)
    entry = field.message_type
    if entry is not None and entry.GetOptions().map_entry:
        inner = _single(entry.fields_by_name["value"]) or _as_it_is
        return lambda values: {str(key): inner(value) for key, value in values.items()}
    read = _single(field)
    return list if read is None else lambda values: [read(value) for value in values]


def _single(field: FieldDescriptor) -> _Read | None:
    if field.message_type is not None:
        return _plain
    if field.enum_type is not None:
        names = {number: value.name for number, value in field.enum_type.values_by_number.items()}
        return lambda number: names.get(number, number)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return text_of
    return finite if field.type in {FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT} else None


def _as_it_is(value: object) -> object:
    return value


_WELL_KNOWN: Final[dict[str, _Read]] = {
    "google.protobuf.Timestamp": lambda message: message.seconds * 1000 + message.nanos // 1_000_000,
    "google.protobuf.Duration": lambda message: message.seconds + message.nanos / 1e9,
    "google.protobuf.BytesValue": lambda message: text_of(message.value),
    "google.protobuf.DoubleValue": lambda message: finite(message.value),
    "google.protobuf.FloatValue": lambda message: finite(message.value),
    "google.protobuf.Any": lambda message: {TYPE_KEY: message.type_url},
    **{f"google.protobuf.{name}": MessageToDict for name in ("FieldMask", "ListValue", "Struct", "Value")},
    **{
        f"google.protobuf.{kind}Value": lambda message: message.value
        for kind in ("Bool", "Int32", "Int64", "String", "UInt32", "UInt64")
    },
}
