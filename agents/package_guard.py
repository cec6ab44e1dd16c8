"""Top-level packages have plain names (docs/adr/0001); make sure that each is this project's before any is used."""

import importlib.util
from collections.abc import Mapping, Sequence
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Final

from schemas.errors import InsessionError

PACKAGES: Final = ("agents", "schemas", "serving", "session_model", "streams")
DISTRIBUTION: Final = "insession"


def check_packages() -> None:
    """Raise InsessionError where Python imports one of the packages from elsewhere, or one has a second owner."""
    home = Path(__file__).resolve().parents[1]
    for package in PACKAGES:
        origin = _origin(package)
        if origin != home / package:
            raise InsessionError(
                f"Python finds the package {package} in {origin or 'no folder'}, not in {home}: run insession from "
                "another folder, or in an environment of its own (`make setup`)."
            )
    refuse_other_owners(packages_distributions())


def refuse_other_owners(owners: Mapping[str, Sequence[str]]) -> None:
    """Raise InsessionError where another distribution than ours has installed one of the packages."""
    for package in PACKAGES:
        others = sorted(set(owners.get(package, ())) - {DISTRIBUTION})
        if others:
            raise InsessionError(
                f"The distribution {others[0]} also has a package named {package}, and one overwrites the other: "
                f"uninstall {others[0]}, or give insession an environment of its own (`make setup`)."
            )


def _origin(package: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).resolve().parent if spec is not None and spec.origin else None
