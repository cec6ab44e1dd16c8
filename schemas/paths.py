"""Paths into a shop's JSON: what `[clickstream.mapping.paths]` says, parsed once and looked up for every record.

    user.id                                    a name in an object, and in that another
    "user.id".name, ["user.id"].name           a name that has a dot, a bracket or a quote in it
    identityMap.ECID[0].id                     a place in a list, from 0; from the end with -1
    event_params[key=search_term].value.text   the first object of a list whose `key` is `search_term`
    order.lines[].sku                          each object of a list: one record gives one event a line
    $record.timestamp                          of the Kafka record itself: its timestamp, `$record.key`,
                                               `$record.headers.ce_type`
    $outer.visitor                             of the object around the list that `events` names

A text that holds a JSON object or list is read as that wherever a path goes on behind it.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import msgspec

MAX_STEPS: Final = 16
MAX_PATH_LENGTH: Final = 500
MAX_LISTS: Final = 3
"""Lists within lists that one path may go through with `[]`."""
RECORD: Final = "$record"
OUTER: Final = "$outer"

_NAME: Final = re.compile(r'"((?:[^"\\]|\\.)*)"|\'([^\']*)\'|([^."\'\[\]]+)')
_BRACKET: Final = re.compile(r"\[\s*(?:(-?\d{1,6})|([^\]=]+)=([^\]]*)|)\s*\]")
_QUOTED: Final = re.compile(rf"\[\s*(?=[\"'])(?:{_NAME.pattern})\s*\]")
_MOST_TEXTS: Final = 16
"""Kept decoded, for every field of every event of a batch may look into the same text."""
_decode_json = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class Select:
    """The first object of a list whose `name` has the text `value`."""

    name: str
    value: str


Step = str | int | Select


@dataclass(frozen=True, slots=True)
class JsonPath:
    """A parsed path, cut at every `[]`: all but the last part lead to a list each, the last one to the value in a line.

    root: where it begins: "" = the event.
    """

    text: str
    root: str
    parts: tuple[tuple[Step, ...], ...]

    @property
    def lists(self) -> tuple[tuple[Step, ...], ...]:
        """Return the way to the list whose lines the path goes through; () = it goes through none."""
        return self.parts[:-1]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a list: the objects on the way to it, the outermost first. lists: the way, as of `JsonPath.lists`."""

    lists: tuple[tuple[Step, ...], ...]
    objects: tuple[Any, ...]


def parse_path(text: str) -> JsonPath:
    """Parse a path; raises ValueError that says what is wrong with it."""
    if len(text) > MAX_PATH_LENGTH:
        raise ValueError(f"has more than {MAX_PATH_LENGTH} characters")
    parts: list[list[Step]] = [[]]
    at, is_name_due = 0, True
    while at < len(text):
        found = _QUOTED.match(text, at)
        if found is not None:
            parts[-1].append(_name(found))
        elif text[at] == "[":
            found = _BRACKET.match(text, at)
            if found is None:
                raise ValueError('has a bracket that is none of [3], [], [name=value] and ["name"]')
            _add_bracket(parts, found)
        else:
            at += not is_name_due and text[at] == "."
            found = _NAME.match(text, at)
            if found is None or (not is_name_due and text[at - 1] != "."):
                raise ValueError(f"is no path at {text[at:] or 'its end'!r}")
            parts[-1].append(_name(found))
        at, is_name_due = found.end(), False
    if is_name_due or sum(map(len, parts)) > MAX_STEPS or len(parts) - 1 > MAX_LISTS:
        raise ValueError(f"is empty, or has more than {MAX_STEPS} steps or {MAX_LISTS} `[]`")
    root = str(parts[0].pop(0)) if parts[0] and parts[0][0] in {RECORD, OUTER} and text[0] == "$" else ""
    return JsonPath(text, root, tuple(map(tuple, parts)))


def _name(found: re.Match[str]) -> str:
    quoted, single, bare = found.groups()
    if quoted is not None:
        return re.sub(r"\\(.)", r"\1", quoted)
    return single if single is not None else bare.strip()


def _add_bracket(parts: list[list[Step]], found: re.Match[str]) -> None:
    index, name, value = found.groups()
    if index is not None:
        parts[-1].append(int(index))
    elif name is not None:
        parts[-1].append(Select(name.strip().strip("\"'"), value.strip().strip("\"'")))
    else:
        parts.append([])


def look_up(value: Any, steps: tuple[Step, ...]) -> Any:
    """Follow `steps` from `value`; None where they lead nowhere."""
    for step in steps:
        if isinstance(value, str):
            value = json_in(value)
        if isinstance(step, str):
            if not isinstance(value, dict):
                return None
            value = value.get(step)
        elif not isinstance(value, list):
            return None
        elif isinstance(step, int):
            value = value[step] if -len(value) <= step < len(value) else None
        else:
            value = _selected(value, step)
    return value


def lines_of(start: Any, lists: tuple[tuple[Step, ...], ...], at_most: int) -> list[Line]:
    """Return the first `at_most` lines of the list that `lists` leads to, lists within lists one after the other."""
    found: list[Line] = []
    for objects in _walk(start, lists):
        if len(found) == at_most:
            break
        found.append(Line(lists, objects))
    return found


def _walk(start: Any, lists: tuple[tuple[Step, ...], ...]) -> Iterator[tuple[Any, ...]]:
    if not lists:
        yield (start,)
        return
    inside = look_up(start, lists[0])
    inside = json_in(inside) if isinstance(inside, str) else inside
    # What was XML once has no list around a single line.
    for one in inside if isinstance(inside, list) else [inside] if isinstance(inside, dict) else ():
        for objects in _walk(one, lists[1:]):
            yield (start, *objects)


def in_line(line: Line, path: JsonPath) -> Any:
    """Look `path` up for a line: from its objects as far as path and line go through the same lists."""
    depth = len(path.lists)
    if path.lists != line.lists[:depth]:
        return None
    return look_up(line.objects[depth], path.parts[-1])


@lru_cache(_MOST_TEXTS)
def json_in(text: str) -> Any:
    """Return what a text holds as JSON, not to be changed; the text itself where that is no object and no list."""
    start = text.lstrip()[:1]
    if start not in {"{", "["}:
        return text
    try:
        return _decode_json(text)
    except (ValueError, RecursionError):
        return text


def text_of(value: Any) -> str | None:
    """Spell a text, number or boolean as value maps do: 1, 1.0 and "1" are `1`; None for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, int | float) else None


def _selected(values: list[Any], select: Select) -> Any:
    for value in values:
        if isinstance(value, Mapping) and text_of(value.get(select.name)) == select.value:
            return value
    return None
