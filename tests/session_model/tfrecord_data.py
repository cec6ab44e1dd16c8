"""A data set of TFRecords as the batch job writes it, of a few sessions."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from schemas.records import SessionSummary
from session_model.data.tfrecords import (
    SCHEMA,
    VOCABULARY,
    FileFacts,
    Split,
    TfrecordSchema,
    vocabulary_bytes,
    write_session,
)


def write_data_set(folder: Path, splits: Mapping[str, Sequence[SessionSummary]]) -> Path:
    """Write each split into one file; the vocabulary is sorted."""
    items = {event.item_id for sessions in splits.values() for one in sessions for event in one.events}
    item_ids = sorted(item for item in items if item is not None)
    indices = {item: place for place, item in enumerate(item_ids, 1)}
    content = vocabulary_bytes(item_ids)
    (folder / VOCABULARY).write_bytes(content)
    described = {}
    for name, sessions in splits.items():
        file = folder / name / "part-00000.tfrecord"
        file.parent.mkdir()
        with file.open("wb") as stream:
            for session in sessions:
                write_session(stream, session, indices)
        data = file.read_bytes()
        facts = FileFacts(f"{name}/{file.name}", len(sessions), len(data), hashlib.sha256(data).hexdigest())
        described[name] = Split(len(sessions), None, None, (facts,))
    schema = TfrecordSchema(hashlib.sha256(content).hexdigest(), len(item_ids), described)
    (folder / SCHEMA).write_bytes(msgspec.json.encode(schema))
    return folder
