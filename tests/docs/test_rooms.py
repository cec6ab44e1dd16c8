"""The README's map of the rooms is the tree as it is."""

import re

import pytest

from tests.docs.documents import ROOT

ROOMS = ("schemas", "streams", "session_model", "serving", "agents")
MOST_LINES = 50


def drawn() -> dict[str, list[str]]:
    """Read the map: the packages by their room."""
    tree = (ROOT / "README.md").read_text().partition("## The rooms\n\n```\n")[2].partition("```")[0]
    assert 0 < len(tree.splitlines()) <= MOST_LINES
    rooms: dict[str, list[str]] = {}
    for line in tree.splitlines():
        names = re.findall(r"(\w+)/(?=[ ,])", line.partition("   ")[0] + " ")
        if line.startswith("  "):
            rooms[list(rooms)[-1]] += names
        else:
            rooms[names[0]] = []
    return rooms


@pytest.mark.parametrize("room", ROOMS)
def test_the_map_names_every_package_of_a_room(room: str) -> None:
    """A newcomer finds the file for a change from the map: none is missing, and none is of yesterday."""
    packages = sorted(path.parent.name for path in (ROOT / room).glob("*/__init__.py"))
    generated = {"protos"}
    assert sorted(drawn()[room]) == [name for name in packages if name not in generated]


def test_the_map_names_folders_that_are_there() -> None:
    """All of the rooms are folders of the project."""
    assert all((ROOT / room).is_dir() for room in drawn())
