"""What a deployment can set about sessions; `streams.sessions.sessionizer` applies it."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from schemas.errors import UsageError
from schemas.state import MAX_STATE_BYTES


@dataclass(frozen=True, slots=True)
class SessionRules:
    """When a session begins, ends, and what is kept of it.

    inactivity_gap: Event time without a click, inclusive, after which the next one opens another session.
    grace_period: How far behind the visitor's latest event another may come and still join the session; older is late.
    max_session_duration: A session of this length ends, however busy it is.
    allowed_skew: How far an event's time may lie ahead of its record's; what is beyond counts as that far.
    visitor_retention: A visitor who has not clicked for this long is forgotten.
    max_kept_events: Latest events of a session that are kept; older ones are only counted.
    ignore_session_ids: Sessions follow from time alone, whatever session_id the shop's events have.
    max_open_sessions: Sessions of a visitor that may be open side by side, by session_id, as on several devices; one
        more ends the one that was quiet longest. With 1, a change of the id ends the session.
    join_identities: An event that has an `anonymous_id` beside its visitor_id hands over the session that is open under
        that one, as at a login in mid-session. Without such events it does nothing.
    max_seen_event_ids: Latest event ids of a session among which duplicates are found; 0 = none are.
    max_purchased_items: Latest items a visitor bought, which are not recommended again; 0 = none are kept.
    max_state_bytes: Bytes that are kept of a visitor; docs/operations.md tells what goes first where they do not
        suffice. At least 24 KiB, and 4 KiB for each of max_open_sessions.
    bot_events_per_minute: Lasting rate at which a visitor counts as a bot; 0 = nobody does.
    bot_burst_events: Events that a visitor may send at once before the rate counts; 0 = nobody is a bot.
    """

    inactivity_gap: timedelta = timedelta(minutes=30)
    grace_period: timedelta = timedelta(seconds=60)
    max_session_duration: timedelta = timedelta(hours=12)
    allowed_skew: timedelta = timedelta(seconds=60)
    visitor_retention: timedelta = timedelta(days=30)
    ignore_session_ids: bool = False
    max_open_sessions: int = 4
    join_identities: bool = True
    max_kept_events: int = 50
    max_seen_event_ids: int = 200
    max_purchased_items: int = 200
    max_state_bytes: int = 65_536
    bot_events_per_minute: float = 120.0
    bot_burst_events: int = 60

    def __post_init__(self) -> None:
        """Refuse rules that contradict each other."""
        if not timedelta(0) <= self.grace_period < self.inactivity_gap <= self.max_session_duration:
            raise UsageError(
                "0 <= sessions.grace_period < sessions.inactivity_gap <= sessions.max_session_duration must hold, "
                f"found {self.grace_period}, {self.inactivity_gap}, {self.max_session_duration}"
            )
        if self.visitor_retention < self.max_session_duration or self.allowed_skew < timedelta(0):
            raise UsageError(
                "sessions.visitor_retention must be at least sessions.max_session_duration, and sessions.allowed_skew "
                f"at least 0; found {self.visitor_retention}, {self.max_session_duration} and {self.allowed_skew}"
            )
        for name, least in _AT_LEAST.items():
            if getattr(self, name) < least:
                raise UsageError(f"sessions.{name} must be at least {least}, found {getattr(self, name)}")

        least_bytes = 24_576 + 4096 * self.max_open_sessions
        if not least_bytes <= self.max_state_bytes <= MAX_STATE_BYTES:
            raise UsageError(
                f"sessions.max_state_bytes must be from {least_bytes} (with sessions.max_open_sessions "
                f"{self.max_open_sessions}) to {MAX_STATE_BYTES}, found {self.max_state_bytes}"
            )

    @property
    def has_bots(self) -> bool:
        """False where the rate of events makes nobody a bot."""
        return self.bot_events_per_minute > 0 and self.bot_burst_events > 0


_AT_LEAST: Final = {
    "max_open_sessions": 1,
    "max_kept_events": 1,
    "max_seen_event_ids": 0,
    "max_purchased_items": 0,
    "bot_events_per_minute": 0,
    "bot_burst_events": 0,
}
