"""What is stored of a visitor, and its codec: a fixed header, then msgpack.

Header, 18 bytes big-endian: version (uint8), whether the visitor is quiet (uint8: 1 = yes, 0 = no or not known), due_ms
(int64), clock_lag_ms (int64). It can be read without decoding the rest, so the expiry index of a recovered partition is
built from the first bytes of each value.

An input that moves nothing (a duplicate, a late click, one of a bot) leaves the state as it lies and writes a *mark*
under a key of its own: the offset, and what became of it. Reading the visitor puts the two together.
"""

import struct
from collections.abc import Callable, Mapping

import msgspec
from msgspec import Struct, structs

from schemas.errors import InsessionError
from schemas.ids import ItemId, ModelVersion, SessionId, VisitorId
from schemas.records import EndReason, SessionEvent, Status, Tier

STATE_VERSION = 1
"""A new last field with a default needs no new version: older values lack it, and older readers pass over it."""
NEVER_MS = 2**63 - 1
FORMER_TOPIC_ID = 1
"""Of a topic of which nothing is known but that it is not there any more; see `InputPosition.topic_id`."""
MAX_STATE_BYTES = 900_000
"""A changelog record must fit into one request of the producer (1,000,000 bytes): what is larger ends the worker."""
_HEADER = struct.Struct(">BBqq")
HEADER_BYTES = _HEADER.size
_MARK_VERSION = 2
"""Above what workers read that know no marks: they end with a message instead of taking one for a state."""
_MARK_PREFIX = b"\xff"
"""No UTF-8 text begins with it, so no visitor's key does."""
_END_OF_TIME_MS = 2**58
"""Beyond every event time and lag that the rules let in, unlike most of what is no header of ours."""


class InputPosition(Struct, frozen=True, array_like=True):
    """Where an input record lies in Kafka.

    topic_id: tells two topics apart of which one was made after the other under the same name (docs/adr/0009); 0 = not
    known, as in a replay, on the embedded broker and in what was stored before there were any: it counts as any.
    """

    topic: str
    partition: int
    offset: int
    topic_id: int = 0

    def shares_topic_with(self, other: "InputPosition") -> bool:
        """Return whether the offsets of both are of one topic, and not of two that had the same name."""
        return self.topic == other.topic and (self.topic_id == other.topic_id or 0 in {self.topic_id, other.topic_id})

    def is_same_as(self, other: "InputPosition") -> bool:
        """Return whether both are the same record."""
        return (self.partition, self.offset) == (other.partition, other.offset) and self.shares_topic_with(other)

    @property
    def record_id(self) -> str:
        """Return the deterministic id that every output of this input carries."""
        return f"{self.topic}-{self.partition}-{self.offset}"


class OpenSession(Struct, frozen=True, array_like=True):
    """The visitor's running session.

    session_id: the shop's own id where the opening event had one, else the opening record's id; never changes.
    explicit_id: the shop's own id, as soon as an event brought one; another one is that of another session.
    events: the latest ones in event-time order, bounded by the rules; `event_count` counts all.
    seen: 64-bit hashes of the latest event ids, in arrival order, bounded by the rules.
    """

    session_id: SessionId
    explicit_id: SessionId | None
    started_ms: int
    latest_ms: int
    event_count: int
    events: tuple[SessionEvent, ...]
    seen: tuple[int, ...]
    is_bot: bool = False
    location: str | None = None
    device: str | None = None


class Move(Struct, frozen=True, array_like=True):
    """Where a session goes on: under the visitor id `to`, whose state lies in `partition`; hops: moves before this."""

    to: VisitorId
    partition: int
    hops: int = 0


class ClosedSession(Struct, frozen=True, array_like=True):
    """A closed session, kept until its session-end record is surely acknowledged: `cause`, read again, re-emits it.

    move: it has not ended but goes on under another id, so that its record is an adoption.
    again: the input that told it again, since the topic of `cause` is gone, and with it the offset that would have.
    """

    cause: InputPosition
    end_reason: EndReason
    session: OpenSession
    move: Move | None = None
    again: InputPosition | None = None

    @property
    def emitted_by(self) -> InputPosition:
        """Return the input whose acknowledgement covers its record."""
        return self.again or self.cause


class AnswerRef(Struct, frozen=True, array_like=True):
    """Which answer it was: `offset` of its input.

    time_ms: event time of that input.
    topic: empty = that of the event which follows from the answer; of states from before there were several.
    topic_id: see `InputPosition`.
    partition: -1 = where the visitor's state lies; another one where it was moved since the answer.
    """

    offset: int
    time_ms: int
    tier: Tier
    model_version: ModelVersion | None
    experiment: str | None
    topic: str = ""
    topic_id: int = 0
    partition: int = -1


class ShownAnswer(Struct, frozen=True, array_like=True):
    """The items of an answer, best first, and the session in which it was given."""

    answer: AnswerRef
    session_id: SessionId
    items: tuple[ItemId, ...]


class ClickThrough(Struct, frozen=True, array_like=True):
    """A click on an item that the answer before it held, at `position` from 1."""

    answer: AnswerRef
    item_id: ItemId
    position: int


class Outcome(Struct, frozen=True, array_like=True):
    """What an event says of the answer before it; position None = the answer did not hold the event's item.

    line: the place of the event among those of its record, from 0.
    """

    answer: AnswerRef
    session_id: SessionId
    position: int | None
    delay_ms: int
    line: int = 0


class CountedLine(Struct, frozen=True, array_like=True):
    """An event of a record, by its place from 0, that counts for what is trending.

    location: of its session, where the event says none; None where it says one, or nobody does.
    """

    line: int
    location: str | None = None


class CountedInput(Struct, frozen=True, array_like=True):
    """An input with events that count, kept until it is surely acknowledged: read again, it counts alike."""

    position: InputPosition
    lines: tuple[CountedLine, ...]


class CountedItems(Struct, frozen=True, array_like=True):
    """Items, by the CRC-32 of their ids, whose views by the visitor have counted in a period; the latest last."""

    period: int
    items: tuple[int, ...]


class ParkedSession(Struct, frozen=True, array_like=True):
    """An open session beside the one of the latest event, as of another device, with what was shown in it."""

    session: OpenSession
    last_answer: ShownAnswer | None = None
    click_throughs: tuple[ClickThrough, ...] = ()


class Predecessor(Struct, frozen=True, array_like=True):
    """An id that the visitor had before it was known who it is, and the latest event that caused a handover from it.

    time_ms, session_id: of that event, and of the session that was open then.
    """

    visitor_id: VisitorId
    cause: InputPosition
    time_ms: int
    session_id: SessionId | None


class Successor(Struct, frozen=True, array_like=True):
    """Under which id, with its state in `partition`, the visitor's events until event time `until_ms` go on."""

    to: VisitorId
    partition: int
    until_ms: int


class Identity(Struct, frozen=True, array_like=True):
    """The other ids of the visitor, as far as the shop's events name them; streams/sessions/identity.py has the rules.

    predecessors: the newest last. successors: by `until_ms`. Both are bounded.
    adopted: by source partition, the last offset there that moved a session here; makes adoptions idempotent.
    """

    predecessors: tuple[Predecessor, ...] = ()
    successors: tuple[Successor, ...] = ()
    adopted: dict[str, int] = {}


class VisitorState(Struct, frozen=True, array_like=True):
    """All that is kept of one visitor.

    offsets: last offset that was applied, by input topic (a key has one partition); makes updates idempotent.
    last_status: what became of the last clickstream offset, so that it is answered alike if it comes again.
    clock_lag_ms: record timestamp minus event time of the latest event, never negative.
    rate_level, rate_ms: the leaky bucket of the bot rule and the event time of its last change.
    ended_ms: event time at which the last closed session ended; an event not later than it belongs to no session.
    last_answer, click_throughs: of the open session, for outcomes; one click-through an item, the newest last. They
    depend on which answers were there in time, nothing else in the state does.
    last_outcome, further_outcomes: of the last clickstream offset, so that they are emitted again if it comes again.
    session: the open session of the latest event. parked: the others; a session id of the shop's own leads to them.
    last_topic: the clickstream of the last offset; empty where the visitor was seen on one only.
    identity: None where no event named another id of the visitor.
    topic_ids: of the topics that `offsets` are of, in that order; what is missing is not known.
    counted: the latest inputs that count for what is trending, so that they count alike if they come again.
    counted_items: what has counted of late, so that the visitor's views of it do not count again.
    """

    offsets: dict[str, int]
    last_status: Status
    latest_ms: int
    clock_lag_ms: int = 0
    session: OpenSession | None = None
    closings: tuple[ClosedSession, ...] = ()
    purchased: tuple[ItemId, ...] = ()
    rate_level: float = 0.0
    rate_ms: int = 0
    ended_ms: int = -1
    last_answer: ShownAnswer | None = None
    click_throughs: tuple[ClickThrough, ...] = ()
    last_outcome: Outcome | None = None
    further_outcomes: tuple[Outcome, ...] = ()
    parked: tuple[ParkedSession, ...] = ()
    last_topic: str = ""
    identity: Identity | None = None
    topic_ids: tuple[int, ...] = ()
    counted: tuple[CountedInput, ...] = ()
    counted_items: CountedItems | None = None

    def applied_offset(self, position: InputPosition) -> int | None:
        """Return the last offset that was applied of the topic of `position`; that of an earlier topic is void."""
        last = self._last_of(position.topic)
        return last.offset if last is not None and last.shares_topic_with(position) else None

    def is_made_void_by(self, position: InputPosition) -> bool:
        """Return whether an offset is kept of an earlier topic of that name."""
        return position.topic in self.offsets and self.applied_offset(position) is None

    def with_applied(self, position: InputPosition) -> "VisitorState":
        """Note that an input was applied."""
        offsets = {**self.offsets, position.topic: position.offset}
        if not self.topic_ids and not position.topic_id:
            return structs.replace(self, offsets=offsets)
        known = dict(zip(self.offsets, self.topic_ids, strict=False)) | {position.topic: position.topic_id}
        ids = tuple(known.get(topic, 0) for topic in offsets)
        return structs.replace(self, offsets=offsets, topic_ids=ids if any(ids) else ())

    def _last_of(self, topic: str) -> InputPosition | None:
        offset = self.offsets.get(topic)
        if offset is None:
            return None
        return InputPosition(topic, 0, offset, dict(zip(self.offsets, self.topic_ids, strict=False)).get(topic, 0))

    @property
    def open_sessions(self) -> tuple[OpenSession, ...]:
        """Return every open session, that of the latest event last."""
        current = () if self.session is None else (self.session,)
        return (*(parked.session for parked in self.parked), *current) if self.parked else current

    @property
    def is_forgotten(self) -> bool:
        """Return whether consent was withdrawn, so that only what a redelivery must find is left."""
        return self.last_status == "no_consent" and not self.open_sessions

    @property
    def last_outcomes(self) -> tuple[Outcome, ...]:
        """Return those of the last clickstream offset, in the order of its events."""
        return () if self.last_outcome is None else (self.last_outcome, *self.further_outcomes)


class StateHeader(Struct, frozen=True):
    """The first bytes of a stored state.

    due_ms: event time at which a tick has work to do for the visitor; `NEVER_MS` = none.
    is_quiet: nothing but to be forgotten is before the visitor; False also where an older version wrote the state.
    """

    due_ms: int
    clock_lag_ms: int
    is_quiet: bool = False


class Mark(Struct, frozen=True, array_like=True):
    """What an input that moved nothing leaves behind: the fields of these names of the visitor's state from then on.

    follows: `offsets` of the state as it was last written whole. A mark of any other state is outdated, for each whole
    write notes another offset. topic_ids: as in that state.
    """

    follows: dict[str, int]
    offsets: dict[str, int]
    last_status: Status
    last_topic: str = ""
    topic_ids: tuple[int, ...] = ()


class StoredVisitor(Struct, frozen=True):
    """A visitor as read from the table, mark and all.

    written_offsets: what a further mark has to follow. header: of the state as it was last written whole.
    """

    state: VisitorState
    written_offsets: dict[str, int]
    header: StateHeader


class StateVersionError(InsessionError):
    """A stored value was written by a newer insession. Stop: run the version that wrote it."""


class UnreadableStateError(InsessionError):
    """A stored value is no state of any version, or a damaged one: nothing will ever read it."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(VisitorState)
_mark_decoder = msgspec.msgpack.Decoder(Mark)

Upgrade = Callable[[bytes], bytes]
UPGRADES: Mapping[int, Upgrade] = {}
"""By old version: turns that version's msgpack body into the next version's. Every released version stays readable."""


def encode_state(state: VisitorState, *, due_ms: int, is_quiet: bool = False) -> bytes:
    """Serialise `state` with its header."""
    return _HEADER.pack(STATE_VERSION, is_quiet, due_ms, state.clock_lag_ms) + _encoder.encode(state)


def encoded_bytes(part: Struct) -> int:
    """Count the bytes that a part of a state takes in it."""
    return len(_encoder.encode(part))


def decode_state(value: bytes, *, upgrades: Mapping[int, Upgrade] = UPGRADES) -> VisitorState:
    """Read a stored state of this or any earlier version; raises StateVersionError on a later one.

    Raises UnreadableStateError where it is no state, or a damaged one.
    """
    version, body = _version_of(value), value[_HEADER.size :]
    try:
        while version < STATE_VERSION:
            body, version = upgrades[version](body), version + 1
        return _decoder.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise UnreadableStateError(f"a stored visitor state cannot be decoded ({error})") from error


def read_header(value: bytes) -> StateHeader:
    """Read the header only; raises as `decode_state` does."""
    _version_of(value)
    _, is_quiet, due_ms, clock_lag_ms = _HEADER.unpack_from(value)
    return StateHeader(due_ms, clock_lag_ms, bool(is_quiet))


def mark_key(key: bytes) -> bytes:
    """Return the key under which the mark of a visitor lies; it belongs into the partition of the visitor's own key."""
    return _MARK_PREFIX + key


def visitor_of(key: bytes) -> bytes:
    """Return the key of the visitor whose state or mark lies under `key`."""
    return key.removeprefix(_MARK_PREFIX)


def is_mark(key: bytes) -> bool:
    """Return whether it is the key of a mark, not of a state."""
    return key.startswith(_MARK_PREFIX)


def encode_mark(visitor: StoredVisitor, state: VisitorState) -> bytes:
    """Serialise what `state` says of its latest input, which moved nothing else of `visitor`."""
    mark = Mark(visitor.written_offsets, state.offsets, state.last_status, state.last_topic, state.topic_ids)
    return bytes([_MARK_VERSION]) + _encoder.encode(mark)


def read_visitor(value: bytes, mark: bytes | None) -> StoredVisitor:
    """Read a stored state and the mark beside it, if any; raises as `decode_state` does."""
    state, header = decode_state(value), read_header(value)
    found = None if mark is None else _decode_mark(mark)
    if found is None or (found.follows, found.topic_ids) != (state.offsets, state.topic_ids):
        return StoredVisitor(state, state.offsets, header)
    marked = structs.replace(
        state,
        offsets=found.offsets,
        last_status=found.last_status,
        last_topic=found.last_topic,
        last_outcome=None,
        further_outcomes=(),
    )
    return StoredVisitor(marked, state.offsets, header)


def whole_state(value: bytes, mark: bytes | None) -> bytes:
    """Put a stored state and the mark beside it, if any, together as one value; raises as `decode_state` does."""
    if mark is None:
        return value
    visitor = read_visitor(value, mark)
    return encode_state(visitor.state, due_ms=visitor.header.due_ms, is_quiet=visitor.header.is_quiet)


def _decode_mark(value: bytes) -> Mark:
    if value[:1] > bytes([_MARK_VERSION]):
        raise StateVersionError(
            f"the mark beside a visitor state has version {value[0]}, this insession reads {_MARK_VERSION}: "
            "run the version that wrote it"
        )
    try:
        return _mark_decoder.decode(value[1:])
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise UnreadableStateError(f"the mark beside a visitor state cannot be decoded ({error})") from error


def header_or_due(value: bytes) -> StateHeader:
    """Read the header; one that cannot be read is due at once, so that the next tick looks at it and puts it aside.

    Raises StateVersionError as `decode_state` does.
    """
    try:
        return read_header(value)
    except UnreadableStateError:
        return StateHeader(due_ms=0, clock_lag_ms=NEVER_MS)  # it must not move the clock of its partition


def _version_of(value: bytes) -> int:
    """Return the version; the header's layout is that of every version, so foreign bytes are told from a newer one."""
    if len(value) < _HEADER.size:
        raise UnreadableStateError(f"a stored visitor state has {len(value)} bytes, fewer than its header")
    version, is_quiet, due_ms, clock_lag_ms = _HEADER.unpack_from(value)
    if (
        version < 1
        or is_quiet > 1
        or not (0 <= clock_lag_ms < _END_OF_TIME_MS and (0 <= due_ms < _END_OF_TIME_MS or due_ms == NEVER_MS))
    ):
        raise UnreadableStateError("a stored visitor state has no header of ours")
    if version > STATE_VERSION:
        raise StateVersionError(
            f"a stored visitor state has version {version}, this insession reads 1 to {STATE_VERSION}: "
            "run the version that wrote it"
        )
    return int(version)
