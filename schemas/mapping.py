"""Field mapping: how a shop's own JSON becomes a ClickEvent, stated in settings instead of code.

[clickstream.mapping.paths]
visitor_id = "user.id"
event_type = "action"
event_time = "ts"
[clickstream.mapping.values.event_type]
product_view = "view"
order = "purchase"
[clickstream.mapping]
time_format = "unix_s"
"""

from collections.abc import Callable
from typing import Any, Literal, get_args

from msgspec import Struct, field

from schemas.errors import UsageError
from schemas.events import ClickEvent

TimeFormat = Literal["rfc3339", "unix_s", "unix_ms", "unix_us"]
FIELDS: frozenset[str] = frozenset(ClickEvent.__struct_fields__)
_MAX_DEPTH = 16

_TO_MS: dict[TimeFormat, Callable[[Any], Any]] = {
    "rfc3339": lambda value: value,
    "unix_s": lambda value: int(float(value) * 1000),
    "unix_ms": int,
    "unix_us": lambda value: int(value) // 1000,
}


class FieldMapping(Struct, frozen=True, kw_only=True):
    """Where each ClickEvent field is found in the shop's JSON.

    paths: By ClickEvent field, a dotted path into the shop's object; without one it is looked up by its own name.
    values: By ClickEvent field, what a shop's value is called here; a value not listed is taken as it is.
    time_format: Of the event time; numbers and numeric strings are both read.
    """

    paths: dict[str, str] = field(default_factory=dict)
    values: dict[str, dict[str, str]] = field(default_factory=dict)
    time_format: TimeFormat = "rfc3339"

    def __post_init__(self) -> None:
        """Refuse a mapping that names what does not exist."""
        for table in ("paths", "values"):
            for key in getattr(self, table):
                if key not in FIELDS:
                    known = sorted(FIELDS)
                    raise UsageError(f"clickstream.mapping.{table}: {key!r} is no field of a click; fields are {known}")
        for name, path in self.paths.items():
            if not all(parts := path.split(".")) or len(parts) > _MAX_DEPTH:
                raise UsageError(
                    f"clickstream.mapping.paths.{name}: {path!r} is no dotted path of at most {_MAX_DEPTH} names"
                )
        if self.time_format not in get_args(TimeFormat):
            raise UsageError(f"clickstream.mapping.time_format: {self.time_format!r} is none of {get_args(TimeFormat)}")

    @property
    def is_identity(self) -> bool:
        """True where the shop writes ClickEvents as they are."""
        return not self.paths and not self.values and self.time_format == "rfc3339"

    def apply(self, shop_event: dict[str, Any]) -> dict[str, Any]:
        """Give the ClickEvent fields of a shop's decoded JSON object; raises ValueError on what it cannot convert.

        Times, numbers and booleans may be text. An id may be a number.
        """
        fields: dict[str, Any] = {}
        for name in FIELDS:
            value = _look_up(shop_event, self.paths.get(name, name))
            if value is None:
                continue
            fields[name] = self._renamed(name, value)
        if "event_time" in fields:
            fields["event_time"] = self._time(fields["event_time"])
        return fields

    def visitor_id(self, shop_event: dict[str, Any]) -> Any:
        """Give the visitor of a shop's decoded JSON object, as `apply` does; None where there is none."""
        return self._renamed("visitor_id", _look_up(shop_event, self.paths.get("visitor_id", "visitor_id")))

    def _renamed(self, name: str, value: Any) -> Any:
        if name in _ID_FIELDS and isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if isinstance(value, str):
            value = self.values.get(name, {}).get(value, value)
            return _from_text(name, value) if name in _FROM_TEXT else value
        return value

    def _time(self, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError("event_time is a boolean")  # noqa: TRY004 - the contract of `apply`
        try:
            return _TO_MS[self.time_format](value)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"event_time {value!r} is no {self.time_format} time") from error


_ID_FIELDS = frozenset({"visitor_id", "item_id", "session_id", "event_id", "location", "device"})


_FROM_TEXT: dict[str, Callable[[str], Any]] = {
    "price": float,
    "quantity": int,
    "consent": lambda text: {"true": True, "false": False}[text.lower()],
}


def _from_text(name: str, text: str) -> Any:
    try:
        return _FROM_TEXT[name](text)
    except (KeyError, ValueError) as error:
        kind = "neither true nor false" if name == "consent" else "no number"
        raise ValueError(f"{name} {text!r} is {kind}; [clickstream.mapping.values.{name}] can rename it") from error


def _look_up(shop_event: Any, path: str) -> Any:
    for name in path.split("."):
        if not isinstance(shop_event, dict):
            return None
        shop_event = shop_event.get(name)
    return shop_event
