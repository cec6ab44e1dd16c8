"""What can be set: every key of a settings class, with its type, default and doc line.

A section is a dataclass or Struct; a field that is itself one is a section in it. The class docstring says what each
field means, on a line `name: text` of its own; lines after it that are indented belong to it.
"""

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

from msgspec import Struct

from schemas.secret import Secret

ENVIRONMENT_PREFIX: Final = "INSESSION_"
_DOC_LINE: Final = re.compile(r"(\w+): (\S.*)")


@dataclass(frozen=True, slots=True, eq=False)
class SettingKey:
    """One thing that can be set; keys compare by identity.

    type: without the `| None` of an optional one.
    secret_key: of a key that names a file, the key whose value is the file's content; None = an ordinary key.
    """

    path: tuple[str, ...]
    type: Any
    default: Any
    doc: str
    is_optional: bool = False
    secret_key: "SettingKey | None" = None

    @property
    def name(self) -> str:
        """Spell the key as messages and documents do: `kafka.brokers`."""
        return ".".join(self.path)

    @property
    def variable(self) -> str:
        """Return the environment variable that sets it."""
        return ENVIRONMENT_PREFIX + "__".join(self.path).upper()

    @property
    def is_secret(self) -> bool:
        """Return whether the value must not be shown."""
        return self.type is Secret


@dataclass(frozen=True, slots=True)
class Section:
    """One settings class, with what can be set in it, in the order of its fields."""

    path: tuple[str, ...]
    type: Any
    doc: str
    keys: tuple[SettingKey, ...]
    sections: "tuple[Section, ...]"

    @property
    def name(self) -> str:
        """Spell the section as TOML does: `kafka.security`."""
        return ".".join(self.path)

    def names(self) -> list[str]:
        """List the last names of the keys and sections directly in it."""
        return sorted([key.path[-1] for key in self.keys] + [section.path[-1] for section in self.sections])

    def key(self, name: str) -> SettingKey | None:
        """Find a key directly in it."""
        return next((key for key in self.keys if key.path[-1] == name), None)

    def section(self, name: str) -> "Section | None":
        """Find a section directly in it."""
        return next((section for section in self.sections if section.path[-1] == name), None)

    def walk(self) -> "Iterator[Section]":
        """Yield this section, then all below it."""
        yield self
        for section in self.sections:
            yield from section.walk()


def section_of(root: type) -> Section:
    """Describe a settings class and all sections in it; every field has a default."""
    return _section((), root, root())


def _section(path: tuple[str, ...], section: Any, defaults: Any) -> Section:
    docs = doc_lines(section)
    keys: list[SettingKey] = []
    sections: list[Section] = []
    for name, hint in get_type_hints(section).items():
        default = getattr(defaults, name)
        if is_section(hint):
            sections.append(_section((*path, name), hint, default))
            continue
        kind, is_optional = _without_none(hint)
        keys.append(SettingKey((*path, name), kind, default, docs.get(name, ""), is_optional))
        if kind is Secret:
            keys.append(_file_of(keys[-1]))
    return Section(path, section, _first_line(section), tuple(keys), tuple(sections))


def _file_of(secret: SettingKey) -> SettingKey:
    path = (*secret.path[:-1], f"{secret.path[-1]}_file")
    doc = f"File that holds `{secret.path[-1]}`, instead of it, as orchestrators mount secrets."
    return SettingKey(path, Path, None, doc, is_optional=True, secret_key=secret)


def is_section(hint: Any) -> bool:
    """Return whether it is a section, not a value."""
    return isinstance(hint, type) and (is_dataclass(hint) or issubclass(hint, Struct))


def doc_lines(section: Any) -> dict[str, str]:
    """Read what the class docstring says of each field, on one line."""
    docs: dict[str, str] = {}
    name = None
    for line in (inspect.getdoc(section) or "").splitlines()[1:]:
        if match := _DOC_LINE.fullmatch(line):
            name, docs[match[1]] = match[1], match[2]
        elif name is not None and line.startswith(" "):
            docs[name] += f" {line.strip()}"
        else:
            name = None
    return docs


def _first_line(section: Any) -> str:
    return (inspect.getdoc(section) or "").partition("\n")[0]


def _without_none(hint: Any) -> tuple[Any, bool]:
    if get_origin(hint) in {Union, UnionType}:
        kinds = [kind for kind in get_args(hint) if kind is not NoneType]
        assert len(kinds) == 1, f"a setting has one type, or that and None; found {hint}"
        return kinds[0], True
    return hint, False
