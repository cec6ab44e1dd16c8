"""Progress of a long job."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class JobProgress:
    """Callbacks. begin: a step with the count of what it has to do, if that is known. advance: of that count."""

    begin: Callable[[str, int | None], None]
    advance: Callable[[int], None]
