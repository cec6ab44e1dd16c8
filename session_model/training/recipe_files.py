"""Recipes as files: TOML with the tables `gru` and `training`; what is left out keeps its default."""

import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from schemas.errors import UsageError
from session_model.files import write_whole
from session_model.networks.settings import GruSettings, TrainingSettings
from session_model.training.presets import Recipe

_TABLES = {"gru": GruSettings, "training": TrainingSettings}
_SEED = "seed"
"""Left to the command line: a recipe says how to train, not by which chance."""
_Settings = TypeVar("_Settings")


def read_recipe(path: Path) -> Recipe:
    """Read a recipe; raises UsageError naming what is wrong in the file."""
    try:
        tables = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"recipe {path} cannot be read ({error}); `insession tune` writes one") from error
    unknown = sorted(set(tables) - set(_TABLES))
    if unknown:
        raise UsageError(f"recipe {path} has {', '.join(unknown)}; there are the tables {' and '.join(_TABLES)}")
    gru = _settings(path, "gru", tables, GruSettings)
    return Recipe(gru, _settings(path, "training", tables, TrainingSettings))


def _settings(path: Path, table: str, tables: dict[str, Any], kind: type[_Settings]) -> _Settings:
    values = tables.get(table, {})
    known = [field.name for field in fields(kind) if field.name != _SEED]  # type: ignore[arg-type] # both are dataclasses
    if not isinstance(values, dict) or set(values) - set(known):
        wrong = ", ".join(sorted(set(values) - set(known))) if isinstance(values, dict) else repr(values)
        raise UsageError(f"recipe {path}: [{table}] has {wrong}; there are {', '.join(known)}")
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise UsageError(f"recipe {path}: [{table}] {error}") from error


def write_recipe(path: Path, recipe: Recipe, comment: str) -> None:
    """Write a recipe with a line of comment; values of None are left out, as TOML has none."""
    lines = [f"# {comment}"]
    for table, settings in (("gru", recipe.gru), ("training", recipe.training)):
        lines += ["", f"[{table}]"]
        values = msgspec.to_builtins(settings)
        lines += [f"{name} = {_toml(value)}" for name, value in values.items() if value is not None and name != _SEED]
    write_whole(path, lambda file: file.write(("\n".join(lines) + "\n").encode()))


def _toml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)
