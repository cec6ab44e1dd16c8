"""Makes a settings object of what was given, and says of everything that is wrong what it is and who gave it."""

import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Generic, TypeVar, get_origin

from agents.configuration.keys import Section, SettingKey, section_of
from agents.configuration.sources import DEFAULT, Given, Origin
from agents.configuration.values import read_value
from schemas.errors import UsageError
from schemas.secret import Secret

T = TypeVar("T")
_MAX_SECRET_BYTES = 64 * 1024
_IN_SECONDS = "_seconds"


@dataclass(frozen=True, slots=True)
class Reading(Generic[T]):
    """What became of the settings that were given.

    settings: None where there are problems.
    origins: of each key that somebody gave, by its name; of a table that several gave parts of, all of them.
    warnings: names that were read and will not be for ever.
    """

    settings: T | None
    origins: Mapping[str, tuple[Origin, ...]]
    problems: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    def origin_names(self, key: SettingKey) -> str:
        """Return who gave the key, or that nobody did."""
        return ", ".join(map(str, self.origins.get(key.name, (DEFAULT,))))

    def valid(self) -> T:
        """Return the settings, and warn on stderr; raises UsageError with all problems, a line each."""
        if self.settings is not None:
            sys.stderr.writelines(f"insession: {warning}\n" for warning in self.warnings)
            return self.settings
        if len(self.problems) == 1:
            raise UsageError(self.problems[0])
        raise UsageError("\n  ".join([f"{len(self.problems)} settings are wrong:", *self.problems]))


def read(root: type[T], given: Iterable[Given]) -> Reading[T]:
    """Make a `root` of what was given, the last of equal paths winning; every field keeps its default otherwise."""
    section = section_of(root)
    reader = _Reader()
    for one in given:
        reader.take(section, one)
    settings = reader.build(section)
    origins = {name: tuple(dict.fromkeys(one.origin for one in found)) for name, found in reader.given_by_key().items()}
    return Reading(None if reader.problems else settings, origins, tuple(reader.problems), tuple(reader.warnings))


@dataclass(slots=True)
class _Reader:
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    given: dict[SettingKey, dict[tuple[str, ...], Given]] = field(default_factory=dict)

    def take(self, root: Section, one: Given) -> None:
        """Find the key that a value is for: a typo must not be a default in silence."""
        section = root
        for depth, name in enumerate(one.path):
            key, inner = section.key(name), section.section(name)
            if key is not None:
                self._note(key, one, inside=one.path[depth + 1 :])
                return
            if inner is None and self._take_former(section, name, one):
                return
            if inner is None:
                path = ".".join(one.path[: depth + 1])
                self.problems.append(f"{one.origin}: no setting {path}; {_known(section, name)}")
                return
            section = inner
        if one.value != {}:
            self.problems.append(f"{one.origin}: {one.name} is a section, found a value")

    def _take_former(self, section: Section, name: str, one: Given) -> bool:
        """Read a duration under the name that it had as a number of seconds."""
        key = section.key(name.removesuffix(_IN_SECONDS)) if name.endswith(_IN_SECONDS) else None
        if key is None or key.type is not timedelta:
            return False
        self.warnings.append(
            f"{one.origin}: {one.name} is called {key.name} now and takes a duration, like {one.value}s: the old name "
            "is read in this version only"
        )
        self._note(key, replace(one, value=f"{one.value}s"), inside=())
        return True

    def build(self, section: Section) -> Any:
        """Make the section's object; None where something in it is wrong."""
        problems_before = len(self.problems)
        values = {inner.path[-1]: self.build(inner) for inner in section.sections}
        for key in section.keys:
            if key in self.given:
                self._read(key, values)
        if len(self.problems) > problems_before:
            return None
        try:
            return section.type(**values)
        except UsageError as error:
            self.problems.append(f"{error}{self._blame(str(error))}")
            return None

    def given_by_key(self) -> dict[str, list[Given]]:
        """List who gave each key; the file of a secret counts as the secret's."""
        found: dict[str, list[Given]] = {}
        for key, parts in self.given.items():
            found.setdefault((key.secret_key or key).name, []).extend(parts.values())
        return found

    def _note(self, key: SettingKey, one: Given, inside: tuple[str, ...]) -> None:
        if inside and get_origin(key.type) is not dict:
            self.problems.append(f"{one.origin}: {key.name} is a value and has no {'.'.join(inside)} in it")
            return
        self.given.setdefault(key, {})[inside] = one

    def _read(self, key: SettingKey, values: dict[str, Any]) -> None:
        parts = self.given[key]
        origin = next(reversed(parts.values())).origin
        try:
            value = read_value(key, _nested(parts))
            if key.secret_key is None:
                values[key.path[-1]] = value
            elif value is not None:
                values[key.secret_key.path[-1]] = self._secret(key.secret_key, value)
        except UsageError as error:
            self.problems.append(f"{origin}: {key.name}: {error}")

    def _secret(self, key: SettingKey, file: Path) -> Secret:
        if key in self.given:
            other = next(iter(self.given[key].values())).origin
            raise UsageError(f"{key.name} is given too, by {other}: give one of the two")
        return _read_secret(file)

    def _blame(self, message: str) -> str:
        """Return who gave the keys that a section's message names, as it must: `section.key`."""
        blamed = [
            f"{name} by {' and '.join(str(one.origin) for one in found)}"
            for name, found in self.given_by_key().items()
            if re.search(rf"(?<![\w.]){re.escape(name)}\b", message)
        ]
        return f" (set: {', '.join(blamed)})" if blamed else ""


def _read_secret(file: Path) -> Secret:
    try:
        with file.open("rb") as content:
            encoded = content.read(_MAX_SECRET_BYTES + 1)
        text = encoded.decode().rstrip("\r\n")
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise UsageError(f"{file} is no UTF-8 text") from None  # the cause would carry the content
    if not text or len(encoded) > _MAX_SECRET_BYTES:
        raise UsageError(f"{file} is empty, or larger than {_MAX_SECRET_BYTES} bytes: it must hold the secret alone")
    return Secret(text)


def _nested(parts: Mapping[tuple[str, ...], Given]) -> Any:
    """Put a table that was given in parts together; an ordinary value has one part."""
    whole = parts.get(())
    if whole is not None and whole.value != {}:
        return whole.value
    table: dict[str, Any] = {}
    for path, one in parts.items():
        inner = table
        for name in path[:-1]:
            inner = inner.setdefault(name, {})
            if not isinstance(inner, dict):
                raise UsageError(f"{one.name} is inside a value that is no table")
        if path:
            inner[path[-1]] = one.value
    return table


def _known(section: Section, name: str) -> str:
    names = section.names()
    close = get_close_matches(name, names, n=1)
    return "".join(f"did you mean {one}? " for one in close) + f"Known here: {', '.join(names)}"
