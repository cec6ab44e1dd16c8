"""What a sample of JSON objects holds at each path: how often, of which types, which values."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from schemas.ids import MAX_ID_BYTES
from schemas.paths import MAX_LISTS, MAX_PATH_LENGTH, json_in, parse_path

MAX_PATHS: Final = 500
MAX_DEPTH: Final = 8
MAX_DISTINCT: Final = 2_000
_MAX_LINES: Final = 20
"""Of a list; further ones look like these."""
_MAX_NAME: Final = 256
_MAX_TEXT: Final = MAX_ID_BYTES + 1  # so that what is too long for an id still is
_BARE_NAME: Final = re.compile(r"[^\s.\"'\[\]$][^\s.\"'\[\]]*( [^\s.\"'\[\]]+)*")
_PLAIN_KEY: Final = re.compile(r"[\w.$-]{1,100}")


@dataclass(slots=True)
class PathFacts:
    """The scalars at one path, nulls and empty texts left out.

    is_list: the path goes through the lines of a list. objects: numbers of the objects that have something there.
    values: counts of the first distinct ones, long text cut.
    """

    path: str
    is_list: bool
    present: int = 0
    objects: set[int] = field(default_factory=set)
    types: Counter[type] = field(default_factory=Counter)
    values: Counter[Any] = field(default_factory=Counter)

    def add(self, value: Any, number: int = 0) -> None:
        """Take in one value of the object with this number."""
        self.present += 1
        self.objects.add(number)
        self.types[type(value)] += 1
        value = value[:_MAX_TEXT] if isinstance(value, str) else value
        if value in self.values or len(self.values) < MAX_DISTINCT:
            self.values[value] += 1

    @property
    def distinct_share(self) -> float:
        """Distinct values among those that were counted; 1 where each is another."""
        return len(self.values) / self.values.total()

    def share_of(self, *kinds: type) -> float:
        """Return the share of values that are of exactly one of these types."""
        return sum(self.types[kind] for kind in kinds) / self.present


def facts(objects: Iterable[dict[str, Any]]) -> dict[str, PathFacts]:
    """Walk every object, with the paths spelled as `parse_path` reads them; unprintable names are left out."""
    found: dict[str, PathFacts] = {}
    for number, one in enumerate(objects):
        for path, value in _walk(one, "", 0):
            if path not in found:
                if len(found) >= MAX_PATHS or len(path) > MAX_PATH_LENGTH:
                    continue
                found[path] = PathFacts(path, is_list=bool(parse_path(path).lists))
            found[path].add(value, number)
    return found


def _walk(value: Any, path: str, depth: int) -> Iterator[tuple[str, Any]]:
    if isinstance(value, str):
        value = json_in(value)
    if isinstance(value, dict | list):
        if depth < MAX_DEPTH and len(path) < MAX_PATH_LENGTH - _MAX_NAME:
            yield from _walk_object(value, path, depth) if isinstance(value, dict) else _walk_list(value, path, depth)
    elif isinstance(value, int | float) or (isinstance(value, str) and value.strip()):
        yield path, value


def _walk_object(value: dict[str, Any], path: str, depth: int) -> Iterator[tuple[str, Any]]:
    for name, inner in value.items():
        if name and name.isprintable() and len(name) <= _MAX_NAME:
            step = name if _BARE_NAME.fullmatch(name) else _quoted(name)
            yield from _walk(inner, f"{path}.{step}" if path else step, depth + 1)


def _walk_list(value: list[Any], path: str, depth: int) -> Iterator[tuple[str, Any]]:
    """Walk the lines, or the values by their name where the list is one of names and values."""
    for line in value[:_MAX_LINES]:
        key = line.get("key") if isinstance(line, dict) and "value" in line else None
        if isinstance(key, str) and _PLAIN_KEY.fullmatch(key):
            yield from _walk(line["value"], f"{path}[key={key}].value", depth + 1)
        elif path.count("[]") < MAX_LISTS and path:
            yield from _walk(line, f"{path}[]", depth + 1)


def _quoted(name: str) -> str:
    return '"' + re.sub(r'(["\\])', r"\\\1", name) + '"'
