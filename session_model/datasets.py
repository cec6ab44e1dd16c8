"""Data sets in the formats of the field, as `Sessions` for learning and as click events for replay.

`session-rec`: tab-separated with a header; the columns SessionId, ItemId and Time (Unix seconds, maybe fractional)
are found by name, others are ignored. https://github.com/rn5l/session-rec
`sequences`: one session a line, item ids separated by blanks, oldest first; sessions in order of their end, no times.
`jsonl`: one ClickEvent (schemas/json/click-event.json) a line, in any order.
`rsc15`, `diginetica`, `retailrocket`, `rees46`, `otto`: as published (session_model.public_datasets).

All may be gzipped. A malformed line is left out, counted and named; session_model.text_lines has the bounds.
"""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.errors import InsessionError, UsageError
from schemas.events import ITEM_EVENT_TYPES, MAX_ID_LENGTH, ClickEvent
from schemas.ids import EventId, SessionId, VisitorId
from session_model.csr import row_numbers
from session_model.event_columns import NO_ITEM, EventColumns, Interner, assemble
from session_model.public_datasets import PUBLIC_DATASETS, PublicDataset, PublicFormat, read_rows
from session_model.sessions import EVENT_TYPE_CODES, Sessions
from session_model.text_lines import DEFAULT_MALFORMED_SHARE, MalformedLines, read_lines

OwnFormat = Literal["session-rec", "sequences", "jsonl"]
DataFormat = OwnFormat | PublicFormat
DATA_FORMATS: tuple[DataFormat, ...] = (*get_args(OwnFormat), *get_args(PublicFormat))

INACTIVITY_GAP_MS = 30 * 60 * 1000
"""Parts the `jsonl` events of a visitor without a session_id into sessions; inclusive, as in the stream."""
SEQUENCES_START_MS = 1_577_836_800_000
"""2020-01-01: where the made-up clock of `sequences` starts; it moves by `SEQUENCES_STEP_MS` a click."""
SEQUENCES_STEP_MS = 10_000
MAX_TIME_SECONDS = 1e11
_SESSION_REC_COLUMNS = ("SessionId", "ItemId", "Time")
_decode_click = msgspec.json.Decoder(ClickEvent).decode


def read_sessions(
    path: Path, data_format: DataFormat, *, max_malformed_share: float = DEFAULT_MALFORMED_SHARE
) -> Sessions:
    """Load a whole file; `item_ids` are those of this file, in order of first appearance.

    Raises UsageError where path or format is wrong and InsessionError where the content is.
    `jsonl`: events without consent and repeated ones (same visitor, event_id and time) are left out; a session is that
    of the session_id, or ends by `INACTIVITY_GAP_MS`, as it does in `retailrocket`.
    """
    if data_format in PUBLIC_DATASETS:
        return _read_public(path, PUBLIC_DATASETS[data_format], max_malformed_share)
    if data_format not in _READERS:
        raise UsageError(f"format {data_format!r} is none of {', '.join(DATA_FORMATS)}")
    return _READERS[data_format](MalformedLines(path, max_malformed_share))


def read_events(
    path: Path, data_format: DataFormat, *, max_malformed_share: float = DEFAULT_MALFORMED_SHARE
) -> Iterator[ClickEvent]:
    """Give the events of a file in event-time order, ties in file order (`jsonl`) or in order of the sessions.

    But for `jsonl`, visitor_id and session_id are the session's id and event_id is `{session}-{n}` with n from 1;
    `session-rec` and `sequences` say views. `sequences` has no times; its sessions follow each other, a click every
    `SEQUENCES_STEP_MS` from `SEQUENCES_START_MS`. Raises as `read_sessions`.
    """
    if data_format == "jsonl":
        malformed = MalformedLines(path, max_malformed_share)
        events = sorted(_clicks(malformed), key=lambda event: event.event_time_ms)
        malformed.settle(len(events))
        yield from events
        return
    sessions = read_sessions(path, data_format, max_malformed_share=max_malformed_share)
    yield from _session_events(sessions)


def _read_session_rec(malformed: MalformedLines) -> Sessions:
    lines = read_lines(malformed)
    _, header = next(lines, (0, ""))
    places = _column_places(header, malformed.path)
    session_ids, columns = Interner(), EventColumns()
    for number, line in lines:
        fields = line.split("\t")
        try:
            session, item, seconds = (fields[place].strip() for place in places)
            time_ms = _seconds_to_ms(seconds)
            _check_ids(session, item)
        except (IndexError, ValueError) as error:
            malformed.add(number, "too few columns" if isinstance(error, IndexError) else str(error))
            continue
        columns.add(session_ids.code(session), item, time_ms)
    malformed.settle(len(columns))
    codes = np.array(columns.sessions, np.int64)
    return assemble(columns, codes, [SessionId(text) for text in session_ids.texts], has_times=True)


def _column_places(header: str, path: Path) -> list[int]:
    if not header:
        raise InsessionError(f"{path} is empty; a session-rec file starts with {' '.join(_SESSION_REC_COLUMNS)}")
    names = [name.strip() for name in header.split("\t")]
    missing = [name for name in _SESSION_REC_COLUMNS if name not in names]
    if missing:
        raise InsessionError(
            f"{path}: the header lacks {', '.join(missing)} (found: {', '.join(names)[:200]}); "
            "name the columns, tab-separated, or choose another --format"
        )
    return [names.index(name) for name in _SESSION_REC_COLUMNS]


def _seconds_to_ms(text: str) -> int:
    seconds = float(text)
    if not (math.isfinite(seconds) and 0 <= seconds < MAX_TIME_SECONDS):
        raise ValueError(f"Time {text!r} is no time in Unix seconds")
    return round(seconds * 1000)


def _check_ids(*ids: str) -> None:
    for text in ids:
        if not 0 < len(text) <= MAX_ID_LENGTH:
            raise ValueError(f"an id has {len(text)} characters, 1 to {MAX_ID_LENGTH} are allowed")


def _read_sequences(malformed: MalformedLines) -> Sessions:
    columns, session_ids = EventColumns(), list[SessionId]()
    for number, line in read_lines(malformed):
        items = line.split()
        try:
            _check_ids(*items)
        except ValueError as error:
            malformed.add(number, str(error))
            continue
        for item in items:
            columns.add(len(session_ids), item)
        session_ids.append(SessionId(str(number)))
    malformed.settle(len(columns))
    return assemble(columns, np.array(columns.sessions, np.int64), session_ids, has_times=False)


def _clicks(malformed: MalformedLines) -> Iterator[ClickEvent]:
    for number, line in read_lines(malformed):
        try:
            event = _decode_click(line)
        except (msgspec.DecodeError, RecursionError) as error:
            malformed.add(number, str(error))
            continue
        if event.item_id is None and event.event_type in ITEM_EVENT_TYPES:
            malformed.add(number, f"a {event.event_type} event needs an item_id")
            continue
        yield event


def _read_jsonl(malformed: MalformedLines) -> Sessions:
    visitors, explicit_ids, columns = Interner(), Interner(), EventColumns()
    explicit, seen = list[int](), set[int]()
    for event in _clicks(malformed):
        if event.consent is False or _is_repeat(event, seen):
            continue
        columns.add(visitors.code(event.visitor_id), event.item_id, event.event_time_ms, event.event_type, event.price)
        explicit.append(-1 if event.session_id is None else explicit_ids.code(event.session_id))
    malformed.settle(len(columns))
    names = _SessionNames(visitors.texts, explicit_ids.texts)
    codes, session_ids = _split_by_gap(columns, np.array(explicit, np.int64), names)
    return assemble(columns, codes, session_ids, has_times=True)


def _is_repeat(event: ClickEvent, seen: set[int]) -> bool:
    """Say whether this very event was read before, and book it; one without event_id never was."""
    if event.event_id is None:
        return False
    key = hash((event.visitor_id, event.event_id, event.event_time_ms))
    if key in seen:
        return True
    seen.add(key)
    return False


class _SessionNames(msgspec.Struct, frozen=True):
    visitors: list[str]
    explicit: list[str]

    def of(self, visitor: int, explicit: int, started_ms: int) -> SessionId:
        """Name a session: the shop's own id, else visitor and start."""
        return SessionId(self.explicit[explicit] if explicit >= 0 else f"{self.visitors[visitor]}-{started_ms}")


def _split_by_gap(
    columns: EventColumns, explicit: NDArray[np.int64], names: _SessionNames
) -> tuple[NDArray[np.int64], list[SessionId]]:
    """Give the session of each event, (n_events,) int64 in file order, and the names of the sessions."""
    visitors, times_ms = np.array(columns.sessions, np.int64), np.array(columns.times_ms, np.int64)
    order = np.lexsort((times_ms, explicit, visitors))
    visitor, own_id, time_ms = visitors[order], explicit[order], times_ms[order]
    opens = np.ones(len(order), bool)
    opens[1:] = (np.diff(visitor) != 0) | (np.diff(own_id) != 0)
    opens[1:] |= (own_id[1:] < 0) & (np.diff(time_ms) > INACTIVITY_GAP_MS)
    codes = np.empty(len(order), np.int64)
    codes[order] = np.cumsum(opens) - 1
    session_ids = [names.of(int(visitor[i]), int(own_id[i]), int(time_ms[i])) for i in np.flatnonzero(opens)]
    return codes, session_ids


def _session_events(sessions: Sessions) -> Iterator[ClickEvent]:
    """Turn sessions into events in event-time order."""
    n_events = len(sessions.items)
    times_ms = sessions.times_ms
    if times_ms is None:
        times_ms = SEQUENCES_START_MS + SEQUENCES_STEP_MS * np.arange(n_events, dtype=np.int64)
    session_of = row_numbers(np.diff(sessions.starts))
    for row in np.argsort(times_ms, kind="stable"):
        session = int(session_of[row])
        session_id = sessions.session_ids[session]
        item = int(sessions.items[row])
        yield ClickEvent(
            visitor_id=VisitorId(session_id),
            event_type=EVENT_TYPE_CODES[sessions.event_types[row]],
            event_time=int(times_ms[row]),
            item_id=None if item == NO_ITEM else sessions.item_ids[item],
            event_id=EventId(f"{session_id}-{row - sessions.starts[session] + 1}"),
            session_id=session_id,
            price=None if np.isnan(sessions.prices[row]) else float(sessions.prices[row]),
        )


def _read_public(path: Path, dataset: PublicDataset, max_malformed_share: float) -> Sessions:
    owners, columns = Interner(), EventColumns()
    for row in read_rows(path, dataset, max_malformed_share):
        columns.add(owners.code(row.owner), row.item_id, row.time_ms, row.event_type, row.price)
    if dataset.is_by_visitor:
        names = _SessionNames(owners.texts, [])
        codes, session_ids = _split_by_gap(columns, np.full(len(columns), -1, np.int64), names)
    else:
        codes = np.array(columns.sessions, np.int64)
        session_ids = [SessionId(text) for text in owners.texts]
    return assemble(columns, codes, session_ids, has_times=True)


_READERS: dict[OwnFormat, Callable[[MalformedLines], Sessions]] = {
    "session-rec": _read_session_rec,
    "sequences": _read_sequences,
    "jsonl": _read_jsonl,
}
