"""Recipes as files: TOML with the table of a network and `training`; what is left out keeps its default."""

import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import msgspec

from schemas.errors import UsageError
from session_model.files import write_whole
from session_model.training.presets import AttentionRecipe, GruRecipe, Recipe

_KINDS: dict[str, type[Recipe]] = {"gru": GruRecipe, "attention": AttentionRecipe}
"""By the table of the network, which is the GRU where a file has none."""
_SEED = "seed"
"""Left to the command line: a recipe says how to train, not by which chance."""


def read_recipe(path: Path) -> Recipe:
    """Read a recipe; raises UsageError naming what is wrong in the file."""
    try:
        tables = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"recipe {path} cannot be read ({error}); `insession tune` writes one") from error
    unknown = sorted(set(tables) - {*_KINDS, "training"})
    if unknown:
        known = ", ".join((*_KINDS, "training"))
        raise UsageError(f"recipe {path} has {', '.join(unknown)}; there are the tables {known}")
    networks = [table for table in _KINDS if table in tables] or ["gru"]
    if len(networks) > 1:
        raise UsageError(f"recipe {path} has {' and '.join(networks)}; a recipe is of one network: leave one in")
    kind = _KINDS[networks[0]]
    return kind(**{field.name: _settings(path, field.name, tables, field.type) for field in fields(kind)})


def _settings(path: Path, table: str, tables: dict[str, Any], kind: Any) -> Any:
    values = tables.get(table, {})
    known = [field.name for field in fields(kind) if field.name != _SEED]
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
    for table, values in msgspec.to_builtins(recipe).items():
        lines += ["", f"[{table}]"]
        lines += [f"{name} = {_toml(value)}" for name, value in values.items() if value is not None and name != _SEED]
    write_whole(path, lambda file: file.write(("\n".join(lines) + "\n").encode()))


def _toml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)
