from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.places import MAX_DEPTH, LocationSettings, place_chain


@pytest.mark.parametrize(
    ("place", "separator", "chain"),
    [
        ("nl/nh/ams", "/", ("nl/nh/ams", "nl/nh", "nl")),
        ("nl", "/", ("nl",)),
        ("nl/", "/", ("nl/", "nl")),
        ("nl > nh", " > ", ("nl > nh", "nl")),
        ("nl/nh/ams", "", ("nl/nh/ams",)),
        ("nl/nh/ams", ".", ("nl/nh/ams",)),
        ("/nl//ams/", "/", ("/nl//ams/", "/nl//ams", "/nl")),
        ("///", "/", ("///",)),
        ("/", "/", ("/",)),
        ("", "/", ()),
        ("\ud800/a", "/", ("\ud800/a", "\ud800")),
    ],
)
def test_a_place_lies_in_what_its_name_begins_with(place: str, separator: str, chain: tuple[str, ...]) -> None:
    """From the place to its root; separators too many are no level, and without a separator places are flat."""
    assert LocationSettings(separator).chain(place) == chain


def test_the_depth_is_bounded() -> None:
    """A stranger's place of a thousand levels costs as much as one of eight; the widest are kept."""
    chain = place_chain("/".join("x" * 1000), "/")
    assert len(chain) == MAX_DEPTH
    assert chain[-1] == "x"
    assert chain[1] == "/".join("x" * (MAX_DEPTH - 1))


@given(place=st.text(alphabet="ab/", max_size=40), separator=st.sampled_from(["/", "", "//", "b"]))
def test_a_chain_narrows_to_the_place(place: str, separator: str) -> None:
    """It begins with the place; each further one is a shorter beginning of it, none is empty, none comes twice."""
    chain = place_chain(place, separator)
    assert chain[:1] == ((place,) if place else ())
    assert all(place.startswith(one) and one for one in chain)
    assert all(len(wider) < len(narrower) for narrower, wider in pairwise(chain))
