"""The books where an offset does not name one record for good: a clickstream that is made anew, or grows."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import msgspec

from schemas.records import SessionEvent
from schemas.state import decode_state
from streams.cluster.topics import Topic
from tests.chaos.table import ChaosRow
from tests.kafka.deployment import Deployment
from tests.kafka.ledger import error_headers
from tests.kafka.topic_log import LoggedRecord
from tests.kafka.undisturbed import undisturbed_run

Said = Counter[tuple[str, str]]
"""How often a status was given for a record id; a dead letter counts as one."""


@dataclass(frozen=True, slots=True)
class Era:
    """The time in which a clickstream was one topic: its records in the order of time, and what was said of them."""

    inputs: Sequence[LoggedRecord]
    said: Said

    def statuses(self) -> dict[str, set[str]]:
        """Return what was said, by record id."""
        found: dict[str, set[str]] = {}
        for record_id, status in self.said:
            found.setdefault(record_id, set()).add(status)
        return found


def era(deployment: Deployment, earlier: Era | None = None) -> Era:
    """Read what the topics hold, without what was said in an earlier era."""
    ledger = deployment.ledger()
    said = Counter((answer.id, str(answer.status)) for answer in ledger.recommendations)
    said += Counter((error_headers(letter)["id"], "dead letter") for letter in ledger.dead_letters())
    inputs = sorted(ledger.records(Topic.CLICKSTREAM), key=lambda record: record.time_ms)
    return Era(inputs, said if earlier is None else said - earlier.said)


def settle(deployment: Deployment, row: ChaosRow, *eras: Era) -> None:
    """Count; fails where anything is lost, or a session is other than one that all inputs make undisturbed."""
    inputs = [record for one in eras for record in one.inputs]
    renumbered = [replace(record, partition=0, offset=number) for number, record in enumerate(inputs)]
    expected = undisturbed_run(deployment.settings, renumbered)
    topic = deployment.settings.topics.name(Topic.CLICKSTREAM)
    statuses: dict[str, str] = {**expected.statuses, **dict.fromkeys(expected.rejections, "dead letter")}
    heard = [statuses_by_id for one in eras for statuses_by_id in [one.statuses()] * len(one.inputs)]
    lost, unlike = [], []
    for number, (record, said_of) in enumerate(zip(inputs, heard, strict=True)):
        due = statuses.get(f"{topic}-0-{number}")
        record_id = f"{topic}-{record.partition}-{record.offset}"
        said = said_of.get(record_id, set())
        if due and not said:
            lost.append(record_id)
        elif due and not said <= {due, "replayed"}:
            unlike.append(record_id)
    said_in_all = sum(one.said.total() for one in eras)
    row.events, row.lost, row.answered = len(statuses), len(lost), len(statuses) - len(lost)
    row.duplicates = said_in_all - row.answered
    opened = (session.events for state in expected.states.values() for session in decode_state(state).open_sessions)
    ledger = deployment.ledger()
    found = (s.events for state in ledger.changelog().values() for s in decode_state(state).open_sessions)
    row.state_equal = events_of(found) == events_of(opened)
    told = {(end.session_id, msgspec.json.encode(end.events)): end.events for end in ledger.session_ends()}
    row.session_ends_equal = events_of(told.values()) == events_of(s.events for s in expected.session_ends.values())
    assert lost == []
    assert unlike == []
    assert row.state_equal
    assert row.session_ends_equal


def events_of(sessions: Iterable[Iterable[SessionEvent]]) -> Counter[bytes]:
    """Return sessions as what happened in them: their ids name offsets."""
    return Counter(msgspec.json.encode(list(events)) for events in sessions)
