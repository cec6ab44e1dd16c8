from pathlib import Path

import pytest

from agents import package_guard
from agents.package_guard import check_packages, refuse_other_owners
from schemas.errors import InsessionError


def test_this_environment_passes() -> None:
    """In an environment made by `make setup` the check is silent."""
    check_packages()


def test_a_package_from_another_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of the same name that Python finds first stops the command with one line about it."""
    (tmp_path / "streams").mkdir()
    (tmp_path / "streams" / "__init__.py").touch()
    monkeypatch.setattr(package_guard, "_origin", lambda package: tmp_path / package)
    with pytest.raises(InsessionError, match=f"agents in {tmp_path}.*another folder"):
        check_packages()


def test_a_second_owner_is_named() -> None:
    """Two distributions with one package overwrite each other's files: the message says which to uninstall."""
    owners = {"agents": ["insession", "agents-toolkit"], "streams": ["insession"]}
    with pytest.raises(InsessionError, match=r"agents-toolkit also has a package named agents.*uninstall"):
        refuse_other_owners(owners)


def test_packages_of_others_are_not_our_business() -> None:
    """Only the five names count."""
    refuse_other_owners({"agents": ["insession"], "tools": ["a", "b"]})
