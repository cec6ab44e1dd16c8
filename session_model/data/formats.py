"""Data sets in the formats of the field, as `Sessions` for learning and as click events for replay.

`session-rec`: tab-separated with a header; the columns SessionId, ItemId and Time (Unix seconds, maybe fractional)
are found by name, others are ignored. https://github.com/rn5l/session-rec
`sequences`: one session a line, item ids separated by blanks or commas, oldest first; sessions in order of their
end, no times.
`jsonl`: one ClickEvent (schemas/json/click-event.json) a line, or what a FieldMapping makes clicks of, in any order.
`session-ends`: records of the topic session-ends, one a line, in any order; sessions of bots are left out.
`tfrecord`: one split of what `insession tfrecords` writes (session_model.data.tfrecords).
`csv`, `parquet`: tables whose columns a `TableLayout` names. `recbole`: `.inter` files (session_model.data.tables).
Public data sets as published, such as `rsc15` (session_model.data.public_formats).

DATA may be a file, a folder of parts or a glob, each file plain or compressed (gzip, zstd, bzip2, xz). A malformed line
is left out, counted and named; session_model.data.text_lines has the bounds. Times lie between 1995 and 2100, whatever
their unit (session_model.data.event_times).
"""

import re
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, Literal, Protocol, TypeVar, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas import wire
from schemas.catalog_mapping import OURS, CatalogMapping
from schemas.errors import InsessionError, UsageError
from schemas.events import ClickEvent
from schemas.ids import EventId, SessionId, VisitorId
from schemas.mapping import FieldMapping
from session_model.csr import row_numbers
from session_model.data.click_logs import ClickLog
from session_model.data.event_columns import NO_ITEM, EventColumns, Interner, assemble
from session_model.data.event_times import EventClock
from session_model.data.files import data_files
from session_model.data.forms import seen_form
from session_model.data.public_formats import PUBLIC_DATASETS, PublicFormat
from session_model.data.rows import Row, check_ids
from session_model.data.sessions import EVENT_TYPE_CODES, Sessions
from session_model.data.table_layout import TableLayout, without_layout
from session_model.data.tables import CsvTable, ParquetTable, csv_names, parquet_names
from session_model.data.text_lines import DEFAULT_MALFORMED_SHARE, MalformedLines, read_lines
from session_model.data.tfrecords import TfrecordSessions, tfrecord_files

OwnFormat = Literal["session-rec", "sequences", "jsonl", "session-ends", "csv", "parquet", "recbole", "tfrecord"]
DataFormat = OwnFormat | PublicFormat
DATA_FORMATS: tuple[DataFormat, ...] = (*get_args(OwnFormat), *get_args(PublicFormat))
TABLE_FORMATS: Final = ("csv", "parquet")

INACTIVITY_GAP_MS = 30 * 60 * 1000
"""Parts the events of a visitor without a session id into sessions; inclusive, as in the stream."""
SEQUENCES_START_MS = 1_577_836_800_000
"""2020-01-01: where the made-up clock of what has no times starts; it moves by `SEQUENCES_STEP_MS` a click."""
SEQUENCES_STEP_MS = 10_000
_SESSION_REC_COLUMNS = ("SessionId", "ItemId", "Time")


class ReadOptions(msgspec.Struct, frozen=True):
    """What the user says of DATA beside its format.

    layout: of `csv` and `parquet`. mapping: of `jsonl`. catalog_mapping: of the catalog's records.
    """

    layout: TableLayout | None = None
    mapping: FieldMapping = FieldMapping()
    catalog_mapping: CatalogMapping = OURS


AS_IT_IS: Final = ReadOptions()


class EventFormat(Protocol):
    """How the files of a format are read; whether it has times and sessions may be known after the first file only."""

    @property
    def has_times(self) -> bool:
        """Whether `Row.time_ms` is a time."""

    @property
    def is_by_visitor(self) -> bool:
        """Whether the owner of a row is a visitor, whose sessions are still to be parted."""

    def rows(self, malformed: MalformedLines) -> Iterator[Row]:
        """Return the events of one file."""


def read_sessions(
    path: Path,
    data_format: DataFormat,
    *,
    options: ReadOptions = AS_IT_IS,
    max_malformed_share: float = DEFAULT_MALFORMED_SHARE,
) -> Sessions:
    """Load all of DATA; `item_ids` are those of these files, in order of first appearance.

    Raises UsageError where path, format or options are wrong and InsessionError where the content is. `jsonl`: events
    without consent and repeated ones (same visitor, event_id and time) are left out; a session is that of the
    session_id, or ends by `INACTIVITY_GAP_MS`, as it does wherever visitors are told but no sessions.
    """
    event_format = _event_format(path, data_format, options)
    owners, explicit_ids, columns, explicit = Interner(), Interner(), EventColumns(), array("q")
    for row in _rows(path, data_format, event_format, max_malformed_share):
        if row.event_type == "identify":
            continue
        columns.add(
            owners.code(row.owner),
            row.item_id,
            row.time_ms,
            row.event_type,
            row.price,
            row.location,
            is_cut=row.is_cut,
        )
        explicit.append(-1 if row.session is None else explicit_ids.code(row.session))
    if event_format.is_by_visitor:
        names = _SessionNames(owners.texts, explicit_ids.texts)
        codes, session_ids = _split_by_gap(columns, np.array(explicit, np.int64), names)
    else:
        codes = np.array(columns.sessions, np.int64)
        session_ids = [SessionId(text) for text in owners.texts]
    return assemble(columns, codes, session_ids, has_times=event_format.has_times)


def read_events(
    path: Path,
    data_format: DataFormat,
    *,
    options: ReadOptions = AS_IT_IS,
    max_malformed_share: float = DEFAULT_MALFORMED_SHARE,
) -> Iterator[ClickEvent]:
    """Return the events of DATA in event-time order, ties in file order (`jsonl`) or in order of the sessions.

    But for `jsonl`, visitor_id and session_id are the session's id and event_id is `{session}-{n}` with n from 1;
    `session-rec` and `sequences` say views. What has no times gets them: its sessions follow each other, a click every
    `SEQUENCES_STEP_MS` from `SEQUENCES_START_MS`. Raises as `read_sessions`.
    """
    if data_format == "jsonl":
        _event_format(path, data_format, options)
        clicks = _each(data_files(path), data_format, ClickLog(options.mapping).events, max_malformed_share)
        yield from sorted(clicks, key=lambda event: event.event_time_ms)
        return
    sessions = read_sessions(path, data_format, options=options, max_malformed_share=max_malformed_share)
    yield from _session_events(sessions)


def _event_format(path: Path, data_format: DataFormat, options: ReadOptions) -> EventFormat:
    if data_format not in DATA_FORMATS:
        raise UsageError(f"format {data_format!r} is none of {', '.join(DATA_FORMATS)}")
    layout = options.layout
    if layout is not None and data_format not in TABLE_FORMATS:
        raise UsageError(f"--format {data_format} has its own columns; leave out --columns, or use --format csv")
    if data_format == "jsonl":
        return _JsonLines(options.mapping)
    if data_format == "recbole":
        return CsvTable(None)
    if data_format in TABLE_FORMATS:
        if layout is None:
            raise UsageError(_ask_for_columns(data_files(path)[0], data_format))
        return CsvTable(layout) if data_format == "csv" else ParquetTable(layout)
    return PUBLIC_DATASETS[data_format] if data_format in PUBLIC_DATASETS else _OWN_FORMATS[data_format]()


def _ask_for_columns(file: Path, data_format: DataFormat) -> str:
    form = seen_form(file)
    if form is not None and form.data_format != data_format:
        return f"{file}: {form}"
    names = csv_names(file) if data_format == "csv" else parquet_names(file)
    return f"{file}: {without_layout(names)}" if names else f"{file} is empty; name a file with a table"


def _rows(path: Path, data_format: DataFormat, event_format: EventFormat, share: float) -> Iterator[Row]:
    if data_format in PUBLIC_DATASETS:
        return _each(PUBLIC_DATASETS[data_format].paths(path), data_format, event_format.rows, share)
    if data_format == "tfrecord":
        return _each(tfrecord_files(path), data_format, event_format.rows, share)
    return _each(data_files(path), data_format, event_format.rows, share)


_One = TypeVar("_One")


def _each(
    files: Sequence[Path], data_format: DataFormat, read: Callable[[MalformedLines], Iterator[_One]], share: float
) -> Iterator[_One]:
    """Read file by file; a part may be empty, but not all of them."""
    n_usable, accounts = 0, list[MalformedLines]()
    for file in files:
        malformed = MalformedLines(file, share, data_format)
        for one in read(malformed):
            n_usable += 1
            yield one
        malformed.settle()
        accounts.append(malformed)
    max(accounts, key=lambda account: account.last_line).need(n_usable)


class _SessionRec:
    has_times = True
    is_by_visitor = False

    def rows(self, malformed: MalformedLines) -> Iterator[Row]:
        """Read views."""
        lines, clock = read_lines(malformed), EventClock(malformed.path, "s")
        _, header = next(lines, (0, ""))
        if not header:
            return
        places = _column_places(header, malformed.path)
        for number, line in lines:
            fields = line.split("\t")
            try:
                session, item, time = (fields[place].strip() for place in places)
                row = Row(session, item, clock.ms(time))
                check_ids(session, item)
            except (IndexError, ValueError, OverflowError) as error:
                malformed.add(number, "too few columns" if isinstance(error, IndexError) else str(error))
                continue
            yield row


def _column_places(header: str, path: Path) -> list[int]:
    names = [name.strip() for name in header.split("\t")]
    missing = [name for name in _SESSION_REC_COLUMNS if name not in names]
    if missing:
        raise InsessionError(
            f"{path}: the header lacks {', '.join(missing)} (found: {', '.join(names)[:200]}); "
            f"{seen_form(path) or 'name the columns, tab-separated, or choose another --format'}"
        )
    return [names.index(name) for name in _SESSION_REC_COLUMNS]


class _Sequences:
    has_times = False
    is_by_visitor = False

    def __init__(self) -> None:
        self._lines_before = 0

    def rows(self, malformed: MalformedLines) -> Iterator[Row]:
        """Read views; a session is called by its line, counted on over the files.

        Raises UsageError on a table: any text is a session of something, so no line of one would be malformed.
        """
        form = seen_form(malformed.path)
        if form is not None:
            raise UsageError(f"{malformed.path} is no sequences: {form}")
        for number, line in read_lines(malformed):
            items = _SEPARATED_BY_COMMAS.split(line.strip()) if _is_by_commas(line) else line.split()
            try:
                check_ids(*items)
            except ValueError as error:
                malformed.add(number, str(error))
                continue
            session = str(self._lines_before + number)
            for item in items:
                yield Row(session, item, 0)
        self._lines_before += malformed.last_line


_SEPARATED_BY_COMMAS: Final = re.compile(r"[,;|]\s*")


def _is_by_commas(line: str) -> bool:
    """Whether commas (or `;`, `|`) part the items: there is no blank in the line but behind one."""
    if not any(comma in line for comma in ",;|"):
        return False
    parts = line.split()
    return all(part[-1] in ",;|" for part in parts[:-1]) and bool(_SEPARATED_BY_COMMAS.search(line))


class _JsonLines:
    has_times = True
    is_by_visitor = True

    def __init__(self, mapping: FieldMapping) -> None:
        self._log = ClickLog(mapping)
        self._seen = set[int]()

    def rows(self, malformed: MalformedLines) -> Iterator[Row]:
        """Read what may be learned from: with consent, once."""
        for events in self._log.records(malformed):
            if events[0].consent is False or self._is_repeat(events[0]):
                continue
            for event in events:
                yield Row(
                    event.visitor_id,
                    event.item_id,
                    event.event_time_ms,
                    event.event_type,
                    event.price,
                    event.session_id,
                    event.location,
                )

    def _is_repeat(self, event: ClickEvent) -> bool:
        """Return whether this very event was read before, and book it; one without event_id never was."""
        if event.event_id is None:
            return False
        key = hash((event.visitor_id, event.event_id, event.event_time_ms))
        if key in self._seen:
            return True
        self._seen.add(key)
        return False


class _SessionEnds:
    has_times = True
    is_by_visitor = True

    def __init__(self) -> None:
        self._seen = set[str]()

    def rows(self, malformed: MalformedLines) -> Iterator[Row]:
        """Read the sessions of people, each record once: the topic is written at least once."""
        clock = EventClock(malformed.path, "ms")
        for number, line in read_lines(malformed):
            try:
                summary = wire.decode_session_summary(line)
                events = [(event, clock.ms(event.time_ms)) for event in summary.events]
                check_ids(summary.visitor_key, summary.session_id, *(event.item_id for event in summary.events))
            except (msgspec.DecodeError, ValueError, OverflowError, RecursionError) as error:
                malformed.add(number, str(error))
                continue
            if summary.is_bot:
                malformed.ignore("sessions of bots")
            elif summary.id in self._seen:
                malformed.ignore("repeated records")
            else:
                self._seen.add(summary.id)
                is_cut = summary.event_count > len(events)
                for event, time_ms in events:
                    yield Row(
                        summary.visitor_key,
                        event.item_id,
                        time_ms,
                        event.event_type,
                        event.price,
                        summary.session_id,
                        summary.location,
                        is_cut,
                    )


class _SessionNames(msgspec.Struct, frozen=True):
    visitors: list[str]
    explicit: list[str]

    def of(self, visitor: int, explicit: int, started_ms: int) -> SessionId:
        """Return a session's name: the shop's own id, else visitor and start."""
        return SessionId(self.explicit[explicit] if explicit >= 0 else f"{self.visitors[visitor]}-{started_ms}")


def _split_by_gap(
    columns: EventColumns, explicit: NDArray[np.int64], names: _SessionNames
) -> tuple[NDArray[np.int64], list[SessionId]]:
    """Return the session of each event, (n_events,) int64 in file order, and the names of the sessions."""
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


_OWN_FORMATS: Final[dict[DataFormat, Callable[[], EventFormat]]] = {
    "session-rec": _SessionRec,
    "sequences": _Sequences,
    "session-ends": _SessionEnds,
    "tfrecord": TfrecordSessions,
}
