"""What one input causes, as the actor takes it from the pipeline."""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from msgspec import Struct

from schemas.state import StateHeader, UnreadableStateError
from streams.records import OutputRecord


class StateWrite(Struct, frozen=True, gc=False):
    """One write about a visitor; value None = everything of the visitor goes.

    before: the header of the state before; None where there was none, or no entry of the expiry index is left of it.
    is_mark: the input moved nothing; the value is its mark. is_repeat: a redelivered input writes again what is there
    already.
    """

    key: bytes
    value: bytes | None
    clock_lag_ms: int = 0
    before: StateHeader | None = None
    is_mark: bool = False
    is_repeat: bool = False


class Step(Struct, frozen=True, gc=False):
    """What one input causes: at most one state write, and the records that `answer()` gives when awaited.

    is_write_first: the records may be sent only when the write is safe.
    """

    write: StateWrite | None
    answer: Callable[[], Awaitable[Sequence[OutputRecord]]]
    is_write_first: bool = False


class UnreadableVisitorError(UnreadableStateError):
    """What is stored under `key` cannot be decoded: it is put aside, and the visitor begins anew."""

    def __init__(self, key: bytes, stored: bytes, why: str) -> None:
        super().__init__(why)
        self.key = key
        self.stored = stored


class StoredValues(NamedTuple):
    """The bytes that are stored of a visitor: the state, and the mark beside it."""

    state: bytes
    mark: bytes | None
