"""The latest answer of each visitor, until the visitor's next event takes it into the state."""

from collections import OrderedDict
from typing import Final

from schemas.state import ShownAnswer

MAX_ANSWERS: Final = 50_000
"""Some 500 bytes each; the oldest is forgotten, and its visitor's next event then has no outcome."""


class ShownAnswers:
    """In memory only: an answer costs no write of its own, and a crash takes it away (docs/adr/0004)."""

    def __init__(self, max_answers: int = MAX_ANSWERS) -> None:
        self._max_answers = max_answers
        self._shown: OrderedDict[tuple[int, bytes], ShownAnswer] = OrderedDict()

    def keep(self, partition: int, key: bytes, shown: ShownAnswer) -> None:
        """Remember an answer, unless a later one of the visitor was faster."""
        before = self._shown.get((partition, key))
        if before is not None and before.answer.offset > shown.answer.offset:
            return
        self._shown[partition, key] = shown
        self._shown.move_to_end((partition, key))
        if len(self._shown) > self._max_answers:
            self._shown.popitem(last=False)

    def take(self, partition: int, key: bytes) -> ShownAnswer | None:
        """Return the visitor's answer, once; None where none came since the last time."""
        return self._shown.pop((partition, key), None)

    def drop_partition(self, partition: int) -> None:
        """Forget the answers of a partition: another worker goes on with its visitors, or did until now."""
        for place in [place for place in self._shown if place[0] == partition]:
            del self._shown[place]
