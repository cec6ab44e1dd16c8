"""The session stage: what a record does to its visitor, and what is to be written and told of that."""

from collections.abc import Sequence

from msgspec import Struct, structs

from agents.clicks.identity_records import IdentityRecords
from agents.clicks.shown_answers import ShownAnswers
from agents.clicks.step import StateWrite
from agents.clicks.stored import Before, StoredStates
from schemas.click_reader import Clicks
from schemas.events import ClickEvent
from schemas.state import encode_mark
from streams.records import InputRecord, OutputRecord
from streams.sessions.identity import Identities, Joined
from streams.sessions.outcomes import Outcomes
from streams.sessions.sessionizer import Advance, Arrival, Sessionizer


class Decision(Struct, frozen=True, gc=False):
    """A clickstream record, decided; what follows reads it and changes nothing of it.

    events: of the record, at least one; it is answered as of the last one. controls: records for the workers of the
    visitor's other ids. write: None = nothing of this visitor is written.
    """

    record: InputRecord
    clicks: Clicks
    before: Before
    advance: Advance
    write: StateWrite | None = None
    controls: Sequence[OutputRecord] = ()

    @property
    def events(self) -> Sequence[ClickEvent]:
        """Return the events that were decided on."""
        return self.before.events

    @property
    def is_write_first(self) -> bool:
        """Return whether the records may leave only when the write is safe.

        What leaves a state must not be back after a crash: a handover before the redelivery would move what has ended.
        """
        return bool(self.advance.closings or self.controls)


class SessionStage:
    """Moves the visitor's sessions by the rules for sessions, outcomes and identities; pure but for `shown`."""

    def __init__(
        self,
        sessionizer: Sessionizer,
        outcomes: Outcomes,
        identities: Identities,
        identity_records: IdentityRecords,
        states: StoredStates,
    ) -> None:
        self._sessionizer = sessionizer
        self._outcomes = outcomes
        self._identities = identities
        self._identity_records = identity_records
        self._states = states

    def decide(self, record: InputRecord, clicks: Clicks, before: Before, shown: ShownAnswers) -> Decision:
        """Decide on the record of a visitor; shown: from there the answer is taken that these events follow."""
        if before.is_blocked:  # as without consent, and nothing is written: a tombstone, too, would name the visitor
            return Decision(record, clicks, before, Advance(None, "no_consent"))
        assert record.key is not None
        events, arrival = before.events, Arrival(record.position, record.time_ms)
        advance = self._sessionizer.advance(before.state, events, arrival)
        if advance.state is not None and not advance.is_redelivery and not advance.is_still:
            # Also without consent: then it is let go.
            advance = self._outcomes.follow(advance, events, shown.take(record.position.partition, record.key))
        visitor_id, controls = events[0].visitor_id, list[OutputRecord]()
        if advance.status == "no_consent":
            joined = Joined(advance.state, advance.closings)
            controls = self._identity_records.forgetting(joined.state, visitor_id, record.position)
        else:
            joined = self._identities.follow(advance, events, arrival)
        controls += self._identity_records.of(visitor_id, joined)
        write = self._write(record.key, before, advance, joined)
        return Decision(record, clicks, before, structs.replace(advance, closings=joined.closings), write, controls)

    def _write(self, key: bytes, before: Before, advance: Advance, joined: Joined) -> StateWrite:
        if joined.state is None:
            return StateWrite(key, None)  # always: the table may have lost the key before the changelog did
        if advance.is_still and joined.state is advance.state and before.stored is not None:
            mark = encode_mark(before.stored, joined.state)
            return StateWrite(key, mark, joined.state.clock_lag_ms, is_mark=True)
        return self._states.write(key, joined.state, before.stored, is_repeat=advance.is_redelivery)
