"""Sessions as TFRecords: one `tf.train.Example` a session, and `schema.json` with the vocabulary beside them.

    OUT/schema.json       what stands here, counts and hashes
    OUT/vocabulary.json   the item ids; item n of an Example is entry n - 1
    OUT/train/part-*.tfrecord, OUT/test/part-*.tfrecord

| feature | values | what |
|---|---|---|
| `visitor_key`, `session_id` | 1 bytes each | who and which |
| `location` | 0 or 1 bytes | where the session was seen last |
| `event_count` | 1 int64 | of the whole session, where its `session-ends` record holds the last events only |
| `items` | n int64 | place in the vocabulary from 1; 0 = the event has no item |
| `event_types` | n int64 | place in `event_types` of the schema from 0 |
| `times_ms` | n int64 | Unix milliseconds, rising |
| `prices` | n float | NaN = not known |

Writing needs no TensorFlow, and reading none.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

from schemas.errors import InsessionError, UsageError
from schemas.events import EventType
from schemas.records import SessionSummary
from session_model.data.compressed_files import opened
from session_model.data.files import data_files
from session_model.data.forms import seen_form
from session_model.data.rows import Row, check_ids
from session_model.data.sessions import EVENT_TYPE_CODES
from session_model.data.text_lines import MalformedLines
from session_model.data.tfrecord_files import (
    DamagedRecordError,
    decode_example,
    encode_example,
    read_records,
    write_record,
)

SCHEMA: Final = "schema.json"
VOCABULARY: Final = "vocabulary.json"
SUFFIX: Final = ".tfrecord"
VERSION: Final = 1

_CODES: Final = {name: code for code, name in enumerate(EVENT_TYPE_CODES)}
_EVENT_FEATURES: Final = ("items", "event_types", "times_ms", "prices")


class FileFacts(msgspec.Struct, frozen=True):
    """A file of a split, named from the folder of the schema on; size in bytes, sha256 in hex."""

    name: str
    records: int
    size: int
    sha256: str


class Split(msgspec.Struct, frozen=True):
    """The sessions that ended from `from_ms` on and before `until_ms`, Unix milliseconds; None = no bound."""

    sessions: int
    from_ms: int | None
    until_ms: int | None
    files: tuple[FileFacts, ...] = ()


class TfrecordSchema(msgspec.Struct, frozen=True):
    """What `schema.json` says; vocabulary_sha256: of the file `vocabulary.json`, hex."""

    vocabulary_sha256: str
    vocabulary_items: int
    splits: dict[str, Split]
    event_types: tuple[EventType, ...] = EVENT_TYPE_CODES
    version: int = VERSION


def write_session(file: BinaryIO, session: SessionSummary, indices: Mapping[str, int]) -> None:
    """Append a session; `indices`: by item id its place in the vocabulary, from 1. Raises KeyError of another item."""
    events = session.events
    features: dict[str, Sequence[bytes] | Sequence[int] | Sequence[float]] = {
        "visitor_key": [session.visitor_key.encode()],
        "session_id": [session.session_id.encode()],
        "event_count": [session.event_count],
        "items": [0 if event.item_id is None else indices[event.item_id] for event in events],
        "event_types": [_CODES[event.event_type] for event in events],
        "times_ms": [event.time_ms for event in events],
        "prices": [math.nan if event.price is None else float(event.price) for event in events],
    }
    if session.location is not None:
        features["location"] = [session.location.encode()]
    write_record(file, encode_example(features))


def vocabulary_bytes(item_ids: Sequence[str]) -> bytes:
    """Return the content of `vocabulary.json`."""
    return msgspec.json.encode(item_ids)


def read_vocabulary(folder: Path, sha256: str) -> list[str]:
    """Read `vocabulary.json`; raises InsessionError where it is not the one that the schema names."""
    with opened(folder / VOCABULARY) as stream:
        content = stream.read()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise InsessionError(f"{folder / VOCABULARY} is not the one that {SCHEMA} names; copy the data set again")
    return msgspec.json.decode(content, type=list[str])


def read_schema(file: Path) -> tuple[TfrecordSchema, Path]:
    """Find the schema of a file of TFRecords, beside it or one folder above, and say where it lies.

    Raises UsageError where there is none, and InsessionError where it cannot be read or is of a later version.
    """
    folder = next((one for one in (file.parent, file.absolute().parent.parent) if (one / SCHEMA).is_file()), None)
    if folder is None:
        raise UsageError(f"{file}: there is no {SCHEMA} beside it or above; keep a data set of TFRecords together")
    try:
        schema = msgspec.json.decode((folder / SCHEMA).read_bytes(), type=TfrecordSchema)
    except msgspec.DecodeError as error:
        raise InsessionError(
            f"{folder / SCHEMA} is no schema of TFRecords ({error}); write the data set anew"
        ) from error
    if schema.version > VERSION:
        raise InsessionError(
            f"{folder / SCHEMA} has version {schema.version}, this insession reads {VERSION}: run the one that wrote it"
        )
    return schema, folder


def tfrecord_files(path: Path) -> list[Path]:
    """Return the files of one split; raises UsageError on the whole data set, whose splits are to be kept apart."""
    if (path / SCHEMA).is_file() and not any(SUFFIX in file.name for file in path.iterdir()):
        raise UsageError(f"{path} holds all splits of a data set; name one of them, as {path / 'train'}")
    files = data_files(path)
    return [file for file in files if SUFFIX in file.name] if path.is_dir() else files


class TfrecordSessions:
    """Reads the files of one data set; of a session as its `session-ends` record, so columns are equal."""

    has_times = True
    is_by_visitor = True

    def __init__(self) -> None:
        self._vocabularies: dict[Path, list[str]] = {}

    def rows(self, malformed: MalformedLines) -> Iterator[Row]:
        """Return the events of a file; an Example that is none of ours is booked as malformed, by its number."""
        try:
            yield from self._rows_of(malformed)
        except DamagedRecordError as error:
            form = seen_form(malformed.path)
            if form is None:
                raise
            raise InsessionError(f"{malformed.path} holds no TFRecords; {form}") from error

    def _rows_of(self, malformed: MalformedLines) -> Iterator[Row]:
        with opened(malformed.path) as stream:
            for number, record in enumerate(read_records(stream, str(malformed.path)), 1):
                if number == 1:
                    schema, folder = read_schema(malformed.path)
                    item_ids = self._vocabulary(folder, schema)
                malformed.last_line = number
                try:
                    yield from _rows(decode_example(record), item_ids, schema.event_types)
                except (ValueError, IndexError, KeyError) as error:
                    malformed.add(number, str(error) if isinstance(error, ValueError) else f"no such entry: {error}")

    def _vocabulary(self, folder: Path, schema: TfrecordSchema) -> list[str]:
        if folder not in self._vocabularies:
            self._vocabularies[folder] = read_vocabulary(folder, schema.vocabulary_sha256)
        return self._vocabularies[folder]


def _rows(found: dict[str, list[Any]], item_ids: list[str], types: Sequence[EventType]) -> list[Row]:
    (visitor,), (session,) = (_texts(found, name) for name in ("visitor_key", "session_id"))
    check_ids(visitor, session)
    location = next(iter(_texts(found, "location")), None) if "location" in found else None
    is_cut = any(count > len(found["items"]) for count in found.get("event_count", ()))
    return [
        Row(
            visitor,
            item_ids[item - 1] if item else None,
            time_ms,
            types[kind],
            None if math.isnan(price) else price,
            session,
            location,
            is_cut,
        )
        for item, kind, time_ms, price in zip(*(found[name] for name in _EVENT_FEATURES), strict=True)
    ]


def _texts(found: dict[str, list[Any]], name: str) -> list[str]:
    return [value.decode() for value in found[name] if isinstance(value, bytes)]
