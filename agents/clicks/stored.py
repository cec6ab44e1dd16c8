"""The visitors' stored states: read with what may go wrong in it, and written within their budget."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from agents.clicks.shown_answers import ShownAnswers
from agents.clicks.step import StateWrite, StoredValues, UnreadableVisitorError
from schemas.events import ClickEvent, Erase
from schemas.ids import VisitorId
from schemas.pseudonym import pseudonym
from schemas.state import (
    InputPosition,
    StateHeader,
    StateVersionError,
    StoredVisitor,
    UnreadableStateError,
    VisitorState,
    encode_state,
    header_or_due,
    read_visitor,
)
from schemas.validation import Rejection
from streams.sessions.sessionizer import Sessionizer
from streams.state.blocked_ids import block, block_key, holds, without_blocked


class Visitors(Protocol):
    """What the decisions need of the visitors: the stored states, and the answers that no event has followed yet."""

    @property
    def shown(self) -> ShownAnswers:
        """Return the answers."""

    def load(self, partition: int, key: bytes) -> StoredValues | None:
        """Read what is stored of a visitor."""


class Before(Struct, frozen=True, gc=False):
    """What is known of a visitor before a record.

    events: those of the record, without the earlier ids that are blocked. is_blocked: the visitor was erased, and is to
    stay unknown.
    """

    events: Sequence[ClickEvent]
    stored: StoredVisitor | None
    is_blocked: bool = False

    @property
    def state(self) -> VisitorState | None:
        """Return the state; None of a visitor who is not known."""
        return None if self.stored is None else self.stored.state


class StoredStates:
    """Reads and writes states by the rules of the deployment; holds none.

    Reading raises UnreadableVisitorError of a state that can be put aside, and StateVersionError of one that a newer
    version wrote: it must not be touched.
    """

    def __init__(self, sessionizer: Sessionizer, pseudonym_key: bytes) -> None:
        self._sessionizer = sessionizer
        self._pseudonym_key = pseudonym_key

    def before(
        self, events: Sequence[ClickEvent], position: InputPosition, record_time_ms: int, visitors: Visitors
    ) -> Before:
        """Read what is known of the visitor of a record's `events`; record_time_ms: its timestamp, Unix ms."""
        visitor_id, partition = events[0].visitor_id, position.partition
        stored = self.of(visitor_id.encode(), partition, visitors)
        state = None if stored is None else stored.state

        def is_blocked(an_id: VisitorId) -> bool:
            return self.is_blocked(an_id, partition, record_time_ms, visitors)

        if state is None and is_blocked(visitor_id):
            return Before(events, None, is_blocked=True)
        return Before(without_blocked(events, state, is_blocked), stored)

    def of(self, key: bytes, partition: int, visitors: Visitors) -> StoredVisitor | None:
        """Read a visitor; None where nothing is stored."""
        values = visitors.load(partition, key)
        return None if values is None else self.decoded(key, partition, values)

    def decoded(self, key: bytes, partition: int, values: StoredValues) -> StoredVisitor:
        """Decode what is stored under `key`."""
        try:
            return read_visitor(values.state, values.mark)
        except UnreadableStateError as error:
            raise UnreadableVisitorError(key, values.state, str(error)) from error
        except StateVersionError as error:
            raise self._newer(key, partition, error) from error

    def header(self, key: bytes, partition: int, stored: bytes) -> StateHeader:
        """Read the header of a recovered state as `header_or_due` does."""
        try:
            return header_or_due(stored)
        except StateVersionError as error:
            raise self._newer(key, partition, error) from error

    def is_blocked(self, visitor_id: VisitorId, partition: int, record_time_ms: int, visitors: Visitors) -> bool:
        """Return whether an erased id is to be kept out of a record of that time."""
        stored = self.of(block_key(self._pseudonym_key, visitor_id), partition, visitors)
        return stored is not None and holds(stored.state, record_time_ms)

    def block(self, erase: Erase) -> StateWrite | None:
        """Return what keeps an erased visitor's later clicks out, to be written before the state goes; or None."""
        if erase.blocked_until_ms is None:
            return None
        key = block_key(self._pseudonym_key, erase.visitor_id)
        return self.write(key, block(erase.blocked_until_ms), None)

    def write(
        self, key: bytes, state: VisitorState, before: StoredVisitor | None, *, is_repeat: bool = False
    ) -> StateWrite:
        """Make the write of a whole state, within its budget."""
        due_ms, is_quiet = self._sessionizer.due_ms(state), self._sessionizer.is_quiet(state)
        value = encode_state(state, due_ms=due_ms, is_quiet=is_quiet)
        budget = self._sessionizer.budget
        if len(value) > budget.max_bytes:
            value = encode_state(budget.cut(state), due_ms=due_ms, is_quiet=is_quiet)
        header = None if before is None else before.header
        return StateWrite(key, value, state.clock_lag_ms, header, is_repeat=is_repeat)

    def too_large(self, write: StateWrite | None) -> Rejection | None:
        """Refuse what does not fit with all of it gone that may go, as a state from before there was a budget."""
        max_bytes = self._sessionizer.budget.max_bytes
        if write is None or write.value is None or len(write.value) <= max_bytes:
            return None
        detail = f"the visitor's state would have {len(write.value)} bytes, at most {max_bytes} are kept"
        return Rejection("too_large", detail)

    def _newer(self, key: bytes, partition: int, error: StateVersionError) -> StateVersionError:
        name = pseudonym(self._pseudonym_key, key)
        return StateVersionError(f"visitor {name} in partition {partition}: {error}")


def visitor_of(key: bytes, stored: bytes) -> VisitorId:
    """Return the visitor of a stored state; raises UnreadableVisitorError where the key is none."""
    try:
        return VisitorId(key.decode())
    except UnicodeDecodeError as error:
        raise UnreadableVisitorError(key, stored, "a stored visitor state has a key that is no UTF-8") from error
