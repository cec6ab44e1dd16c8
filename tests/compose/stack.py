"""What compose/ describes, read as a container engine would read it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from agents.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "compose"
COMPOSE_FILE = FOLDER / "compose.yaml"
SECRETS = {name: f"the-{name}-of-a-test" for name in ("GRAFANA_PASSWORD", "LIVE_TOKEN", "PSEUDONYM_SECRET")}
"""What has no default, on purpose."""

_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<rest>[^}]*))?\}")


def interpolated(text: str, variables: Mapping[str, str]) -> str:
    """Put the values of `variables` into `${NAME}`, `${NAME:-default}` and `${NAME:?why it is needed}`.

    Raises KeyError with the name of one that is needed and not there.
    """

    def value(match: re.Match[str]) -> str:
        if match["kind"] == "-":
            return variables.get(match["name"], match["rest"])
        return variables[match["name"]]

    return _VARIABLE.sub(value, text)


def variables_of(text: str) -> set[str]:
    """Return the variables that `text` takes from outside."""
    return {match["name"] for match in _VARIABLE.finditer(text)}


@dataclass(frozen=True)
class Mount:
    """What a service sees at `target`; `source` is a named volume or a path on the host."""

    source: str
    target: str
    read_only: bool


@dataclass(frozen=True)
class Service:
    """One service, with its short forms spelt out."""

    name: str
    spec: Mapping[str, Any]

    @property
    def environment(self) -> dict[str, str]:
        """What the process finds in its environment, of what the file says."""
        return dict(self.spec.get("environment", {}))

    @cached_property
    def settings(self) -> Settings:
        """What the service is told, read by the code that it runs."""
        return load_settings(environment=self.environment)

    @property
    def command(self) -> list[str]:
        """The arguments; empty = those of the image."""
        return list(self.spec.get("command", []))

    @property
    def mounts(self) -> list[Mount]:
        """What is mounted, and where."""
        mounts = []
        for volume in self.spec.get("volumes", []):
            if isinstance(volume, str):
                source, target, *rest = volume.split(":")
                mounts.append(Mount(source, target, read_only="ro" in rest))
            else:
                mounts.append(Mount(volume["source"], volume["target"], read_only=volume.get("read_only", False)))
        return mounts

    @property
    def ports(self) -> list[tuple[str, int, int]]:
        """Address and port on the host, and port inside."""
        split = [port.split(":") for port in self.spec.get("ports", [])]
        return [(host, int(published), int(inside)) for host, published, inside in split]

    def mount_at(self, target: str) -> Mount:
        """Find the mount at a path."""
        return next(mount for mount in self.mounts if mount.target == target)


class Stack:
    """compose.yaml with its variables put in."""

    def __init__(self, variables: Mapping[str, str] = SECRETS) -> None:
        self.document: dict[str, Any] = yaml.safe_load(interpolated(COMPOSE_FILE.read_text(), variables))

    @cached_property
    def services(self) -> dict[str, Service]:
        """All services by name."""
        return {name: Service(name, spec) for name, spec in self.document["services"].items()}

    @property
    def ours(self) -> list[Service]:
        """The services that run `insession`."""
        return [service for service in self.services.values() if "build" in service.spec]

    @property
    def workers(self) -> list[Service]:
        """The services that run a worker: the image's own command."""
        return [service for service in self.ours if not service.command]

    def file_at(self, service: str, path: str) -> Path:
        """Find the file or folder of the repository that a service sees at `path`."""
        target = Path(path)
        for folder in (target, *target.parents):
            for mount in self.services[service].mounts:
                if mount.target == str(folder):
                    return FOLDER / mount.source / target.relative_to(folder)
        raise FileNotFoundError(f"{service} sees nothing of ours at {path}")
