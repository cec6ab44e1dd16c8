"""The hand-made pictures of the concepts can be read: by a screen reader, and on a light and a dark page."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.docs.documents import ROOT

PICTURES = sorted((ROOT / "docs" / "pictures").glob("concept-*.svg"))
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.stem)
def test_a_picture_says_what_it_shows(picture: Path) -> None:
    """It has a title and a description, and fetches nothing from outside."""
    root = ET.parse(picture).getroot()  # noqa: S314 - our own file
    described = [root.find(f"{SVG}{name}") for name in ("title", "desc")]
    assert root.get("role") == "img"
    assert (root.get("aria-labelledby") or "").split() == [part.get("id") for part in described if part is not None]
    assert not any("href" in name for element in root.iter() for name in element.attrib)


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.stem)
def test_a_picture_has_colours_for_a_dark_page(picture: Path) -> None:
    """Each class that is coloured for a light page is coloured for a dark one, too; nothing is coloured otherwise."""
    root = ET.parse(picture).getroot()  # noqa: S314 - our own file
    style = root.findtext(f"{SVG}style") or ""
    light, dark = style.split("@media (prefers-color-scheme:dark)")
    coloured = {
        name for element in root.iter() for name in (element.get("class") or "").split() if f".{name}{{" in dark
    }
    assert coloured
    assert {name for name in coloured if f".{name}{{" not in light} == set()
    assert not any({"fill", "stroke"} & set(element.attrib) for element in root.iter())
