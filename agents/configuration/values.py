"""The values of settings: read from what a file or the environment has, and written back as TOML."""

import json
import math
from collections.abc import Mapping
from datetime import date, timedelta
from functools import reduce
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

import msgspec

from agents.configuration.keys import SettingKey, is_section
from agents.durations import duration_text, read_duration
from schemas.errors import UsageError
from schemas.secret import MASK, Secret, masked

_TYPE_NAMES: Final[Mapping[Any, str]] = {
    bool: "true or false",
    float: "number",
    int: "whole number",
    Path: "path",
    Secret: "text (secret)",
    str: "text",
    timedelta: "duration",
}


def read_value(key: SettingKey, given: Any) -> Any:
    """Make a setting's value of what was given; an empty text is what an optional setting has when it is not set.

    Raises UsageError that says what is expected and, unless that is a secret, what was found.
    """
    if key.is_optional and given == "":
        return None
    try:
        return _converted(key, given)
    except (msgspec.ValidationError, OverflowError) as error:
        found = f"a {type(given).__name__}" if key.is_secret else repr(given)
        why = f" ({error})" if get_origin(key.type) in {dict, tuple} else ""
        raise UsageError(f"must be {_expected(key.type)}, found {found}{why}") from error


def type_name(kind: Any) -> str:
    """Return what kind of value a setting takes, as a document does."""
    if get_origin(kind) is Literal:
        return " or ".join(f'"{choice}"' for choice in get_args(kind))
    if get_origin(kind) in {tuple, frozenset}:
        return "list of tables" if get_args(kind) and is_section(get_args(kind)[0]) else "list of texts"
    if get_origin(kind) is dict:
        return "table"
    return _TYPE_NAMES[kind]


def value_of(settings: Any, key: SettingKey) -> Any:
    """Look a key's value up in a settings object."""
    return reduce(getattr, key.path, settings)


def plain(value: Any) -> Any:
    """Turn a setting's value into what JSON and TOML can hold; a secret, in an address too, becomes a mask."""
    match value:
        case Secret() | str():
            return MASK if isinstance(value, Secret) else masked(value)
        case timedelta():
            return duration_text(value)
        case Path():
            return str(value)
        case frozenset():
            return sorted(value)
        case tuple() | dict():
            inner = msgspec.to_builtins(value)
            return inner if isinstance(inner, dict) else list(inner)
    return value


def toml_text(value: Any) -> str:
    """Write a plain value as TOML; None as the empty text, which reads as not set."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)} = {toml_text(entry)}" for name, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml_text, value)) + "]"
    return json.dumps("" if value is None else value, ensure_ascii=False)


def _converted(key: SettingKey, given: Any) -> Any:
    value = msgspec.convert(_prepared(key, given), key.type, strict=False, dec_hook=_from_text)
    if isinstance(value, float) and not math.isfinite(value):  # no bound of a setting refuses nan
        raise OverflowError(value)
    return value


def _prepared(key: SettingKey, given: Any) -> Any:
    if isinstance(given, str):
        if key.type is timedelta:
            duration = read_duration(given)
            return given if duration is None else duration
        if get_origin(key.type) in {tuple, frozenset}:  # the environment has no lists
            return [part.strip() for part in given.split(",") if part.strip()]
    if key.type is str and isinstance(given, date):  # TOML has times of its own
        return given.isoformat()
    return given


def _from_text(target: type, given: Any) -> Any:
    if issubclass(target, Path | Secret) and isinstance(given, str):
        return target(given)
    raise TypeError(target.__name__)


def _expected(kind: Any) -> str:
    if kind is timedelta:
        return "a duration like 500ms, 30s, 5m, 12h or 7d, or seconds"
    name = type_name(kind)
    return name if kind is bool or get_origin(kind) is Literal else f"a {name}"
