"""Version policies: which of the versions on disk a server aspires to serve (config/model_server_config.proto)."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol


class VersionPolicy(Protocol):
    """Chooses versions to serve; `arguments` spells the choice for a command line."""

    def aspired(self, on_disk: Collection[int]) -> frozenset[int]:
        """Choose among the versions `on_disk`, loadable or not."""

    def arguments(self) -> list[str]:
        """Spell the policy as options of `insession serve`."""


@dataclass(frozen=True, slots=True)
class LatestVersions:
    """The `num_versions` highest versions on disk."""

    num_versions: int

    def aspired(self, on_disk: Collection[int]) -> frozenset[int]:
        """Choose the highest."""
        return frozenset(sorted(on_disk, reverse=True)[: self.num_versions])

    def arguments(self) -> list[str]:
        """Spell it with its number."""
        return ["--num-versions", str(self.num_versions)]


@dataclass(frozen=True, slots=True)
class AllVersions:
    """Every version on disk."""

    def aspired(self, on_disk: Collection[int]) -> frozenset[int]:
        """Choose all."""
        return frozenset(on_disk)

    def arguments(self) -> list[str]:
        """Spell it as a flag."""
        return ["--all-versions"]


@dataclass(frozen=True, slots=True)
class SpecificVersions:
    """Just these versions, as far as they are on disk: how a release is rolled back."""

    versions: frozenset[int]

    def aspired(self, on_disk: Collection[int]) -> frozenset[int]:
        """Choose those named."""
        return self.versions.intersection(on_disk)

    def arguments(self) -> list[str]:
        """Spell one option a version, lowest first."""
        return [argument for version in sorted(self.versions) for argument in ("--version", str(version))]
