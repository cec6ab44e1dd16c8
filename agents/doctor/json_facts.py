"""What a sample of JSON objects holds at each path: how often, of which types, which values."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from schemas.events import MAX_ID_LENGTH

MAX_PATHS: Final = 500
MAX_DEPTH: Final = 6
MAX_DISTINCT: Final = 2_000
_MAX_TEXT: Final = MAX_ID_LENGTH + 1  # so that what is too long for an id still is


@dataclass(slots=True)
class PathFacts:
    """The scalars at one dotted path, nulls left out.

    values: counts of the first distinct ones, long text cut. is_list: the path lies in objects of a list, out of a
    mapping's reach.
    """

    path: str
    is_list: bool
    present: int = 0
    types: Counter[type] = field(default_factory=Counter)
    values: Counter[Any] = field(default_factory=Counter)

    def add(self, value: Any) -> None:
        """Take in one value."""
        self.present += 1
        self.types[type(value)] += 1
        value = value[:_MAX_TEXT] if isinstance(value, str) else value
        if value in self.values or len(self.values) < MAX_DISTINCT:
            self.values[value] += 1

    @property
    def distinct_share(self) -> float:
        """Distinct values among those that were counted; 1 where each is another."""
        return len(self.values) / self.values.total()

    def share_of(self, *kinds: type) -> float:
        """Give the share of values that are of exactly one of these types."""
        return sum(self.types[kind] for kind in kinds) / self.present


def facts(objects: Iterable[dict[str, Any]]) -> dict[str, PathFacts]:
    """Walk every object; paths that a mapping could not spell, with a dot or an unprintable character, are left out."""
    found: dict[str, PathFacts] = {}
    for one in objects:
        for path, value, is_list in _walk(one, "", 0, is_list=False):
            if path not in found:
                if len(found) >= MAX_PATHS:
                    continue
                found[path] = PathFacts(path, is_list)
            found[path].add(value)
    return found


def _walk(value: Any, path: str, depth: int, *, is_list: bool) -> Iterator[tuple[str, Any, bool]]:
    if isinstance(value, dict) and depth < MAX_DEPTH:
        for name, inner in value.items():
            if name and "." not in name and name.isprintable():
                yield from _walk(inner, f"{path}.{name}" if path else name, depth + 1, is_list=is_list)
    elif isinstance(value, list):
        for inner in value[:1]:
            yield from _walk(inner, path, depth, is_list=True)
    elif isinstance(value, str | int | float | bool):
        yield path, value, is_list
