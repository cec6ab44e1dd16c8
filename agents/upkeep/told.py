"""How a long job of a command tells how far it is."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Told:
    """Hears how far it is. begin: a step with the count of what it has to do, if that is known. advance: of it."""

    begin: Callable[[str, int | None], None]
    advance: Callable[[int], None]
