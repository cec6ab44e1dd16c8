"""Ids that were erased, so that no click of theirs builds a state again before a stated time (docs/adr/0011).

A block lies beside the states of every partition, under a keyed hash of the id. It is stored as what is left of a
visitor without consent, a state of whom nothing is known but a time. So it is recovered, copied to standbys, mirrored
and, at its end, forgotten by a tick as every such state is.
"""

from collections.abc import Callable, Sequence
from typing import Final

from msgspec.structs import replace

from schemas.events import ClickEvent
from schemas.ids import VisitorId
from schemas.pseudonym import pseudonym
from schemas.state import VisitorState

_PREFIX: Final = b"\0erased:"
_PURPOSE: Final = b"insession erased id\0"
"""Sets the hash apart from the pseudonyms that stand on session ends: who reads those must not be able to block."""


def block_key(secret: bytes, visitor_id: VisitorId) -> bytes:
    """Return the key under which a block is stored; without the secret nobody finds the id again."""
    return _PREFIX + pseudonym(secret, _PURPOSE + visitor_id.encode()).encode()


def is_block_key(key: bytes) -> bool:
    """Return whether it is a block, not a visitor: it belongs to every partition, wherever its key hashes to."""
    return key.startswith(_PREFIX)


def block(until_ms: int) -> VisitorState:
    """Make what is stored; until_ms: record time at which it ends, Unix milliseconds."""
    return VisitorState({}, "no_consent", latest_ms=until_ms)


def holds(stored: VisitorState, record_time_ms: int) -> bool:
    """Return whether what is stored under a block's key keeps a record of that time out."""
    return record_time_ms <= stored.latest_ms


def without_blocked(
    events: Sequence[ClickEvent], state: VisitorState | None, is_blocked: Callable[[VisitorId], bool]
) -> Sequence[ClickEvent]:
    """Take blocked ids out of what events say of their visitor's earlier ids; those that the state has stay."""
    if all(event.anonymous_id is None for event in events):
        return events
    identity = None if state is None else state.identity
    known = set() if identity is None else {one.visitor_id for one in identity.predecessors}
    named = {event.anonymous_id for event in events if event.anonymous_id is not None} - known
    blocked = {visitor_id for visitor_id in named if is_blocked(visitor_id)}
    return [replace(event, anonymous_id=None) if event.anonymous_id in blocked else event for event in events]
