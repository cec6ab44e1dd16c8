"""The account of a range of input offsets: which record each owes, and which it has; one byte an offset.

The promise that it holds the topics to: every offset is answered by exactly one record, on `recommendations` or on
`clickstream-dlq`, unless it is not for us: then it has none. At least once: after a crash a record may come twice.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

_INPUT: Final = 1
_OWES: Final = 2
_ANSWERED: Final = 4
_DEAD_LETTERED: Final = 8
_TWICE: Final = 16
_HAS_RECORD: Final = _ANSWERED | _DEAD_LETTERED


@dataclass(frozen=True, slots=True)
class Account:
    """How the inputs of a range stand; `inputs` = answered + ignored + dead_lettered + lost.

    answered: an answer is there, whatever else. ignored: not for us, and without a record.
    dead_lettered: a dead letter and no answer. lost: a record is owed, and there is none.
    twice: of all, those with two records or more. answered_and_dead_lettered: of `twice`, those with one of each.
    ignored_with_record: not for us by the mapping of today, but for us when they were read.
    without_input: records of offsets in the range that the input no longer shows.
    """

    inputs: int = 0
    answered: int = 0
    ignored: int = 0
    dead_lettered: int = 0
    lost: int = 0
    twice: int = 0
    answered_and_dead_lettered: int = 0
    ignored_with_record: int = 0
    without_input: int = 0

    def __add__(self, other: "Account") -> "Account":
        """Add two accounts of different inputs."""
        return Account(*(getattr(self, name) + getattr(other, name) for name in Account.__slots__))


class OffsetLedger:
    """The books of one partition's range; the order in which inputs and records are booked does not matter."""

    def __init__(self, offsets: range) -> None:
        self._offsets = offsets
        self._marks = bytearray(len(offsets))

    def read(self, offset: int, *, owes_record: bool) -> None:
        """Book an input of the range."""
        self._marks[self._offsets.index(offset)] |= _INPUT | (_OWES if owes_record else 0)

    def answered(self, offset: int) -> None:
        """Book a record on `recommendations`; one of an offset outside the range counts nothing."""
        self._record(offset, _ANSWERED)

    def dead_lettered(self, offset: int) -> None:
        """Book a dead letter; one of an offset outside the range counts nothing."""
        self._record(offset, _DEAD_LETTERED)

    def account(self) -> Account:
        """Count what is booked."""
        account = Account()
        for mark, count in Counter(self._marks).items():
            if mark:
                account += _counted(mark, count)
        return account

    def lost(self, at_most: int) -> list[int]:
        """Return the first offsets that owe a record and have none."""
        return list(islice(self._lost(), at_most))

    def _lost(self) -> Iterator[int]:
        at = self._marks.find(_INPUT | _OWES)
        while at >= 0:
            yield self._offsets[at]
            at = self._marks.find(_INPUT | _OWES, at + 1)

    def _record(self, offset: int, kind: int) -> None:
        if offset not in self._offsets:
            return
        at = self._offsets.index(offset)
        self._marks[at] |= kind | (_TWICE if self._marks[at] & _HAS_RECORD else 0)


def _counted(mark: int, count: int) -> Account:
    if not mark & _INPUT:
        return Account(without_input=count)
    is_answered, is_dead, owes = bool(mark & _ANSWERED), bool(mark & _DEAD_LETTERED), bool(mark & _OWES)
    has_record = is_answered or is_dead
    return Account(
        inputs=count,
        answered=count * is_answered,
        ignored=count * (not owes and not has_record),
        dead_lettered=count * (is_dead and not is_answered),
        lost=count * (owes and not has_record),
        twice=count * bool(mark & _TWICE),
        answered_and_dead_lettered=count * (is_answered and is_dead),
        ignored_with_record=count * (not owes and has_record),
    )
