from time import process_time

import pytest

from schemas.mapping_language import value_map


def test_a_pattern_of_many_stars_takes_no_time_on_a_long_text() -> None:
    """No pattern of a value map makes a record costly."""
    began = process_time()
    assert value_map({"*a" * 40 + "*b": "view"})("a" * 60_000) is None
    assert process_time() - began < 1


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        ("* Clicked", "Banner Clicked", True),
        ("a*a", "a", False),
        ("a*b*c", "a-b-c", True),
        ("a*b*b", "a-b", False),
        ("*", "", True),
        ("*.x", "a\n.x", True),
        ("*.x", "aax", False),
    ],
)
def test_a_star_stands_for_any_text(pattern: str, text: str, fits: bool) -> None:
    """A star is any text, none too; what stands around it must not overlap."""
    assert value_map({pattern: "view"})(text) == ("view" if fits else None)
