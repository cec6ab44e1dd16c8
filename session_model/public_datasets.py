"""Public data sets as they are published: RSC15, Diginetica, Retailrocket, REES46 and OTTO.

A path is the file of views or clicks, or the folder with the published files: then purchases that lie beside it are
read, too. Times are UTC. A line that cannot be used is left out, counted and named (session_model.text_lines).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal, NamedTuple
from zlib import crc32

import msgspec

from schemas.errors import UsageError
from schemas.events import MAX_ID_LENGTH, MAX_PRICE, EventType
from session_model.text_lines import MalformedLines, read_lines

PublicFormat = Literal["rsc15", "diginetica", "retailrocket", "rees46", "otto"]

MAX_TIME_MS: Final = 10**14
_DAY_MS: Final = 24 * 60 * 60 * 1000


class Row(NamedTuple):
    """One event; `owner` is its session, or its visitor where the data set has no sessions."""

    owner: str
    item_id: str
    time_ms: int
    event_type: EventType
    price: float | None = None


@dataclass(frozen=True, slots=True)
class _File:
    """One published file: its name, how its cells part, which columns are read (None: by place), what a line says.

    parse: raises ValueError, LookupError or msgspec.DecodeError for a line that is malformed.
    """

    name: str
    delimiter: str
    columns: tuple[str, ...] | None
    parse: Callable[[list[str]], Iterable[Row]]


@dataclass(frozen=True, slots=True)
class PublicDataset:
    """The files of a data set, the first one needed; `is_by_visitor`: sessions are made by the inactivity gap."""

    files: tuple[_File, ...]
    is_by_visitor: bool = False


def read_rows(path: Path, dataset: PublicDataset, max_malformed_share: float) -> Iterator[Row]:
    """Give the events, file by file.

    Raises UsageError where the first file is not in the folder or a header lacks a column, and InsessionError where too
    many lines are malformed.
    """
    if not path.is_dir():
        yield from _rows(path, dataset.files[0], max_malformed_share)
        return
    for place, file in enumerate(dataset.files):
        found = next((one for one in (path / file.name, path / f"{file.name}.gz") if one.is_file()), None)
        if found is not None:
            yield from _rows(found, file, max_malformed_share)
        elif place == 0:
            raise UsageError(f"{path} has no {file.name} (or {file.name}.gz); name that file or its folder")


def _rows(path: Path, file: _File, max_malformed_share: float) -> Iterator[Row]:
    malformed, usable = MalformedLines(path, max_malformed_share), 0
    lines = read_lines(malformed)
    places = None if file.columns is None else _places(next(lines, (0, ""))[1], file, path)
    for number, line in lines:
        cells = line.split(file.delimiter) if file.delimiter else [line]
        try:
            rows = list(file.parse(cells if places is None else [cells[place] for place in places]))
            for row in rows:
                _check(row)
        except (ValueError, LookupError, OverflowError, msgspec.DecodeError) as error:
            malformed.add(number, "too few columns" if isinstance(error, IndexError) else str(error))
            continue
        usable += len(rows)
        yield from rows
    malformed.settle(usable)


def _places(header: str, file: _File, path: Path) -> list[int]:
    assert file.columns is not None
    names = [name.strip().strip('"') for name in header.split(file.delimiter)]
    missing = [name for name in file.columns if name not in names]
    if missing:
        raise UsageError(f"{path}: the header lacks {', '.join(missing)} (found: {', '.join(names)[:200]})")
    return [names.index(name) for name in file.columns]


def _check(row: Row) -> None:
    for text in (row.owner, row.item_id):
        if not 0 < len(text) <= MAX_ID_LENGTH:
            raise ValueError(f"an id has {len(text)} characters, 1 to {MAX_ID_LENGTH} are allowed")
    if not 0 <= row.time_ms < MAX_TIME_MS:
        raise ValueError(f"{row.time_ms} is no time in Unix milliseconds")


def _rsc15_click(cells: list[str]) -> Iterator[Row]:
    session, time, item = cells[:3]
    yield Row(session, item, _utc_ms(time), "view")


def _rsc15_buy(cells: list[str]) -> Iterator[Row]:
    session, time, item, price = cells[:4]
    yield Row(session, item, _utc_ms(time), "purchase", _price(price))


def _diginetica_view(cells: list[str]) -> Iterator[Row]:
    """Add the milliseconds since the session began to its day and to a moment of that day, made from its name.

    When it began is not published. Were all to begin at midnight, a day's sessions would stand in the order of their
    lengths, and the latest of a file, which models are judged and calibrated on, would be the longest.
    """
    session, item, timeframe_ms, date = cells
    yield Row(session, item, _utc_ms(date) + crc32(session.encode()) % _DAY_MS + int(timeframe_ms), "view")


def _diginetica_purchase(cells: list[str]) -> Iterator[Row]:
    for row in _diginetica_view(cells):
        yield row._replace(event_type="purchase")


def _retailrocket_event(cells: list[str]) -> Iterator[Row]:
    time_ms, visitor, event, item = cells
    yield Row(visitor, item, int(time_ms), _RETAILROCKET_TYPES[event])


def _rees46_event(cells: list[str]) -> Iterator[Row]:
    time, event, item, price, session = cells
    yield Row(session, item, _utc_ms(time.removesuffix(" UTC")), _REES46_TYPES[event], _price(price))


class _OttoEvent(msgspec.Struct):
    aid: int
    ts: int
    type: Literal["clicks", "carts", "orders"]


class _OttoSession(msgspec.Struct):
    session: int
    events: list[_OttoEvent]


_decode_otto = msgspec.json.Decoder(_OttoSession).decode


def _otto_session(cells: list[str]) -> Iterator[Row]:
    session = _decode_otto(cells[0])
    for event in session.events:
        yield Row(str(session.session), str(event.aid), event.ts, _OTTO_TYPES[event.type])


def _utc_ms(text: str) -> int:
    time = datetime.fromisoformat(text.strip())
    return round((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)


def _price(text: str) -> float | None:
    """Read a price; RSC15 writes 0 where it is unknown."""
    price = float(text) if text.strip() else 0.0
    if not 0 <= price <= MAX_PRICE:
        raise ValueError(f"{text!r} is no price")
    return price or None


_RETAILROCKET_TYPES: Final[dict[str, EventType]] = {"view": "view", "addtocart": "cart", "transaction": "purchase"}
_REES46_TYPES: Final[dict[str, EventType]] = {
    "view": "view",
    "cart": "cart",
    "remove_from_cart": "remove",
    "purchase": "purchase",
}
_OTTO_TYPES: Final[dict[str, EventType]] = {"clicks": "view", "carts": "cart", "orders": "purchase"}
_DIGINETICA_COLUMNS: Final = ("sessionId", "itemId", "timeframe", "eventdate")

PUBLIC_DATASETS: Final[dict[PublicFormat, PublicDataset]] = {
    "rsc15": PublicDataset(
        (
            _File("yoochoose-clicks.dat", ",", None, _rsc15_click),
            _File("yoochoose-buys.dat", ",", None, _rsc15_buy),
        )
    ),
    "diginetica": PublicDataset(
        (
            _File("train-item-views.csv", ";", _DIGINETICA_COLUMNS, _diginetica_view),
            _File("train-purchases.csv", ";", _DIGINETICA_COLUMNS, _diginetica_purchase),
        )
    ),
    "retailrocket": PublicDataset(
        (_File("events.csv", ",", ("timestamp", "visitorid", "event", "itemid"), _retailrocket_event),),
        is_by_visitor=True,
    ),
    "rees46": PublicDataset(
        (
            _File(
                "2019-Oct.csv",
                ",",
                ("event_time", "event_type", "product_id", "price", "user_session"),
                _rees46_event,
            ),
        )
    ),
    "otto": PublicDataset((_File("otto-recsys-train.jsonl", "", None, _otto_session),)),
}
