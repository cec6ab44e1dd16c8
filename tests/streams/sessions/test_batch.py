"""Sessions of stored records, by visitor and in stream order: alike, unless an event came too late for the stream."""

from collections import Counter
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import wire
from schemas.click_reader import ClickReader
from schemas.events import ClickEvent
from schemas.ids import ItemId, SessionId, VisitorId
from schemas.mapping import FieldMapping
from schemas.records import SessionSummary
from schemas.state import InputPosition
from streams.records import InputRecord
from streams.sessions.batch import END_OF_DATA, BatchRules, sessions_by_visitor, sessions_in_stream_order
from streams.sessions.rules import SessionRules
from streams.sessions.sessionizer import InputTopics, Sessionizer

START_MS = 1_700_000_000_000
RULES = SessionRules()
MINUTE_MS = 60_000
TOO_LATE_MS = (RULES.inactivity_gap + RULES.grace_period) // timedelta(milliseconds=1)
READER = ClickReader(FieldMapping())


def rules_of(control: str) -> BatchRules:
    """Build the rules with ticks of a second."""
    return BatchRules(
        Sessionizer(RULES, InputTopics("clickstream", control)),
        lambda record: READER.read(record.key, record.value, record.time_ms),
        b"secret",
        control,
        RULES.allowed_skew,
        timedelta(seconds=1),
    )


def click(visitor: str, time_ms: int, **others: Any) -> ClickEvent:
    """Make a view."""
    fields = {"item_id": ItemId("i")} | others
    return ClickEvent(visitor_id=VisitorId(visitor), event_type="view", event_time=time_ms, **fields)


def records_of(clicks: list[tuple[str, int]]) -> list[InputRecord]:
    """Make records of clicks by visitor at minutes of event time, in this order; each comes when the latest has."""
    records, arrived_ms = [], 0
    for offset, (visitor, minute) in enumerate(clicks):
        time_ms = START_MS + minute * MINUTE_MS
        arrived_ms = max(arrived_ms, time_ms)
        event = click(visitor, time_ms, item_id=ItemId(f"i{offset}"))
        position = InputPosition("clickstream", 0, offset)
        records.append(InputRecord(position, visitor.encode(), wire.encode(event), arrived_ms))
    return records


def by_visitor(records: list[InputRecord], counts: Counter[str] | None = None) -> list[SessionSummary]:
    """Sort as the shuffle by key does."""
    ordered = sorted(records, key=lambda record: (record.key, record.position.offset))
    return list(sessions_by_visitor(ordered, rules_of(END_OF_DATA), Counter() if counts is None else counts))


def in_stream_order(records: list[InputRecord]) -> list[SessionSummary]:
    """Take them as they are."""
    return list(sessions_in_stream_order(records, rules_of("session-control"), Counter()))


def contents(sessions: list[SessionSummary]) -> list[Any]:
    """Return what is the same however a session's end was told."""
    return sorted((one.visitor_key, one.session_id, one.started_at, one.ended_at, one.events) for one in sessions)


CLICKS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 400)), max_size=30)


@given(CLICKS)
@settings(deadline=None)
def test_both_ways_give_the_same_sessions_of_a_log_in_order(clicks: list[tuple[str, int]]) -> None:
    """In event-time order no event comes too late, and no session is lost, split or joined by the way it was found."""
    records = records_of(sorted(clicks, key=lambda click: click[1]))
    assert contents(by_visitor(records)) == contents(in_stream_order(records))


@given(st.integers(1, 29), st.integers(1, 120))
@settings(deadline=None)
def test_an_event_behind_gap_and_grace_of_its_partition_is_what_both_ways_differ_in(step: int, ahead: int) -> None:
    """Another visitor moves the partition's time on; then the first one's next click comes, within its own gap.

    In stream order a tick has ended the session once more than gap and grace have passed; by visitor it goes on.
    """
    records = records_of([("a", 0), ("b", ahead), ("b", ahead), ("a", step)])
    joined, ended = by_visitor(records), in_stream_order(records)
    key = next(one.visitor_key for one in joined if one.events[0].item_id == "i0")
    assert [one.event_count for one in joined if one.visitor_key == key] == [2]
    is_too_late = ahead * MINUTE_MS > TOO_LATE_MS
    assert [one.event_count for one in ended if one.visitor_key == key] == ([1, 1] if is_too_late else [2])


def test_a_record_that_is_there_twice_counts_once() -> None:
    """As where the files of two exports overlap: nothing is told again."""
    records = records_of([("a", 0), ("a", 10), ("a", 90)])
    counts = Counter[str]()
    assert by_visitor(sorted([*records, *records], key=lambda one: one.position.offset), counts) == by_visitor(records)
    assert in_stream_order(sorted([*records, *records], key=lambda one: one.position.offset)) == in_stream_order(
        records
    )
    assert counts.total() == 6


def test_ids_are_told_once_and_say_what_ended_a_session() -> None:
    """A click, a tick, or the end of the data, which comes again the next day with other sessions."""
    records = records_of([("a", 0), ("a", 60), ("b", 60)])
    first, last, other = sorted(by_visitor(records), key=lambda one: one.id)
    assert first.id == f"clickstream-0-1-{first.visitor_key}"
    assert (last.id, other.id) == (f"end-of-data-0-1-{last.visitor_key}", f"end-of-data-0-2-{other.visitor_key}")
    assert {one.id.rpartition("-")[0] for one in in_stream_order(records)} == {
        "session-control-0-1",
        "session-control-0-2",
    }


def test_what_the_stream_would_dead_letter_or_ignore_is_counted() -> None:
    """By its reason; two ids of one visitor are told, since nobody joins them here."""
    event = click("a", START_MS, anonymous_id=VisitorId("cookie"))
    records = [
        InputRecord(InputPosition("clickstream", 0, 0), b"a", wire.encode(event), START_MS),
        InputRecord(InputPosition("clickstream", 0, 1), b"a", None, START_MS),
        InputRecord(InputPosition("clickstream", 0, 2), b"a", b"{", START_MS),
    ]
    counts = Counter[str]()
    assert len(by_visitor(records, counts)) == 1
    assert counts == {
        "answered": 1,
        "not joined with another id": 1,
        "ignored: tombstone": 1,
        "rejected: undecodable": 1,
    }


def test_more_sessions_than_the_state_can_tell_at_once_end_with_the_data() -> None:
    """Several are open side by side, by ids of the shop's own: each is told once."""
    events = [click("a", START_MS + n, session_id=SessionId(f"s{n}")) for n in range(4)]
    records = [
        InputRecord(InputPosition("clickstream", 0, n), b"a", wire.encode(event), START_MS + n)
        for n, event in enumerate(events)
    ]
    for sessions in (by_visitor(records), in_stream_order(records)):
        assert sorted(one.session_id for one in sessions) == ["s0", "s1", "s2", "s3"]
        assert len({one.id for one in sessions}) == 4
