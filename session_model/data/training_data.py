"""What a training reads: sessions, vocabulary and sequences, and the validation slice that is parted from them."""

import hashlib
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from schemas.errors import InsessionError
from schemas.events import ITEM_EVENT_TYPES
from session_model.data.files import data_files
from session_model.data.formats import AS_IT_IS, DataFormat, ReadOptions, read_sessions
from session_model.data.item_sequences import ItemSequences, item_sequences
from session_model.data.sessions import EVENT_TYPE_CODES, Sessions
from session_model.data.vocabulary import Vocabulary
from session_model.files import file_sha256

VALIDATION_SHARE = 0.1
MAX_VALIDATION_SESSIONS = 13_000
MIN_VALIDATION_SESSIONS = 20
MIN_HELD_OUT_FROM = round(MIN_VALIDATION_SESSIONS / VALIDATION_SHARE)
"""Sessions from which on some are held out."""


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What is read of a file or folder; `digest` is its SHA-256, hex."""

    digest: str
    sessions: Sessions
    vocabulary: Vocabulary
    sequences: ItemSequences


def read_training_data(
    path: Path, data_format: DataFormat, input_event_types: Collection[str], options: ReadOptions = AS_IT_IS
) -> TrainingData:
    """Read and number the items; raises InsessionError where there is nothing to learn from."""
    sessions = read_sessions(path, data_format, options=options)
    vocabulary = popular_first(sessions, input_event_types)
    sequences = item_sequences(sessions, vocabulary, input_event_types)
    if not np.any(np.diff(sequences.starts) > 1):
        raise InsessionError(
            f"{path}: no session has two {' or '.join(input_event_types)} events; nothing to learn from"
            f"{_other_input(sessions, input_event_types)}"
        )
    return TrainingData(sha256_of(path), sessions, vocabulary, sequences)


def _other_input(sessions: Sessions, input_event_types: Collection[str]) -> str:
    """Return the event types that are there instead, such as the purchases of a log without views."""
    counts = np.bincount(sessions.event_types[sessions.items >= 0], minlength=len(EVENT_TYPE_CODES))
    others = {name: int(n) for name, n in zip(EVENT_TYPE_CODES, counts, strict=True) if n}
    found = [name for name in others if name not in input_event_types and name in ITEM_EVENT_TYPES]
    if not found:
        return ""
    found_events = ", ".join(f"{name} {n:,}" for name, n in others.items())
    return f" (found: {found_events}); try --input-event {max(found, key=others.__getitem__)}"


def popular_first(sessions: Sessions, input_event_types: Collection[str]) -> Vocabulary:
    """List the items of the input events by falling count: on equal scores the more popular one wins."""
    codes = [code for code, name in enumerate(EVENT_TYPE_CODES) if name in input_event_types]
    used = sessions.items[(sessions.items >= 0) & np.isin(sessions.event_types, codes)]
    counts = Counter(used.tolist())
    ranked = sorted(counts, key=lambda item: (-counts[item], item))
    return Vocabulary(sessions.item_ids[item] for item in ranked)


def hold_out(sequences: ItemSequences) -> tuple[ItemSequences, ItemSequences | None]:
    """Part the validation slice, the latest sessions, from the earlier ones.

    None where there are too few for one, or where one of both parts has no session of two items.
    """
    n_later = min(MAX_VALIDATION_SESSIONS, int(len(sequences) * VALIDATION_SHARE))
    if n_later < MIN_VALIDATION_SESSIONS:
        return sequences, None
    parts = split_later(sequences, n_later)
    return parts if all(np.any(np.diff(part.starts) > 1) for part in parts) else (sequences, None)


def split_later(sequences: ItemSequences, n_later: int) -> tuple[ItemSequences, ItemSequences]:
    """Part the sessions by time: all but the last `n_later`, and those."""
    cut = len(sequences) - n_later
    row = sequences.starts[cut]
    earlier = ItemSequences(sequences.starts[: cut + 1], sequences.items[:row])
    return earlier, ItemSequences(sequences.starts[cut:] - row, sequences.items[row:])


def sha256_of(path: Path) -> str:
    """Hash a file, or the hashes of the files of a folder or glob in the order of their names."""
    if path.is_file():
        return file_sha256(path)
    return hashlib.sha256("".join(file_sha256(file) for file in data_files(path)).encode()).hexdigest()
