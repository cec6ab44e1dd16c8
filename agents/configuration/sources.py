"""Who gives settings: a TOML file, the environment, the command line; each value with where it comes from."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from agents.configuration.keys import ENVIRONMENT_PREFIX, Section
from schemas.errors import UsageError


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from; `name` is the file's path or the variable's name."""

    kind: Literal["default", "file", "variable", "option"]
    name: str

    def __str__(self) -> str:
        return self.name


DEFAULT = Origin("default", "default")
COMMAND_LINE = Origin("option", "the command line")


@dataclass(frozen=True, slots=True)
class Given:
    """One value that somebody gave; an empty mapping stands for a section without keys."""

    path: tuple[str, ...]
    value: Any
    origin: Origin

    @property
    def name(self) -> str:
        """Spell the key."""
        return ".".join(self.path)


def from_file(file: Path) -> Iterator[Given]:
    """Read a TOML file; raises UsageError where it cannot be read."""
    try:
        values = tomllib.loads(file.read_text())
    except OSError as error:
        raise UsageError(f"settings file {file}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"settings file {file}: {error}") from error
    return _leaves(values, Origin("file", str(file)))


def from_environment(environment: Mapping[str, str], root: Section) -> Iterator[Given]:
    """Read the variables of the form `INSESSION_SECTION__KEY`.

    Raises UsageError for one that would be a setting of `root` if its underscore were two.
    """
    meant = {key.variable.replace("__", "_"): key.variable for section in root.walk() for key in section.keys}
    for name, value in sorted(environment.items()):
        if name in meant:
            raise UsageError(f"{name}: between section and key there are two underscores: {meant[name]}")
        if name.startswith(ENVIRONMENT_PREFIX) and "__" in name:
            path = name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
            yield Given(tuple(path), value, Origin("variable", name))


def from_options(options: Mapping[str, Mapping[str, Any]]) -> Iterator[Given]:
    """Read what a command was told, by section and key."""
    return _leaves(options, COMMAND_LINE)


def _leaves(values: Mapping[str, Any], origin: Origin, path: tuple[str, ...] = ()) -> Iterator[Given]:
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, origin, (*path, name))
        else:
            yield Given((*path, name), value, origin)
