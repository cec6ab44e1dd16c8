"""What every `mapping` of the settings can say of a field, checked once: its paths, its constant and its value map."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from schemas.errors import UsageError
from schemas.paths import JsonPath, parse_path

MAX_PATHS: Final = 32
"""Of one field."""
_MAX_TEXTS: Final = 1_024

Paths = str | tuple[str, ...]
Places = Mapping[str, "Place"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a field is looked for, and what it is where nothing is there."""

    paths: tuple[JsonPath, ...] = ()
    constant: str | None = None

    @property
    def is_in_lines(self) -> bool:
        """Return whether a path goes through a list."""
        return any(path.lists for path in self.paths)


def parsed(paths: Paths, setting: str) -> tuple[JsonPath, ...]:
    """Parse one path or several; raises UsageError that names the setting."""
    found = (paths,) if isinstance(paths, str) else paths
    if not 1 <= len(found) <= MAX_PATHS:
        raise UsageError(f"{setting}: {len(found)} paths, give 1 to {MAX_PATHS}")
    try:
        return tuple(parse_path(path) for path in found)
    except ValueError as error:
        raise UsageError(f"{setting}: {found} {error}") from error


def check_fields(named: Iterable[str], fields: Collection[str], setting: str, of: str) -> None:
    """Refuse a name that is none of `fields`; raises UsageError that names the setting and whose fields they are."""
    for name in named:
        if name not in fields:
            raise UsageError(f"{setting}: {name!r} is no field of {of}; fields are {', '.join(sorted(fields))}")


def own_names(fields: Iterable[str]) -> dict[str, Place]:
    """Look each field up by its own name."""
    return {name: Place((parse_path(name),)) for name in fields}


def stated(base: Places, paths: Mapping[str, Paths], constants: Mapping[str, str]) -> dict[str, Place]:
    """Put stated paths and constants over the places in `base`."""
    found = dict(base)
    for name in paths.keys() | constants.keys():
        own = parsed(paths[name], f"paths.{name}") if name in paths else found.get(name, Place()).paths
        found[name] = Place(own, constants.get(name))
    return found


def is_there(value: Any) -> bool:
    """Return whether anything was found; an empty text is nothing."""
    return value is not None and not (isinstance(value, str) and not value.strip())


def value_map(values: Mapping[str, str], *, own: frozenset[str] = frozenset()) -> Callable[[str], str | None]:
    """Make the lookup of a value map: the very text, else the first pattern that it fits; None where it is not listed.

    own: our own words, which no pattern renames.
    """
    patterns = [(theirs.split("*"), ours) for theirs, ours in values.items() if "*" in theirs]

    @lru_cache(_MAX_TEXTS)
    def ours(text: str) -> str | None:
        if text in values or text in own:
            return values.get(text)
        return next((ours for pieces, ours in patterns if _fits(text, pieces)), None)

    return ours


def _fits(text: str, pieces: list[str]) -> bool:
    """Return whether a text is these pieces with anything between them; a regular expression may search without end."""
    first, *middle, last = pieces
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for piece in middle:
        at = text.find(piece, at, end)
        if at < 0:
            return False
        at += len(piece)
    return True
