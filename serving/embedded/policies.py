"""Version policies: which of the versions on disk a server aspires to serve (config/model_server_config.proto)."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from schemas.ids import ModelVersion
from schemas.rollout import Rollout, preference


class VersionPolicy(Protocol):
    """Chooses versions to serve; `arguments` spells the choice for a command line."""

    def aspired(self, on_disk: Collection[int], rollout: Rollout | None) -> frozenset[int]:
        """Choose among the versions `on_disk`, loadable or not; rollout: what is in force there."""

    def arguments(self) -> list[str]:
        """Spell the policy as options of `insession serve`."""


@dataclass(frozen=True, slots=True)
class LatestVersions:
    """The `num_versions` that workers would rather use: the highest, or champion and previous; and one on trial."""

    num_versions: int

    def aspired(self, on_disk: Collection[int], rollout: Rollout | None) -> frozenset[int]:
        """Choose as the workers do, by the rollout where there is one."""
        best = preference(map(ModelVersion, on_disk), rollout)[: self.num_versions]
        trial = None if rollout is None else rollout.candidate
        return frozenset(best if trial is None or trial.version not in on_disk else (*best, trial.version))

    def arguments(self) -> list[str]:
        """Spell it with its number."""
        return ["--num-versions", str(self.num_versions)]


@dataclass(frozen=True, slots=True)
class AllVersions:
    """Every version on disk."""

    def aspired(self, on_disk: Collection[int], rollout: Rollout | None) -> frozenset[int]:  # noqa: ARG002
        """Choose all."""
        return frozenset(on_disk)

    def arguments(self) -> list[str]:
        """Spell it as a flag."""
        return ["--all-versions"]


@dataclass(frozen=True, slots=True)
class SpecificVersions:
    """Just these versions, as far as they are on disk, whatever the rollout says."""

    versions: frozenset[int]

    def aspired(self, on_disk: Collection[int], rollout: Rollout | None) -> frozenset[int]:  # noqa: ARG002
        """Choose those named."""
        return self.versions.intersection(on_disk)

    def arguments(self) -> list[str]:
        """Spell one option a version, lowest first."""
        return [argument for version in sorted(self.versions) for argument in ("--version", str(version))]
