import ast
import importlib
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from agents.package_guard import PACKAGES

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_is_this_repositorys(package: str) -> None:
    """What `import` finds is the folder of the same name at the root, with a docstring and nothing else in it."""
    module = importlib.import_module(package)
    assert Path(module.__file__ or "") == ROOT / package / "__init__.py"
    assert module.__doc__
    assert len((ROOT / package / "__init__.py").read_text(encoding="utf-8").splitlines()) < 10


def test_every_package_of_the_repository_is_guarded() -> None:
    """A new top-level package is added to the guard, and so to this test."""
    assert {path.parent.name for path in ROOT.glob("*/py.typed")} == set(PACKAGES)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_other_distribution_owns_a_package(package: str) -> None:
    """Nothing in the lock file brings a package of the same name."""
    assert set(packages_distributions().get(package, ["insession"])) == {"insession"}


def imported(package: str) -> Iterator[str]:
    """Yield the top-level modules that a package of ours imports, wherever in its code."""
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module is not None:
                yield node.module.partition(".")[0]


def declared() -> set[str]:
    """Return the distributions that pyproject.toml asks for, those of the extras for development left out."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [wanted for extra, wanted in project["optional-dependencies"].items() if extra != "dev"]
    names = (re.split(r"[^\w.-]", wanted)[0] for group in (project["dependencies"], *extras) for wanted in group)
    return {normalized(name) for name in names}


def normalized(distribution: str) -> str:
    """Spell a distribution's name as the packaging specifications compare it."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


@pytest.mark.parametrize("package", PACKAGES)
def test_every_import_is_declared(package: str) -> None:
    """What comes with another dependency today may be gone with its next version."""
    distributions = packages_distributions()
    foreign = set(imported(package)) - set(PACKAGES) - sys.stdlib_module_names
    undeclared = {name for name in foreign if not declared() & {normalized(one) for one in distributions.get(name, [])}}
    assert undeclared == set()
