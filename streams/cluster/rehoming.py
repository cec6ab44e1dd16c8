"""What becomes of a visitor's state when the topics get more partitions: where it lies then, and what it says."""

from collections.abc import Callable, Iterable
from typing import Final

from msgspec.structs import replace

from schemas.state import AnswerRef, ClickThrough, ClosedSession, Outcome, ParkedSession, ShownAnswer, VisitorState
from streams.cluster.partitioner import crc32_partition, murmur2_partition

Partitioner = Callable[[bytes, int], int]
"""From a key and a count of partitions to the key's partition."""

PARTITIONERS: Final[tuple[Partitioner, ...]] = (murmur2_partition, crc32_partition)


class Placements:
    """Finds the partitioner by which keys were placed, of those that Kafka's clients have.

    counts: a key may lie where either of these has it, since states were moved already by a run that did not end.
    """

    def __init__(self, *counts: int) -> None:
        self._counts = counts
        self._misplaced = dict.fromkeys(PARTITIONERS, 0)

    def see(self, key: bytes, partition: int) -> None:
        """Take in where a key lies."""
        for partitioner in PARTITIONERS:
            if all(partitioner(key, count) != partition for count in self._counts):
                self._misplaced[partitioner] += 1

    @property
    def partitioner(self) -> Partitioner | None:
        """Return the one that all keys fit; None = there is none."""
        return next((one for one in PARTITIONERS if not self._misplaced[one]), None)

    @property
    def misplaced(self) -> int:
        """Count the keys that the best of them does not explain."""
        return min(self._misplaced.values())


def rehomed(state: VisitorState, before: int, now: int, home: Callable[[bytes], int]) -> VisitorState:
    """Make the state right for partition `now`, where it lay in `before`; all inputs of `before` must be acknowledged.

    Offsets are of one partition: those of another mean nothing. What was closed is on the broker, or the inputs were
    not acknowledged. home: gives the partition of any other visitor.
    """
    identity = state.identity
    if identity is not None:
        successors = tuple(replace(one, partition=home(one.to.encode())) for one in identity.successors)
        identity = replace(identity, successors=successors)
    if before == now:
        return replace(state, identity=identity, closings=tuple(_sent_home(one, home) for one in state.closings))

    def of_before(answer: AnswerRef) -> AnswerRef:
        return answer if answer.partition >= 0 else replace(answer, partition=before)

    return replace(
        state,
        offsets={},
        topic_ids=(),
        last_topic="",
        closings=(),
        counted=(),
        identity=identity,
        last_answer=_shown(state.last_answer, of_before),
        click_throughs=_throughs(state.click_throughs, of_before),
        last_outcome=None if state.last_outcome is None else _outcome(state.last_outcome, of_before),
        further_outcomes=tuple(_outcome(one, of_before) for one in state.further_outcomes),
        parked=tuple(_parked(one, of_before) for one in state.parked),
    )


Change = Callable[[AnswerRef], AnswerRef]


def _sent_home(closed: ClosedSession, home: Callable[[bytes], int]) -> ClosedSession:
    if closed.move is None:
        return closed
    return replace(closed, move=replace(closed.move, partition=home(closed.move.to.encode())))


def _shown(shown: ShownAnswer | None, change: Change) -> ShownAnswer | None:
    return None if shown is None else replace(shown, answer=change(shown.answer))


def _throughs(throughs: Iterable[ClickThrough], change: Change) -> tuple[ClickThrough, ...]:
    return tuple(replace(through, answer=change(through.answer)) for through in throughs)


def _outcome(outcome: Outcome, change: Change) -> Outcome:
    return replace(outcome, answer=change(outcome.answer))


def _parked(parked: ParkedSession, change: Change) -> ParkedSession:
    return replace(
        parked,
        last_answer=_shown(parked.last_answer, change),
        click_throughs=_throughs(parked.click_throughs, change),
    )
