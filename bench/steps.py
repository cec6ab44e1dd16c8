"""What a training step takes on n workers, and how many of them are worth it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

WORTH_IT: Final = 1.1
"""Times as fast: more workers than a number that is nearly as fast cost more than they bring."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one number of workers came to; milliseconds and bytes are those of a step, CPU is that of all."""

    workers: int
    wall_ms: float
    cpu_ms: float
    bytes_per_step: int
    efficiency: float


def recommended(wall_ms: Mapping[int, float]) -> int:
    """Return the least number of workers that is nearly as fast as the fastest."""
    fastest = min(wall_ms.values())
    return min(workers for workers, one in wall_ms.items() if one <= WORTH_IT * fastest)
