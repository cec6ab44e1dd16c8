"""What can go wrong in a run: how often, drawn from its seed, and nothing any more once it is calm."""

import random
from dataclasses import dataclass, fields
from typing import Final, Literal

Accident = Literal["kill", "ambush", "leave", "join", "cut", "pause", "retention"]
DiskState = Literal["kept", "older", "wiped"]

ACCIDENTS: Final[tuple[Accident, ...]] = ("kill", "ambush", "leave", "join", "cut", "pause", "retention")
ORDERLY_ACCIDENTS: Final[tuple[Accident, ...]] = ("leave", "join", "leave", "join", "retention")
ORDERLY_SHARE: Final = 0.2
LONGEST_CUT_SECONDS: Final = 3.0
LONGEST_ABSENCE_SECONDS: Final = 14.0
"""Of a network cut or a pause, and of a rare one: then the group has given the partitions to another worker."""
ABSENCE_SHARE: Final = 0.25


def draw_absence(chance: random.Random) -> float:
    """Draw for how many seconds a worker is cut off or paused."""
    longest = LONGEST_ABSENCE_SECONDS if chance.random() < ABSENCE_SHARE else LONGEST_CUT_SECONDS
    return chance.random() * longest


@dataclass(slots=True)
class Faults:
    """Chances from 0 to 1 of what happens to a request or a record; `accidents` are those that the run has at all.

    dropped_record: a record is lost between consumer and actor, as where it has an old generation.
    late_handover: fetched records reach the loop of the app after a while, and a seek may be quicker.
    refused_produce, refused_after_append: the broker answers a batch with an error that is retried; lost_produce: no
    answer at all, and the batch was taken or not; loses_only_changelog: only batches of states are lost so.
    lost_commit: a commit is not answered, and was taken or not.
    transaction, hole: the shop writes a record in a transaction, or leaves out offsets.
    """

    accidents: tuple[Accident, ...] = ()
    loses_only_changelog: bool = False
    dropped_record: float = 0.0
    late_handover: float = 0.0
    refused_produce: float = 0.0
    refused_after_append: float = 0.0
    lost_produce: float = 0.0
    lost_commit: float = 0.0
    transaction: float = 0.0
    hole: float = 0.0
    slow_network: float = 0.0
    slow_model: float = 0.0

    @property
    def is_orderly(self) -> bool:
        """Return whether workers only come and go, so that no record may come twice."""
        return set(self.accidents) <= set(ORDERLY_ACCIDENTS) and not any(getattr(self, name) for name in _UNORDERLY)

    def calm_down(self) -> None:
        """Let nothing go wrong from now on."""
        self.accidents = ()
        for one in fields(self):
            if isinstance(getattr(self, one.name), float):
                setattr(self, one.name, 0.0)


_CHANCES: Final = {
    "dropped_record": 0.05,
    "late_handover": 0.3,
    "refused_produce": 0.05,
    "refused_after_append": 0.03,
    "lost_produce": 0.04,
    "lost_commit": 0.15,
    "transaction": 0.15,
    "hole": 0.08,
    "slow_network": 0.5,
    "slow_model": 0.5,
}


_UNORDERLY: Final = frozenset({"dropped_record", "refused_after_append", "lost_produce", "lost_commit"})
"""After which a record may come twice."""


def draw_faults(chance: random.Random) -> Faults:
    """Draw which kinds of faults a run has: about half of them, so that each is seen with and without each other.

    In some runs workers only come and go in order, often.
    """
    is_orderly = chance.random() < ORDERLY_SHARE
    drawn = {name: most * chance.random() for name, most in _CHANCES.items() if chance.random() < 0.5}
    if is_orderly:
        return Faults(ORDERLY_ACCIDENTS, **{name: most for name, most in drawn.items() if name not in _UNORDERLY})
    accidents = tuple(one for one in ACCIDENTS if chance.random() < 0.6)
    return Faults(accidents, loses_only_changelog=chance.random() < 0.5, **drawn)
