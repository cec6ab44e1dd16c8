"""Tables of events: which column is what (`--columns`), and from the cells of a row to an event.

Roles: `session` or `visitor`, `item`; beside them `time`, else `position` (orders a session's items, such as the
places of an order), `type` and `price`. With `visitor` alone the inactivity gap parts sessions; with both, a session is
that of the visitor, since such ids are often unique a visitor only (GA4's `ga_session_id`).
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final, Literal, cast, get_args

from msgspec import Struct, field

from schemas.errors import UsageError
from schemas.events import EVENT_TYPES, ITEM_EVENT_TYPES, EventType
from session_model.data.event_times import EventClock
from session_model.data.forms import proposed_columns
from session_model.data.rows import Row, check_ids, price_of
from session_model.data.text_lines import MalformedLines

Role = Literal["session", "visitor", "item", "time", "position", "type", "price"]
IGNORE: Final = "ignore"
Cell = str | int | float | datetime | None
"""What a table holds: text in CSV, values in Parquet."""

_ROLES: Final = get_args(Role)


class TableLayout(Struct, frozen=True):
    """columns: the column of each role, by name, or by number from 1 in a table without a header.

    event_types: what a value of the `type` column is called here, or `ignore`; EventTypes need no entry, what else is
    not listed is ignored and counted. Raises UsageError on what cannot be meant.
    """

    columns: dict[Role, str]
    event_types: dict[str, EventType | Literal["ignore"]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a layout that gives no sessions of items."""
        unknown = [role for role in self.columns if role not in _ROLES]
        if unknown:
            raise UsageError(f"--columns {unknown[0]}=...: there is no such role; roles are {', '.join(_ROLES)}")
        if "item" not in self.columns or not self.columns.keys() & {"session", "visitor"}:
            raise UsageError("--columns needs item=NAME, and session=NAME or visitor=NAME")
        for value, name in self.event_types.items():
            if name not in {*EVENT_TYPES, IGNORE}:
                known = ", ".join(sorted(EVENT_TYPES))
                raise UsageError(f"--event-types {value}={name}: types are {known}, and {IGNORE}")
        if self.event_types and "type" not in self.columns:
            raise UsageError("--event-types renames the values of a column: name it, as --columns type=NAME")

    @property
    def has_times(self) -> bool:
        """Whether events have times."""
        return "time" in self.columns

    @property
    def is_by_visitor(self) -> bool:
        """Whether sessions are still to be parted, by the inactivity gap."""
        return "session" not in self.columns and self.has_times

    def places(self, names: Sequence[str]) -> dict[Role, int] | None:
        """Find the columns in a header; None where one is not in it."""
        if not set(self.columns.values()) <= set(names):
            return None
        return {role: names.index(name) for role, name in self.columns.items()}

    def numbered(self) -> dict[Role, int] | None:
        """Return the columns where all are named by numbers; None where they are not."""
        if not all(name.isdecimal() and int(name) > 0 for name in self.columns.values()):
            return None
        return {role: int(name) - 1 for role, name in self.columns.items()}

    def missing(self, names: Sequence[str]) -> str:
        """Return which columns a header lacks, and what could be meant."""
        lacking = [name for name in self.columns.values() if name not in names]
        return f"there is no column {', '.join(lacking)} (found: {', '.join(names)[:200]}); {_proposal(names)}"


def parse_layout(columns: Iterable[str], event_types: Iterable[str]) -> TableLayout | None:
    """Read `--columns` and `--event-types`, lists of NAME=VALUE with commas; None where neither was given."""
    pairs, renamed = _pairs("--columns", columns), _pairs("--event-types", event_types)
    if not pairs and not renamed:
        return None
    return TableLayout(cast("dict[Role, str]", pairs), cast("dict[str, EventType | Literal['ignore']]", renamed))


def without_layout(names: Sequence[str]) -> str:
    """Ask for `--columns`, naming those that are there."""
    return f"say which column is what (found: {', '.join(names)[:200]}); {_proposal(names)}"


class TableReader:
    """From the cells of a file's rows to events; `places` is where each role's cell is."""

    def __init__(self, layout: TableLayout, places: Mapping[Role, int], malformed: MalformedLines) -> None:
        self._layout = layout
        self._places = places
        self._malformed = malformed
        self._clock = EventClock(malformed.path, None)

    def row(self, number: int, cells: Sequence[Cell]) -> Row | None:
        """Return the event of a row; books one that is malformed or no interaction, with its number, and gives None."""
        try:
            return self._row({role: cells[place] for role, place in self._places.items()})
        except (ValueError, OverflowError, IndexError) as error:
            reason = f"{len(cells)} columns, too few" if isinstance(error, IndexError) else str(error)
            self._malformed.add(number, reason)
            return None

    def _row(self, cells: Mapping[Role, Cell]) -> Row | None:
        event_type = self._event_type(cells)
        if event_type is None:
            return None
        item = id_text(cells["item"])
        if not item and event_type in ITEM_EVENT_TYPES:
            if "type" in cells:
                raise ValueError(f"a {event_type} event needs an item")
            self._malformed.ignore("no item")
            return None
        owner = " ".join(id_text(cells[role]) for role in ("visitor", "session") if role in cells)
        check_ids(item or None, *(id_text(cells[role]) for role in ("visitor", "session") if role in cells), owner)
        time_ms = self._time_ms(cells)
        return Row(owner, item or None, time_ms, event_type, price_of(_plain(cells.get("price"))))

    def _event_type(self, cells: Mapping[Role, Cell]) -> EventType | None:
        if "type" not in cells:
            return "view"
        value = id_text(cells["type"])
        found = self._layout.event_types.get(value, value.lower() if value.lower() in EVENT_TYPES else IGNORE)
        if found == IGNORE:
            self._malformed.ignore(value or "(empty)")
            return None
        return cast("EventType", found)

    def _time_ms(self, cells: Mapping[Role, Cell]) -> int:
        if "time" in cells:
            value = cells["time"]
            if value is None or value == "":
                raise ValueError("it has no time")
            return self._clock.ms(value)
        if "position" in cells:
            return round(float(cast("str | float", cells["position"] or "")))
        return 0


def id_text(value: Cell) -> str:
    """Spell an id; a whole number that a table holds as a fraction, for want of an empty integer, is that number."""
    if value is None:
        return ""
    if isinstance(value, float):
        if value != value:  # noqa: PLR0124 - NaN
            return ""
        return str(int(value)) if value.is_integer() else str(value)
    return str(value).strip()


def _plain(value: Cell) -> str | float | None:
    return None if isinstance(value, datetime) else value


def _proposal(names: Sequence[str]) -> str:
    return f"such as --columns {proposed_columns(names)}"


def _pairs(option: str, texts: Iterable[str]) -> dict[str, str]:
    found = dict[str, str]()
    for part in (part.strip() for text in texts for part in text.split(",")):
        name, separator, value = part.partition("=")
        if not separator or not name or not value:
            raise UsageError(f"{option} {part or ','}: write NAME=VALUE, several with commas between")
        if name in found:
            raise UsageError(f"{option} names {name} twice")
        found[name.strip()] = value.strip()
    return found
