"""The options of every command on a Kafka cluster: which cluster, which deployment on it, which settings file."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from agents.configuration.reading import Reading
from agents.settings import Settings, load_settings, read_settings


@dataclass(frozen=True, slots=True)
class Connection:
    """What the command line says about the deployment; file and environment say the rest, TLS and SASL among it.

    options: by section and key, without what was not given.
    """

    file: Path | None = None
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def settings(self, options: Mapping[str, Mapping[str, Any]] | None = None) -> Settings:
        """Load the settings; `options` are a command's own, by section and key, where None is what was not given.

        Raises UsageError as `load_settings` does.
        """
        own = options or {}
        sections = {**self.options, **own}
        merged = {section: {**self.options.get(section, {}), **own.get(section, {})} for section in sections}
        return load_settings(_given(merged), file=self.file)

    def reading(self) -> Reading[Settings]:
        """Read the settings with their origins and all that is wrong, as `read_settings` does."""
        return read_settings(self.options, file=self.file)


def connection_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add --brokers, --prefix and --config to a command, which gets them as `connection`, a Connection."""

    @click.option(
        "--brokers", metavar="HOST:PORT[,...]", help="Brokers to ask first.  [default: kafka.brokers of the settings]"
    )
    @click.option("--prefix", help="Prefix of topics, group and changelogs.  [default: topics.prefix of the settings]")
    @click.option("--config", type=click.Path(path_type=Path), help="TOML settings file; options win over it.")
    @functools.wraps(function)
    def with_connection(
        *arguments: Any, brokers: str | None, prefix: str | None, config: Path | None, **options: Any
    ) -> None:
        given = {"kafka": {"brokers": brokers}, "topics": {"prefix": prefix}}
        function(*arguments, connection=Connection(config, _given(given)), **options)

    return with_connection


def _given(options: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        section: {
            key: str(value) if isinstance(value, Path) else value for key, value in values.items() if value is not None
        }
        for section, values in options.items()
    }
