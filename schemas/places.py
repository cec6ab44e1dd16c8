"""Places that lie in each other, as their names say: `nl/nh/ams` in `nl/nh`, that in `nl`, that in all."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

MAX_DEPTH: Final = 8
_KEPT_CHAINS: Final = 4_096


@dataclass(frozen=True, slots=True)
class LocationSettings:
    """How the names of places say which lies in which, on clicks and catalog records alike.

    separator: Parts the levels of a place, the widest first: with `/` what is sold at `nl` is sold at `nl/nh/ams`, too.
        Empty = no place lies in another.
    """

    separator: str = "/"

    def chain(self, place: str) -> tuple[str, ...]:
        """Return the place, then what it lies in, up to its root; see `place_chain`."""
        return place_chain(place, self.separator)


@lru_cache(_KEPT_CHAINS)
def place_chain(place: str, separator: str) -> tuple[str, ...]:
    """Return the place as it is written, then what it lies in, the nearest first: `nl/nh/ams`, `nl/nh`, `nl`.

    Separators at an end or in a row make no level: `/nl//ams/` lies in `/nl//ams` and `/nl`. Of more than `MAX_DEPTH`
    levels the place itself and the widest are returned. An empty place lies nowhere: ().
    """
    if not place:
        return ()
    inner = trimmed(place, separator)
    around = [inner] if inner and inner != place else []
    while separator and separator in inner:
        inner = trimmed(inner[: inner.rindex(separator)], separator)
        if inner:
            around.append(inner)
    return (place, *around[-(MAX_DEPTH - 1) :])


def trimmed(place: str, separator: str) -> str:
    """Return a place without separators at its end."""
    while separator and place.endswith(separator):
        place = place.removesuffix(separator)
    return place
