"""One frozen settings object: default < TOML file < environment, read once and passed on.

The environment names a setting as `INSESSION_SECTION__KEY`, for example `INSESSION_KAFKA__BROKERS`. A file is given by
`--config` or `INSESSION_CONFIG`.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec

from schemas.errors import UsageError
from schemas.mapping import FieldMapping
from serving.settings import ServingSettings
from streams.app import StreamSettings
from streams.sessionizer import SessionRules
from streams.topics import TopicSettings

ENVIRONMENT_PREFIX = "INSESSION_"
_FILE_VARIABLE = "INSESSION_CONFIG"


@dataclass(frozen=True, slots=True)
class ClickstreamSettings:
    """How the shop's events are read, and what is promised for each.

    freshness_budget: from the record's timestamp to the answer; an older event gets a tier that does not wait.
    pseudonym_secret: keys the hash that stands for a visitor on session ends; secret, the same on all workers.
    """

    mapping: FieldMapping = field(default_factory=FieldMapping)
    freshness_budget: timedelta = timedelta(milliseconds=500)
    pseudonym_secret: str = "insession"  # noqa: S105 - a default for the demo; the worker warns about it


@dataclass(frozen=True, slots=True)
class CatalogSettings:
    """How far the worker relies on the catalog topic.

    start_timeout: the worker begins without the whole catalog after this long, and says so.
    """

    require_catalog: bool = False
    start_timeout: timedelta = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a worker can be told; each section is defined by the room that uses it."""

    kafka: StreamSettings = field(default_factory=StreamSettings)
    topics: TopicSettings = field(default_factory=TopicSettings)
    clickstream: ClickstreamSettings = field(default_factory=ClickstreamSettings)
    sessions: SessionRules = field(default_factory=SessionRules)
    catalog: CatalogSettings = field(default_factory=CatalogSettings)
    serving: ServingSettings = field(default_factory=ServingSettings)


def load_settings(
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    file: Path | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Settings:
    """Read the settings; `overrides` (the command line's) win over everything.

    Raises UsageError that names the key, and the file or variable, of what is wrong.
    """
    if file is None and _FILE_VARIABLE in environment:
        file = Path(environment[_FILE_VARIABLE])
    merged: dict[str, Any] = {}
    if file is not None:
        _merge(merged, _read(file), origin=str(file))
    _merge(merged, _from_environment(environment), origin="the environment")
    _merge(merged, overrides or {}, origin="the command line")
    try:
        return msgspec.convert(merged, Settings, strict=False, dec_hook=_decode)
    except msgspec.ValidationError as error:
        raise UsageError(f"settings: {error}") from error


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text())
    except OSError as error:
        raise UsageError(f"settings file {file}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"settings file {file}: {error}") from error


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in environment.items():
        if name.startswith(ENVIRONMENT_PREFIX) and "__" in name:
            *sections, key = name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
            target = found
            for section in sections:
                target = target.setdefault(section, {})
            target[key] = value
    return found


def _merge(into: dict[str, Any], new: Mapping[str, Any], *, origin: str) -> None:
    _check_names(new, Settings, origin=origin, path="")
    for key, value in new.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge_plain(into[key], value)
        else:
            into[key] = dict(value) if isinstance(value, Mapping) else value


def _merge_plain(into: dict[str, Any], new: Mapping[str, Any]) -> None:
    for key, value in new.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge_plain(into[key], value)
        else:
            into[key] = value


def _check_names(new: Mapping[str, Any], section: Any, *, origin: str, path: str) -> None:
    """Refuse a key that no section defines: a typo must not be a default in silence."""
    known = {known_field.name: known_field.type for known_field in fields(section)}
    for key, value in new.items():
        if key not in known:
            raise UsageError(f"{origin}: no setting {path}{key}; known here: {', '.join(sorted(known))}")
        if is_dataclass(known[key]):
            if not isinstance(value, Mapping):
                raise UsageError(f"{origin}: {path}{key} is a section, found {value!r}")
            _check_names(value, known[key], origin=origin, path=f"{path}{key}.")


def _decode(target: type, value: Any) -> Any:
    if issubclass(target, Path) and isinstance(value, str):
        return target(value)
    raise TypeError(f"a {target.__name__} is expected, found {value!r}")
