"""Stored states that cannot be decoded: a few are kept as dead letters, many are a reason to stop."""

from collections.abc import Iterable
from itertools import islice
from typing import Final

from agents.clicks.pipeline import Pipeline
from agents.clicks.step import UnreadableVisitorError
from schemas.errors import InsessionError
from schemas.state import UnreadableStateError, decode_state
from streams.records import RecordSink

SAMPLE: Final = 1000
"""States of the partition that are looked at, the first by key, before one is put aside."""
MAX_UNREADABLE: Final = 3
MAX_UNREADABLE_SHARE: Final = 0.01
"""With more of the sample unreadable than both of these the cause is not one bad record."""
MAX_KEPT: Final = 100
"""States that one worker puts aside from its start on; then it ends, and somebody looks."""


class TooManyUnreadableError(InsessionError):
    """So many states cannot be decoded that putting them aside would wipe the table. Nothing is dropped."""


class Quarantine:
    """Keeps the bytes of unreadable states on the dead-letter topic."""

    def __init__(self, sink: RecordSink, pipeline: Pipeline, changelog: str) -> None:
        self._sink = sink
        self._pipeline = pipeline
        self._changelog = changelog
        self._kept = 0

    async def keep(self, partition: int, error: UnreadableVisitorError, states: Iterable[tuple[bytes, bytes]]) -> None:
        """Come back when the letter is safe; the caller may drop the state then.

        states: those of the partition. Raises TooManyUnreadableError, or StateVersionError where one is of a newer
        version.
        """
        looked_at, unreadable = _looked_at(islice(states, SAMPLE))
        if unreadable > max(MAX_UNREADABLE, MAX_UNREADABLE_SHARE * looked_at):
            raise TooManyUnreadableError(
                f"{unreadable} of {looked_at} states of {self._changelog} partition {partition} that were looked at "
                f"cannot be decoded, one because {error}: run the insession that wrote them, or restore the changelog; "
                "to begin anew with an empty state, delete the changelog and run `insession state accept`"
            )
        if self._kept >= MAX_KEPT:
            raise TooManyUnreadableError(
                f"{self._kept} states could not be decoded since the start and are dead letters; the next is in "
                f"partition {partition} of {self._changelog} ({error}): find what writes them (`insession dlq list "
                "--reason unreadable_state`), then start again"
            )
        self._kept += 1
        await self._sink.send(self._pipeline.refusals.unreadable(error, partition, self._changelog))


def _looked_at(states: Iterable[tuple[bytes, bytes]]) -> tuple[int, int]:
    """Count the states, and those of them that cannot be decoded."""
    looked_at = unreadable = 0
    for _, stored in states:
        looked_at += 1
        try:
            decode_state(stored)
        except UnreadableStateError:
            unreadable += 1
    return looked_at, unreadable
