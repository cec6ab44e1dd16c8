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
import structlog

from agents.output_headers import CloudEventsMode
from schemas.errors import UsageError
from schemas.mapping import FieldMapping
from schemas.secret import Secret
from serving.settings import ServingSettings
from streams.outcomes import OutcomeRules
from streams.sessionizer import SessionRules
from streams.settings import StreamSettings
from streams.topics import TopicSettings

log = structlog.get_logger(__name__)

ENVIRONMENT_PREFIX = "INSESSION_"
_FILE_VARIABLE = "INSESSION_CONFIG"
DEMO_SECRET = Secret("insession")
"""Known to everybody, so the worker warns where it is in use."""
MIN_TOKEN_LENGTH = 16


@dataclass(frozen=True, slots=True)
class ClickstreamSettings:
    """How the shop's events are read, and what is promised for each.

    freshness_budget: from the record's timestamp to the answer; an older event gets a tier that does not wait.
    pseudonym_secret: keys the hash that stands for a visitor on session ends; secret, the same on all workers.
    """

    mapping: FieldMapping = field(default_factory=FieldMapping)
    freshness_budget: timedelta = timedelta(milliseconds=500)
    pseudonym_secret: Secret = DEMO_SECRET


@dataclass(frozen=True, slots=True)
class CatalogSettings:
    """How far the worker relies on the catalog topic.

    start_timeout: the worker begins without the whole catalog after this long, and says so.
    """

    require_catalog: bool = False
    start_timeout: timedelta = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class HeaderSettings:
    """What output records carry beside their value; the caller's trace context always goes on.

    cloud_events: `carried` = outputs of an input that is a CloudEvent are CloudEvents; `always` = all are.
    event_source: their `ce_source`; None = `insession/<topics.prefix>`.
    """

    cloud_events: CloudEventsMode = "carried"
    event_source: str | None = None


@dataclass(frozen=True, slots=True)
class TracingSettings:
    """Where spans go.

    endpoint: OTLP collector over gRPC, as in http://collector:4317; needs insession[tracing]. None = nowhere.
    sample_ratio: of the inputs that bring no trace, the share that begins one; the caller's own decision is kept.
    """

    endpoint: str | None = None
    sample_ratio: float = 0.01

    def __post_init__(self) -> None:
        """Refuse what is no share."""
        if not 0 <= self.sample_ratio <= 1:
            raise UsageError(f"tracing.sample_ratio must be from 0 to 1, found {self.sample_ratio}")
        if self.endpoint is not None and not self.endpoint.startswith(("http://", "https://")):
            raise UsageError(f"tracing.endpoint: {self.endpoint!r} is no URL, like http://127.0.0.1:4317")


@dataclass(frozen=True, slots=True)
class LiveSettings:
    """Who may see the live page.

    token: opens `/live`; None = the page is open on a loopback `kafka.web_host`, and shut on any other.
    """

    token: Secret | None = None

    def __post_init__(self) -> None:
        """Refuse a token that can be guessed."""
        if self.token is not None and len(self.token.reveal()) < MIN_TOKEN_LENGTH:
            raise UsageError(f"live.token must have at least {MIN_TOKEN_LENGTH} characters: openssl rand -hex 16")


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a worker can be told; each section is defined by the room that uses it."""

    kafka: StreamSettings = field(default_factory=StreamSettings)
    topics: TopicSettings = field(default_factory=TopicSettings)
    clickstream: ClickstreamSettings = field(default_factory=ClickstreamSettings)
    sessions: SessionRules = field(default_factory=SessionRules)
    outcomes: OutcomeRules = field(default_factory=OutcomeRules)
    catalog: CatalogSettings = field(default_factory=CatalogSettings)
    serving: ServingSettings = field(default_factory=ServingSettings)
    headers: HeaderSettings = field(default_factory=HeaderSettings)
    tracing: TracingSettings = field(default_factory=TracingSettings)
    live: LiveSettings = field(default_factory=LiveSettings)

    def __post_init__(self) -> None:
        """Refuse sections that contradict each other."""
        waiting = self.clickstream.freshness_budget + self.kafka.send_timeout
        if waiting >= self.kafka.rebalance_timeout:
            raise UsageError(
                f"clickstream.freshness_budget plus kafka.send_timeout ({waiting}) must be below "
                f"kafka.rebalance_timeout ({self.kafka.rebalance_timeout}): a revocation waits for answers and their "
                "acknowledgement"
            )


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
    given: dict[str, Mapping[str, Any]] = {} if file is None else {f"settings file {file}": _read(file)}
    given |= {"the environment": _from_environment(environment), "the command line": overrides or {}}
    for origin, values in given.items():
        _check_names(values, Settings, origin=origin)
        _merge(merged, values)
    try:
        return msgspec.convert(merged, Settings, strict=False, dec_hook=_decode)
    except msgspec.ValidationError as error:
        raise UsageError(f"settings: {error}") from error


def report_settings(settings: Settings) -> None:
    """Log what is in force, without secrets; warn where one of them is no secret."""
    log.info("settings", **{section.name: repr(getattr(settings, section.name)) for section in fields(settings)})
    if settings.clickstream.pseudonym_secret == DEMO_SECRET:
        log.warning(
            "pseudonyms_can_be_guessed",
            remedy="set clickstream.pseudonym_secret (INSESSION_CLICKSTREAM__PSEUDONYM_SECRET) alike on all workers",
        )


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text())
    except OSError as error:
        raise UsageError(f"settings file {file}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"settings file {file}: {error}") from error


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in sorted(environment.items()):
        if name.startswith(ENVIRONMENT_PREFIX) and "__" in name:
            *sections, key = name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
            target = found
            for section in sections:
                target = target.setdefault(section, {})
                if not isinstance(target, dict):
                    raise UsageError(f"the environment: {name} names a key inside a value; unset one of the two")
            target[key] = value
    return found


def _merge(into: dict[str, Any], new: Mapping[str, Any]) -> None:
    for key, value in new.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _check_names(new: Mapping[str, Any], section: Any, *, origin: str, path: str = "") -> None:
    """Refuse a key that no section defines: a typo must not be a default in silence."""
    known = _keys(section)
    for key, value in new.items():
        if key not in known:
            raise UsageError(f"{origin}: no setting {path}{key}; known here: {', '.join(sorted(known))}")
        if _is_section(known[key]):
            if not isinstance(value, Mapping):
                raise UsageError(f"{origin}: {path}{key} is a section, found {value!r}")
            _check_names(value, known[key], origin=origin, path=f"{path}{key}.")


def _is_section(setting: Any) -> bool:
    return is_dataclass(setting) or setting is FieldMapping


def _keys(section: Any) -> dict[str, Any]:
    """Give the type of each key of a section."""
    found = msgspec.structs.fields(section) if section is FieldMapping else fields(section)
    return {one.name: one.type for one in found}


def _decode(target: type, value: Any) -> Any:
    if issubclass(target, Path | Secret) and isinstance(value, str):
        return target(value)
    found = "something else" if target is Secret else repr(value)
    raise TypeError(f"a {target.__name__} is expected, found {found}")
