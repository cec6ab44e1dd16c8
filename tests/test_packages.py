import importlib
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
