"""The books on input offsets: which owe a record, which have one, which have none or more than one.

A byte or three an offset, so a million of them take 3 MB.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from schemas.state import InputPosition

SHOWN_LOST: Final = 20
_ABSENT, _OWES, _IGNORED = range(3)
_MOST: Final = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """What became of the inputs: `inputs` = answered + ignored + dead_lettered + lost.

    answered: one record on `recommendations` at least, whatever its status. dead_lettered: a dead letter and no answer.
    ignored: not for us, and nothing was written. twice: more than one record, which readers make one by its id.
    though_ignored: of those answered or dead-lettered, what the mapping ignores today. both: answered and
    dead-lettered. lost_ids: the first lost ones.
    """

    inputs: int = 0
    answered: int = 0
    ignored: int = 0
    dead_lettered: int = 0
    lost: int = 0
    twice: int = 0
    though_ignored: int = 0
    both: int = 0
    lost_ids: tuple[str, ...] = ()


@dataclass(slots=True)
class _Partition:
    offsets: range
    inputs: bytearray = field(init=False)
    answers: bytearray = field(init=False)
    letters: bytearray = field(init=False)

    def __post_init__(self) -> None:
        self.inputs, self.answers, self.letters = (bytearray(len(self.offsets)) for _ in range(3))


class OffsetLedger:
    """Books on `ranges` of offsets, by topic and partition; what lies outside of them is passed over."""

    def __init__(self, ranges: Mapping[str, Mapping[int, range]]) -> None:
        self._partitions = {
            (topic, partition): _Partition(offsets)
            for topic, by_partition in ranges.items()
            for partition, offsets in by_partition.items()
        }

    def read(self, position: InputPosition, *, is_ignored: bool) -> None:
        """Book an input: it owes one record, or is not for us."""
        partition = self._partitions.get((position.topic, position.partition))
        if partition is not None and position.offset in partition.offsets:
            partition.inputs[position.offset - partition.offsets.start] = _IGNORED if is_ignored else _OWES

    def answered(self, record_id: str) -> None:
        """Book a record on `recommendations` by its id."""
        for partition, place in self._found(record_id):
            partition.answers[place] = min(partition.answers[place] + 1, _MOST)

    def dead_lettered(self, record_id: str) -> None:
        """Book a dead letter by the id of its input."""
        for partition, place in self._found(record_id):
            partition.letters[place] = min(partition.letters[place] + 1, _MOST)

    def balance(self) -> Balance:
        """Strike the balance."""
        counts = dict.fromkeys(("answered", "ignored", "dead_lettered", "lost", "twice", "though_ignored", "both"), 0)
        lost_ids: list[str] = []
        for (topic, number), partition in self._partitions.items():
            books = zip(partition.offsets, partition.inputs, partition.answers, partition.letters, strict=True)
            for offset, owed, answers, letters in books:
                if owed == _ABSENT:
                    continue
                outcome = _outcome(owed, answers, letters)
                counts[outcome] += 1
                counts["twice"] += answers > 1 or letters > 1
                counts["both"] += bool(answers and letters)
                counts["though_ignored"] += owed == _IGNORED and outcome != "ignored"
                if outcome == "lost" and len(lost_ids) < SHOWN_LOST:
                    lost_ids.append(InputPosition(topic, number, offset).record_id)
        inputs = sum(counts[name] for name in ("answered", "ignored", "dead_lettered", "lost"))
        return Balance(inputs=inputs, **counts, lost_ids=tuple(lost_ids))

    def _found(self, record_id: str) -> Iterator[tuple[_Partition, int]]:
        rest, _, offset = record_id.rpartition("-")
        topic, _, number = rest.rpartition("-")
        if not (offset.isdecimal() and number.isdecimal()):
            return
        partition = self._partitions.get((topic, int(number)))
        if partition is not None and int(offset) in partition.offsets:
            yield partition, int(offset) - partition.offsets.start


def _outcome(owed: int, answers: int, letters: int) -> str:
    if answers:
        return "answered"
    if letters:
        return "dead_lettered"
    return "ignored" if owed == _IGNORED else "lost"
